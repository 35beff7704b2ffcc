"""The init phase that PublishVersion runs for a function with SnapStart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import orjson

from lambent.control.records import Function
from lambent.engine.invocation import Outcome
from lambent.engine.invoker import Invoker
from lambent.engine.spares import snap_started
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.snapshots")


class Snapshots:
    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker
        self._renewal: asyncio.Task[None] | None = None

    async def make(self, function: Function) -> str | None:
        """Initialise a version that is not served yet; why that cannot be, None when it waits to be restored."""
        failure = await self._invoker.spares.make(function)
        if failure is None:
            return None
        self._invoker.spares.drop(function)
        return _reason(function, failure)

    def served(self, function: Function, served: bool) -> None:
        """The version is invoked from now on, or will never be."""
        if served:
            self._invoker.spares.keep(function)
        else:
            self._invoker.spares.drop(function)

    def renew(self, functions: Iterable[Function]) -> None:
        """After a start of the server: have environments of all versions wait again, one after another."""
        wanted = [function for function in functions if snap_started(function)]
        if wanted:
            self._renewal = asyncio.get_running_loop().create_task(self._renew(wanted))

    async def _renew(self, functions: list[Function]) -> None:
        for function in functions:
            try:
                reason = await self.make(function)
                if reason is None:
                    self.served(function, True)
                else:
                    _log.error("no environment of %s waits: %s", function.arn, reason)
            except RuntimeError as problem:  # no room: invocations start environments in the ordinary way
                _log.warning("no environment of %s waits: %s", function.arn, problem)
                return

    async def stop(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)


def _reason(function: Function, failure: Outcome | AwsError) -> str:
    if isinstance(failure, AwsError):
        return failure.message or failure.code
    if failure.status == "timeout":
        return "The init phase of the function took too long"
    try:
        said = orjson.loads(failure.payload)
        return f"The init phase of the function failed: {said['errorType']}: {said['errorMessage']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"The init phase of the function failed: {failure.error_type or 'no reason was given'}"
