"""Resource policies as Lambda keeps them: a list of statements, each with an id, and the rules for changing it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lambent.wire.errors import AwsError

LIMIT = 20_480  # bytes of a policy document

Statement = Mapping[str, Any]

_ACCOUNT = re.compile(r"\d{12}")
_SERVICE = re.compile(r"[a-z0-9.-]+\.amazon(?:aws)?\.com(?:\.cn)?")
_IDENTITY = re.compile(r"arn:aws[a-zA-Z-]*:(?:iam|sts)::(?:\d{12}:.+|cloudfront:.+)")


@dataclass(frozen=True, slots=True)
class Policy:
    """An immutable policy; a change is another policy."""

    statements: tuple[Statement, ...] = ()

    @classmethod
    def of(cls, document: str | None) -> Policy:
        """From what `document` has written; nothing is an empty policy."""
        return cls(tuple(json.loads(document)["Statement"])) if document else cls()

    def document(self) -> str:
        """As AWS prints it: without spaces, the members of a statement in their usual order."""
        members = {"Version": "2012-10-17", "Id": "default", "Statement": list(self.statements)}
        return json.dumps(members, separators=(",", ":"))

    def find(self, sid: str) -> Statement | None:
        return next((statement for statement in self.statements if statement["Sid"] == sid), None)

    def plus(self, statement: Statement) -> Policy:
        """Raises ResourceConflictException for an id that is taken, PolicyLengthExceededException over 20 KB."""
        if self.find(statement["Sid"]) is not None:
            raise AwsError(
                "ResourceConflictException",
                f"The statement id ({statement['Sid']}) provided already exists. Please provide a new statement id, or"
                " remove the existing statement.",
                Type="User",
            )
        extended = Policy((*self.statements, statement))
        refuse_size(extended.document())
        return extended

    def minus(self, sid: str) -> Policy:
        """Raises ResourceNotFoundException where there is no such statement."""
        if self.find(sid) is None:
            message = f"Statement {sid} is not found in resource policy."
            raise AwsError("ResourceNotFoundException", message, Type="User")
        return Policy(tuple(statement for statement in self.statements if statement["Sid"] != sid))


def refuse_size(document: str) -> None:
    size = len(document.encode())
    if size > LIMIT:
        message = f"The final policy size ({size}) is bigger than the limit ({LIMIT})."
        raise AwsError("PolicyLengthExceededException", message, Type="User")


def statement(
    sid: str, principal: Any, action: str, resource: str, condition: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """A statement that allows something; an empty condition is left out."""
    made = {"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource}
    return made | ({"Condition": condition} if condition else {})


def principal(given: str, partition: str) -> Any:
    """A principal as statements hold it: an account by its root, a service, a user or role, or `*`.

    Raises InvalidParameterValueException for anything else.
    """
    if given == "*":
        return given
    if _ACCOUNT.fullmatch(given):
        return {"AWS": f"arn:{partition}:iam::{given}:root"}
    if _IDENTITY.fullmatch(given):
        return {"AWS": given}
    if _SERVICE.fullmatch(given):
        return {"Service": given}
    message = "The provided principal was invalid. Please check the principal and try again."
    raise AwsError("InvalidParameterValueException", message, Type="User")


def no_policy() -> AwsError:
    return AwsError("ResourceNotFoundException", "No policy is associated with the given resource.", Type="User")


def names_account(statement: Statement, account: str) -> bool:
    """Whether the principal of a statement takes in everybody of `account` that may act for it."""
    named = statement["Principal"]
    values: Iterable[str] = (named,) if isinstance(named, str) else _many(named.get("AWS", ()))
    return any(value == "*" or value == account or _root_of(value) == account for value in values)


def _many(value: str | Iterable[str]) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value


def _root_of(arn: str) -> str | None:
    found = re.fullmatch(r"arn:aws[a-zA-Z-]*:iam::(\d{12}):root", arn)
    return found[1] if found else None
