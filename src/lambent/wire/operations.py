"""Operations: what a service can be asked, by whom, and who answers.

A room registers a handler per operation; the gateway calls it with parsed, validated parameters and serialises
what it returns. Handlers never see HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lambent.base.clock import Clock
from lambent.wire import models, validator
from lambent.wire.callers import Caller as Caller
from lambent.wire.errors import AwsError, not_built
from lambent.wire.gate import Access, Gate, Open, Rules
from lambent.wire.gate import Parameters as Parameters


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler may know of the request besides its parameters."""

    caller: Caller
    request_id: str  # the UUID answered as x-amzn-RequestId
    endpoint: str  # this server as the client addressed it, "http://127.0.0.1:4566", for URLs handed out
    trace_header: str | None = None  # X-Amzn-Trace-Id as received


Handler = Callable[[Context, Parameters], Awaitable[Mapping[str, Any]]]
"""(context, input members by their model names) → output members by their model names.

Blobs are bytes, timestamps are aware datetimes, absent members are absent. Raises `AwsError`.
"""


class Client:
    """Asks a service from inside this process: validated and authorised like a request, without HTTP."""

    def __init__(self, operations: Operations, clock: Clock) -> None:
        self._operations = operations
        self._clock = clock

    async def call(self, service: str, operation: str, parameters: Parameters, caller: Caller) -> Mapping[str, Any]:
        """What the operation answers. Raises AwsError."""
        elsewhere = self._operations.elsewhere
        handler = self._operations.find(service, operation)
        moved = elsewhere is not None and elsewhere.answers(service)
        if handler is None and not moved:
            raise not_built(f"{service}.{operation}")
        validator.validate(models.service(service).operation(operation), parameters)
        if self._operations.gate.enforces and not caller.via:  # what a service asks on its own is its own business
            await self._operations.gate.authorize(
                caller, *self._operations.accesses(service, operation, caller, parameters)
            )
        if elsewhere is not None and moved:
            return await elsewhere.call(service, operation, parameters, caller)
        assert handler is not None
        return await handler(Context(caller, self._clock.uuid(), ""), parameters)


class Elsewhere(Protocol):
    """The services that are not in this process."""

    def answers(self, service: str) -> bool:
        """Whether somebody else answers for `service`."""

    async def call(self, service: str, operation: str, parameters: Parameters, caller: Caller) -> Mapping[str, Any]:
        """What it answers there. Raises AwsError."""


class Operations:
    """The table from (service, operation) to the handler that answers, and what each needs permission for."""

    def __init__(self) -> None:
        self.gate: Gate = Open()
        self.elsewhere: Elsewhere | None = None
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._rules: dict[str, Rules] = {}

    def register(self, service: str, operation: str, handler: Handler) -> None:
        """Bind `operation` ("CreateFunction") of `service` (botocore's name, "lambda"). Twice is a mistake."""
        key = (service, operation)
        if key in self._handlers:
            raise ValueError(f"{service}.{operation} already has a handler")
        self._handlers[key] = handler

    def find(self, service: str, operation: str) -> Handler | None:
        return self._handlers.get((service, operation))

    def services(self) -> frozenset[str]:
        """The services that have a handler for anything, by botocore's names."""
        return frozenset(service for service, _name in self._handlers)

    def names(self, service: str) -> list[str]:
        """The operations of `service` that have a handler, sorted."""
        return sorted(name for owner, name in self._handlers if owner == service)

    # What operations need permission for

    def declare(self, service: str, rules: Rules) -> None:
        """What the operations of `service` need permission for."""
        self._rules[service] = rules

    def undeclared(self) -> list[str]:
        """Operations that have a handler and no rule ("lambda.Invoke"), sorted."""
        return sorted(
            f"{service}.{name}" for service, name in self._handlers if name not in self._rules.get(service, {})
        )

    def accesses(self, service: str, operation: str, caller: Caller, parameters: Parameters) -> Iterable[Access]:
        """What the gate is to be asked. Raises AwsError for an operation without a rule, and what the rule raises."""
        rule = self._rules.get(service, {}).get(operation)
        if rule is None:
            message = f"{service}.{operation} has no rule that says what it needs permission for."
            raise AwsError("AccessDeniedException", message, status=403)
        return rule(caller, parameters)
