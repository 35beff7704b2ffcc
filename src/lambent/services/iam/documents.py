"""Policy documents: from JSON text to frozen statements, with AWS's messages for what is not one.

Sources: IAM user guide, "Grammar of the IAM JSON policy language"; the messages are those of PutUserPolicy,
CreatePolicy and UpdateAssumeRolePolicy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from lambent.services.iam.conditions import Condition, Operator

NEW, OLD = "2012-10-17", "2008-10-17"  # only the newer one has policy variables
_PRINCIPALS = ("AWS", "Service", "Federated", "CanonicalUser")
_ELEMENTS = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip
_ACTION = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+")
_SID = re.compile(r"[0-9A-Za-z]*")
_SPACE = re.compile(r"[ \t\r\n]*")


class Kind(Enum):
    """Where a policy stands, which decides what its statements must and must not say."""

    IDENTITY = "identity"  # of users, groups and roles, boundaries and sessions: no Principal
    RESOURCE = "resource"  # of a bucket, key, function: Principal
    TRUST = "trust"  # of a role: Principal, and no Resource, for the role is the resource


class MalformedPolicy(ValueError):
    """The text is no policy of its kind. The message is AWS's."""


@dataclass(frozen=True, slots=True)
class Position:
    line: int  # from 1
    column: int  # from 1


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. An element that is absent is None; `Principal: "*"` is {"AWS": ("*",)}."""

    number: int  # from 1, its place in the document
    allow: bool
    sid: str | None = None
    principals: Mapping[str, tuple[str, ...]] | None = None
    not_principals: Mapping[str, tuple[str, ...]] | None = None
    actions: tuple[str, ...] | None = None
    not_actions: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    not_resources: tuple[str, ...] | None = None
    conditions: tuple[Condition, ...] = ()
    start: Position = Position(1, 1)
    end: Position = Position(1, 1)

    def __str__(self) -> str:
        return f"statement {self.sid!r}" if self.sid else f"statement {self.number}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A document, under the name that explanations call it by."""

    name: str
    statements: tuple[Statement, ...] = field(default=())
    variables: bool = True  # whether `${…}` means anything in it


def parse(text: str, kind: Kind, name: str = "the policy") -> Policy:
    """Read one document. MalformedPolicy says what is wrong with it."""
    document = _document(text)
    version = document.get("Version", OLD)
    if version not in (NEW, OLD):
        raise MalformedPolicy("Policy document must be version 2012-10-17 or greater.")
    if set(document) - {"Version", "Id", "Statement"} or "Statement" not in document:
        raise MalformedPolicy("Syntax errors in policy.")
    listed = document["Statement"]
    bodies = listed if isinstance(listed, list) else [listed]
    spans = _spans(text, len(bodies) if isinstance(listed, list) else None)
    statements = tuple(
        _statement(body, number, kind, span) for number, (body, span) in enumerate(zip(bodies, spans, strict=True), 1)
    )
    if not statements:
        raise MalformedPolicy("Syntax errors in policy.")
    sids = [statement.sid for statement in statements if statement.sid]
    if len(sids) != len(set(sids)):
        raise MalformedPolicy("Statement IDs (SID) in a single policy must be unique.")
    return Policy(name, statements, version == NEW)


def _document(text: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise MalformedPolicy("Syntax errors in policy.")
        return found

    try:
        document = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        if isinstance(error, MalformedPolicy):
            raise
        raise MalformedPolicy("Syntax errors in policy.") from None
    if not isinstance(document, dict):
        raise MalformedPolicy("Syntax errors in policy.")
    return document


def _statement(body: Any, number: int, kind: Kind, span: tuple[Position, Position]) -> Statement:
    if not isinstance(body, dict) or set(body) - _ELEMENTS or body.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicy("Syntax errors in policy.")
    sid = body.get("Sid")
    if sid is not None and not isinstance(sid, str):
        raise MalformedPolicy("Syntax errors in policy.")
    if sid and kind is not Kind.RESOURCE and not _SID.fullmatch(sid):
        raise MalformedPolicy(
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression"
            " [0-9A-Za-z]*"
        )
    actions, not_actions = _actions(body)
    resources, not_resources = _resources(body, kind)
    principals, not_principals = _principals(body, kind)
    return Statement(
        number,
        body["Effect"] == "Allow",
        sid,
        principals,
        not_principals,
        actions,
        not_actions,
        resources,
        not_resources,
        tuple(_conditions(body.get("Condition"))),
        *span,
    )


Texts = tuple[str, ...]


def _either(body: Mapping[str, Any], name: str) -> tuple[Texts | None, Texts | None]:
    """The element `name` or its negation: one of them, not both."""
    if name in body and f"Not{name}" in body:
        raise MalformedPolicy("Syntax errors in policy.")
    return _texts(body, name), _texts(body, f"Not{name}")


def _texts(body: Mapping[str, Any], name: str) -> Texts | None:
    if name not in body:
        return None
    given = body[name]
    values = given if isinstance(given, list) else [given]
    if not all(isinstance(value, str) for value in values):
        raise MalformedPolicy("Syntax errors in policy.")
    return tuple(values)


def _actions(body: Mapping[str, Any]) -> tuple[Texts | None, Texts | None]:
    actions, not_actions = _either(body, "Action")
    given = actions or not_actions
    if not given:
        raise MalformedPolicy("Policy statement must contain actions.")
    for action in given:
        if not _ACTION.fullmatch(action):
            raise MalformedPolicy("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    return actions, not_actions


def _resources(body: Mapping[str, Any], kind: Kind) -> tuple[Texts | None, Texts | None]:
    resources, not_resources = _either(body, "Resource")
    given = resources or not_resources
    if kind is Kind.TRUST:
        if given is not None:
            raise MalformedPolicy("Has prohibited field Resource")
        return None, None
    if not given:
        raise MalformedPolicy("Policy statement must contain resources.")
    for resource in given:
        if resource != "*" and not resource.startswith("arn:"):
            raise MalformedPolicy(f'Resource {resource} must be in ARN format or "*".')
    return resources, not_resources


def _principals(body: Mapping[str, Any], kind: Kind) -> tuple[Mapping[str, Texts] | None, Mapping[str, Texts] | None]:
    found = [_principal(body, name) for name in ("Principal", "NotPrincipal")]
    given = [principal for principal in found if principal is not None]
    if kind is Kind.IDENTITY:
        if given:
            raise MalformedPolicy("Policy document should not specify a principal.")
    elif len(given) != 1:
        raise MalformedPolicy("Missing required field Principal" if not given else "Syntax errors in policy.")
    return found[0], found[1]


def _principal(body: Mapping[str, Any], name: str) -> Mapping[str, Texts] | None:
    if name not in body:
        return None
    given = body[name]
    if given == "*":
        return {"AWS": ("*",)}
    if not isinstance(given, dict) or not given:
        raise MalformedPolicy(f"Invalid principal in policy: {json.dumps(given)}")
    if unknown := [kind for kind in given if kind not in _PRINCIPALS]:
        raise MalformedPolicy(f'Invalid principal in policy: "{unknown[0]}"')
    return {kind: _texts(given, kind) or () for kind in given}


def _conditions(given: Any) -> Iterator[Condition]:
    if given is None:
        return
    if not isinstance(given, dict):
        raise MalformedPolicy("Syntax errors in policy.")
    for name, keys in given.items():
        operator = Operator.parse(name)
        if operator is None:
            raise MalformedPolicy(f"Invalid Condition type : {name}.")
        if not isinstance(keys, dict):
            raise MalformedPolicy("Syntax errors in policy.")
        for key, values in keys.items():
            if ":" not in key:
                raise MalformedPolicy("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
            yield Condition(operator, key, tuple(_scalars(values)))


def _scalars(given: Any) -> Iterator[str]:
    """Condition values may be JSON numbers and booleans; AWS keeps them as text."""
    for value in given if isinstance(given, list) else [given]:
        if isinstance(value, bool):
            yield "true" if value else "false"
        elif isinstance(value, str | int | float):
            yield str(value)
        else:
            raise MalformedPolicy("Syntax errors in policy.")


# Where statements stand in the text: answers of the policy simulator point at them


def _spans(text: str, count: int | None) -> list[tuple[Position, Position]]:
    """Start and end of each statement; `count` None means that Statement is one object and no list."""
    start = _value_of(text, "Statement")
    if count is None:
        return [_span(text, start, _after(text, start))]
    found, position = [], _skip(text, start + 1)
    for _number in range(count):
        end = _after(text, position)
        found.append(_span(text, position, end))
        position = _skip(text, _skip(text, end) + 1)  # past the comma
    return found


def _span(text: str, start: int, end: int) -> tuple[Position, Position]:
    return _position(text, start), _position(text, end)


def _position(text: str, offset: int) -> Position:
    return Position(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def _value_of(text: str, member: str) -> int:
    """The offset of the value of a member of the outermost object; the text is known to be one that has it."""
    position = _skip(text, _skip(text, 0) + 1)
    while True:
        name, position = scanstring(text, position + 1, True)
        position = _skip(text, _skip(text, position) + 1)
        if name == member:
            return position
        position = _skip(text, _skip(text, _after(text, position)) + 1)


def _after(text: str, start: int) -> int:
    return json.JSONDecoder().raw_decode(text, start)[1]


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
