"""The gate: what an operation needs permission for, and who says whether its caller has it.

Each service has a table of rules beside its operations: from the caller and the validated parameters a rule tells the
IAM actions, the resources and the condition keys that the operation stands for. The gateway asks the gate about them
before the handler runs, and so does `operations.Client` for calls from inside. A handler that learns only while it
works what else it touches asks the gate itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lambent.base.db import Connection
from lambent.wire.callers import Caller

Parameters = Mapping[str, Any]
"""Input members by their model names, parsed and validated."""
Values = Mapping[str, tuple[str, ...]]
"""Condition key, in lower case → its values."""


@dataclass(frozen=True, slots=True)
class Access:
    """One thing that an operation does."""

    action: str  # "lambda:InvokeFunction"
    resource: str = "*"  # an ARN; "*" where the action acts on nothing in particular
    context: Values = field(default_factory=dict)  # what the request says of it: "lambda:layer", "iam:passedtoservice"


@dataclass(frozen=True, slots=True)
class Guarded:
    """What a resource has to say about who may use it."""

    policy: str | None = None  # the text of its resource policy
    tags: Mapping[str, str] = field(default_factory=dict)  # aws:ResourceTag/…
    arn: str | None = None  # where the request could not tell it whole: a role's path
    account: str | None = None  # whose it is, where its ARN does not say
    context: Values = field(default_factory=dict)  # further condition keys that follow from what is stored
    decides: bool = False  # its policy alone can open it, as a KMS key's
    grantees: tuple[str, ...] = ()  # to whom it is open by another way than its policy: a grant of KMS names their ARN


Find = Callable[[Connection, Access], Guarded | None]
"""Inside a transaction: what guards the resource of an access; None where there is nothing (or no resource)."""


class Gate(Protocol):
    """Decides. Everything it raises is AWS's AccessDenied of the service whose action was asked for."""

    enforces: bool
    """Whether callers have proven who they are; where they have not, nothing is asked."""

    def guard(self, service: str, find: Find, tables: Sequence[str]) -> None:
        """`find` knows the resources of actions `service:…`; it reads the database's `tables`, and nothing else."""

    async def authorize(self, caller: Caller, *accesses: Access) -> None:
        """Raises AwsError unless the caller may do all of it."""

    def decide(self, connection: Connection, caller: Caller, access: Access, guarded: Guarded) -> None:
        """The same for one access inside a transaction, for handlers that have the resource in their hands."""


class Open:
    """`--auth off`: nobody is asked who they are, everybody may do everything."""

    enforces = False

    def guard(self, service: str, find: Find, tables: Sequence[str]) -> None:
        pass

    async def authorize(self, caller: Caller, *accesses: Access) -> None:
        pass

    def decide(self, connection: Connection, caller: Caller, access: Access, guarded: Guarded) -> None:
        pass


# Rules

Rule = Callable[[Caller, Parameters], Iterable[Access]]
Rules = Mapping[str, Rule]
"""An operation's name → what it needs. An operation without a rule is refused while the gate enforces."""
Resource = Callable[[Caller, Parameters], str]
Keys = Callable[[Caller, Parameters], Values]


def anything(_caller: Caller, _parameters: Parameters) -> str:
    """The resource of actions that act on nothing in particular."""
    return "*"


def needs(action: str, resource: Resource = anything, *keys: Keys) -> Rule:
    """One action on one resource; `keys` tell the condition keys."""

    def rule(caller: Caller, parameters: Parameters) -> Iterable[Access]:
        context: dict[str, tuple[str, ...]] = {}
        for read in keys:
            context.update(read(caller, parameters))
        return (Access(action, resource(caller, parameters), context),)

    return rule


def together(*rules: Rule) -> Rule:
    """All of them."""

    def rule(caller: Caller, parameters: Parameters) -> Iterable[Access]:
        return tuple(access for one in rules for access in one(caller, parameters))

    return rule


def where(given: Callable[[Parameters], Any], rule: Rule) -> Rule:
    """`rule`, for requests of which `given` is true."""

    def checked(caller: Caller, parameters: Parameters) -> Iterable[Access]:
        return rule(caller, parameters) if given(parameters) else ()

    return checked


def nothing(_caller: Caller, _parameters: Parameters) -> Iterable[Access]:
    """For what every proven caller may do, as GetCallerIdentity."""
    return ()


def inside(_caller: Caller, _parameters: Parameters) -> Iterable[Access]:
    """For operations whose handler asks the gate, because only stored data tells what is touched (KMS's Decrypt)."""
    return ()


# Condition keys that many services share


def request_tags(member: str = "Tags", key: str = "Key", value: str = "Value") -> Keys:
    """aws:RequestTag/… and aws:TagKeys from a member that is a map, or a list of `key` and `value`."""

    def read(_caller: Caller, parameters: Parameters) -> Values:
        given = parameters.get(member) or {}
        tags = given if isinstance(given, Mapping) else {tag[key]: tag.get(value, "") for tag in given}
        found = {f"aws:requesttag/{name.lower()}": (str(text),) for name, text in tags.items()}
        return {**found, "aws:tagkeys": tuple(tags)} if tags else found

    return read


def tag_keys(member: str = "TagKeys") -> Keys:
    """aws:TagKeys of a request that takes tags away."""

    def read(_caller: Caller, parameters: Parameters) -> Values:
        names = tuple(parameters.get(member, ()))
        return {"aws:tagkeys": names} if names else {}

    return read


def key(name: str, *path: str) -> Keys:
    """A condition key from a member, or a member of a member: `key("lambda:vpcids", "VpcConfig", "VpcId")`."""

    def read(_caller: Caller, parameters: Parameters) -> Values:
        value: Any = parameters
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is None:
            return {}
        values = value if isinstance(value, list | tuple) else (value,)
        return {name: tuple(_text(one) for one in values)}

    return read


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
