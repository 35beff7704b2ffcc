"""Resource policies as Lambda keeps them: a list of statements, each with an id, and the rules for changing it."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lambent.wire.errors import AwsError

LIMIT = 20_480  # bytes of a policy document

Statement = Mapping[str, Any]

_ACCOUNT = re.compile(r"\d{12}")
_SERVICE = re.compile(r"[a-z0-9.-]+\.amazon(?:aws)?\.com(?:\.cn)?")
_IDENTITY = re.compile(r"arn:aws[a-zA-Z-]*:(?:iam|sts)::(?:\d{12}:.+|cloudfront:.+)")
_ACTION = re.compile(r"\*|lambda:[a-zA-Z*?]+")


@dataclass(frozen=True, slots=True)
class Policy:
    """An immutable policy; a change is another policy."""

    statements: tuple[Statement, ...] = ()
    version: str = "2012-10-17"
    id: str | None = "default"

    @classmethod
    def of(cls, document: str | None) -> Policy:
        """From what `document` has written; nothing is an empty policy."""
        if document is None:
            return cls()
        members = json.loads(document)
        return cls(tuple(members["Statement"]), members["Version"], members.get("Id"))

    def document(self) -> str:
        """As AWS prints it: without spaces, the members of a statement in their usual order."""
        members = {"Version": self.version, **({"Id": self.id} if self.id else {}), "Statement": list(self.statements)}
        return json.dumps(members, separators=(",", ":"))

    def find(self, sid: str) -> Statement | None:
        return next((statement for statement in self.statements if statement.get("Sid") == sid), None)

    def plus(self, statement: Statement) -> Policy:
        """Raises ResourceConflictException for an id that is taken, PolicyLengthExceededException over 20 KB."""
        if self.find(statement["Sid"]) is not None:
            raise AwsError(
                "ResourceConflictException",
                f"The statement id ({statement['Sid']}) provided already exists. Please provide a new statement id, or"
                " remove the existing statement.",
                Type="User",
            )
        extended = replace(self, statements=(*self.statements, statement))
        _refuse_size(extended.document())
        return extended

    def minus(self, sid: str) -> Policy:
        """Raises ResourceNotFoundException where there is no such statement."""
        if self.find(sid) is None:
            message = f"Statement {sid} is not found in resource policy."
            raise AwsError("ResourceNotFoundException", message, Type="User")
        return replace(self, statements=tuple(one for one in self.statements if one.get("Sid") != sid))


def _refuse_size(document: str) -> None:
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
    raise _invalid("The provided principal was invalid. Please check the principal and try again.")


def read(text: str, resource: str) -> Policy:
    """A whole document for `resource`, checked. Raises InvalidParameterValueException, PolicyLengthExceededException.

    What it is checked for is what a resource policy must have; what its conditions mean is for whoever evaluates it.
    """
    try:
        document = json.loads(text)
    except ValueError:
        raise _invalid("The policy is not valid JSON.") from None
    if not isinstance(document, dict) or not set(document) <= {"Version", "Id", "Statement"}:
        raise _invalid("The policy must be an object with the members Version, Id and Statement.")
    if document.get("Version", "2008-10-17") not in ("2012-10-17", "2008-10-17"):
        raise _invalid("The policy's Version must be 2012-10-17 or 2008-10-17.")
    listed = document.get("Statement")
    statements: list[Any] = listed if isinstance(listed, list) else [listed]
    if not statements:
        raise _invalid("The policy has no statement.")
    for one in statements:
        _check(one, resource)
    sids = [one["Sid"] for one in statements if "Sid" in one]
    if len(set(sids)) != len(sids):
        raise _invalid("The statement ids in a policy must be unique.")
    policy = Policy(tuple(statements), document.get("Version", "2008-10-17"), document.get("Id"))
    _refuse_size(policy.document())
    return policy


_ELEMENTS = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip


def _check(one: Any, resource: str) -> None:
    if not isinstance(one, dict) or not set(one) <= _ELEMENTS:
        raise _invalid("Each statement of a policy must be an object of IAM's elements.")
    if one.get("Effect") not in ("Allow", "Deny"):
        raise _invalid("The Effect of a statement must be Allow or Deny.")
    if not isinstance(one.get("Sid", ""), str) or not isinstance(one.get("Condition", {}), dict):
        raise _invalid("The Sid of a statement must be a text, its Condition an object.")
    if ("Principal" in one) == ("NotPrincipal" in one) or ("Action" in one) == ("NotAction" in one):
        raise _invalid("Each statement needs a Principal and an Action.")
    named = one.get("Principal", one.get("NotPrincipal"))
    if not (named == "*" or (isinstance(named, dict) and named)):
        raise _invalid("The provided principal was invalid. Please check the principal and try again.")
    for action in _many(one.get("Action", one.get("NotAction"))):
        if not isinstance(action, str) or not _ACTION.fullmatch(action):
            raise _invalid(f"The action {action} is not one of Lambda's.")
    for pattern in _many(one.get("Resource", resource)):
        if not isinstance(pattern, str) or not fnmatch.fnmatchcase(resource, pattern.replace("[", "[[]")):
            raise _invalid(f"The resource {pattern} is not what the policy belongs to: {resource}.")


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message, Type="User")


def no_policy() -> AwsError:
    return AwsError("ResourceNotFoundException", "No policy is associated with the given resource.", Type="User")


def names_account(statement: Statement, account: str) -> bool:
    """Whether the principal of a statement takes in everybody of `account` that may act for it."""
    named = statement["Principal"]
    values = (named,) if isinstance(named, str) else _many(named.get("AWS", ()))
    return any(value == "*" or value == account or _root_of(value) == account for value in values)


def _many(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _root_of(arn: str) -> str | None:
    found = re.fullmatch(r"arn:aws[a-zA-Z-]*:iam::(\d{12}):root", arn)
    return found[1] if found else None
