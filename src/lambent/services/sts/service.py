"""STS's operations.

With `auth = off` nobody is asked who they are, so whoever calls from a role's own account may assume it, as long as its
trust policy does not deny it to them; a role that IAM does not know can be assumed too, as a function can have one.
With `auth = iam` its trust policy must allow it, and where that names only their account, their own policies too.
From another account the role must exist and its trust policy must open it to the caller.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lambent.base.db import Connection
from lambent.services.iam import documents, errors, evaluator, principals, store
from lambent.services.iam.callers import principal_of
from lambent.services.iam.directory import Directory, attachable
from lambent.services.iam.evaluator import Decision, Effect, Policies, Question
from lambent.services.iam.gate import refusal
from lambent.services.iam.held import Held, held_by
from lambent.services.iam.principals import Principal
from lambent.services.iam.records import MAX_SESSION, Identity, Kind
from lambent.services.iam.standing import standing_of
from lambent.services.sts.sessions import Credentials, Sessions
from lambent.wire import refusals
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Caller, Context, Operations, Parameters
from lambent.wire.refusals import Refusal
from lambent.wire.sigv4 import DEFAULT_ACCOUNT, Accounts

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>[0-9]{12}):role/(?:[!-~]*/)?(?P<name>[\w+=,.@-]{1,64})", re.ASCII)
_DAY_HALF = 43_200  # seconds that GetSessionToken's credentials last when nothing is said
_CHAINED = 3_600  # seconds that a session may last which a session has begun

Answer = Mapping[str, Any]


class Sts:
    """Who calls, and credentials for a while."""

    def __init__(self, directory: Directory, accounts: Accounts, sessions: Sessions) -> None:
        self._directory = directory
        self._accounts = accounts
        self._sessions = sessions

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "GetCallerIdentity": self.get_caller_identity,
            "AssumeRole": self.assume_role,
            "GetSessionToken": self.get_session_token,
            "GetAccessKeyInfo": self.get_access_key_info,
        }.items():
            operations.register("sts", operation, handler)

    async def get_caller_identity(self, context: Context, _parameters: Parameters) -> Answer:
        caller = principal_of(self._accounts, context.caller)
        user_id = await self._directory.db.read(lambda connection: _user_id(connection, caller))
        return {"UserId": user_id, "Account": caller.account, "Arn": caller.arn}

    async def get_access_key_info(self, _context: Context, parameters: Parameters) -> Answer:
        return {"Account": self._accounts.account_of(parameters["AccessKeyId"])}

    async def get_session_token(self, context: Context, parameters: Parameters) -> Answer:
        _refuse_mfa(parameters)
        caller = principal_of(self._accounts, context.caller)
        if caller.role is not None or context.caller.access_key_id.startswith("ASIA"):
            raise AwsError("AccessDenied", "Cannot call GetSessionToken with session credentials", status=403)
        seconds = parameters.get("DurationSeconds", _DAY_HALF)
        if caller.is_root:
            seconds = min(seconds, _CHAINED)
        credentials = await self._sessions.begin(caller.account or DEFAULT_ACCOUNT, caller.arn or "", "", seconds)
        return {"Credentials": _shape(credentials)}

    async def assume_role(self, context: Context, parameters: Parameters) -> Answer:
        _refuse_mfa(parameters)
        arn, session = parameters["RoleArn"], parameters["RoleSessionName"]
        match = _ROLE.fullmatch(arn)
        if match is None:
            raise AwsError("ValidationError", f"{arn} is invalid", status=400)
        caller = principal_of(self._accounts, context.caller)

        def work(connection: Connection) -> tuple[Identity | None, str, list[str]]:
            role = _role(connection, arn)
            if context.caller.proven:
                self._demand(connection, context.caller, arn, role, parameters)
            else:
                _authorize(connection, caller, arn, role, parameters)
            return role, _role_id(arn, role), _session_policies(connection, match["account"], parameters)

        role, role_id, policies = await self._directory.db.read(work)
        seconds = _duration(parameters, caller, role)
        assumed = f"arn:aws:sts::{match['account']}:assumed-role/{match['name']}/{session}"
        credentials = await self._sessions.begin(match["account"], assumed, arn, seconds, policies)
        answer: dict[str, Any] = {
            "Credentials": _shape(credentials),
            "AssumedRoleUser": {"AssumedRoleId": f"{role_id}:{session}", "Arn": assumed},
        }
        if "SourceIdentity" in parameters:
            answer["SourceIdentity"] = parameters["SourceIdentity"]
        return answer

    def _demand(
        self, connection: Connection, caller: Caller, arn: str, role: Identity | None, parameters: Parameters
    ) -> None:
        """Raises AccessDenied unless the trust policy and, where they have a say, the caller's policies allow it."""
        issued = self._accounts.issued(caller.access_key_id)
        if issued is None:
            raise Refusal(refusals.Kind.UNKNOWN_KEY)
        standing = standing_of(connection, issued)
        if role is None:
            because = "because no resource-based policy allows the sts:AssumeRole action"
            raise refusals.denied(standing.principal, "sts:AssumeRole", arn, because)
        values = {**standing.context, **_values(parameters)}
        question = Question(standing.principal, "sts:AssumeRole", role.arn, role.account, values)
        trust = documents.parse(role.trust or "", documents.Kind.TRUST, f"the trust policy of {role.name}")
        held = standing.held
        policies = Policies(held.policies, trust, held.boundary, standing.session, resource_decides=True)
        decision = evaluator.evaluate(question, policies)
        if not decision.allowed:
            raise refusal(question, decision)


def _refuse_mfa(parameters: Parameters) -> None:
    if "SerialNumber" in parameters or "TokenCode" in parameters:
        raise not_built("multi-factor authentication")


def _duration(parameters: Parameters, caller: Principal, role: Identity | None) -> int:
    seconds: int = parameters.get("DurationSeconds", MAX_SESSION)
    if caller.role is not None and seconds > _CHAINED:
        message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        raise AwsError("ValidationError", message, status=400)
    if role is not None and seconds > role.max_session:
        message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        raise AwsError("ValidationError", message, status=400)
    return seconds


def _role(connection: Connection, arn: str) -> Identity | None:
    match = _ROLE.fullmatch(arn)
    if match is None:
        return None
    role = store.find_identity(connection, match["account"], Kind.ROLE, match["name"])
    return role if role is not None and role.arn == arn else None


def _authorize(
    connection: Connection, caller: Principal, arn: str, role: Identity | None, parameters: Parameters
) -> None:
    """Raises AccessDenied. See the top of this file for the rule."""
    own = arn.split(":")[4] == caller.account
    if role is None and own:
        return
    if role is not None:
        decision = _decide(connection, caller, role, parameters)
        if decision.allowed or (own and decision.effect is not Effect.EXPLICIT_DENY):
            return
    message = f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
    raise AwsError("AccessDenied", message, status=403)


def _decide(connection: Connection, caller: Principal, role: Identity, parameters: Parameters) -> Decision:
    values = {**principals.context_of(caller), **_values(parameters)}
    question = Question(caller, "sts:AssumeRole", role.arn, role.account, values)
    held = _held(connection, caller)
    trust = documents.parse(role.trust or "", documents.Kind.TRUST, f"the trust policy of {role.name}")
    return evaluator.evaluate(question, Policies(held.policies, trust, held.boundary, resource_decides=True))


def _values(parameters: Parameters) -> dict[str, tuple[str, ...]]:
    """The condition keys that follow from the request."""
    values: dict[str, tuple[str, ...]] = {"sts:rolesessionname": (parameters["RoleSessionName"],)}
    for member, key in (("ExternalId", "sts:externalid"), ("SourceIdentity", "sts:sourceidentity")):
        if member in parameters:
            values[key] = (parameters[member],)
    for tag in parameters.get("Tags", ()):
        values[f"aws:requesttag/{tag['Key'].lower()}"] = (tag["Value"],)
    return values


def _held(connection: Connection, caller: Principal) -> Held:
    identity = _role(connection, caller.role) if caller.role is not None else _user(connection, caller)
    return held_by(connection, identity) if identity is not None else Held([])


def _user(connection: Connection, caller: Principal) -> Identity | None:
    if caller.account is None or caller.arn is None or ":user/" not in caller.arn:
        return None
    return store.find_identity(connection, caller.account, Kind.USER, caller.arn.rsplit("/", 1)[1])


def _session_policies(connection: Connection, account: str, parameters: Parameters) -> list[str]:
    arns = [entry["arn"] for entry in parameters.get("PolicyArns", ())]
    for arn in arns:
        attachable(connection, account, arn)
    text = parameters.get("Policy")
    if text is None:
        return arns
    errors.check_document(text, documents.Kind.IDENTITY)
    return [*arns, text]


def _user_id(connection: Connection, caller: Principal) -> str:
    """As AWS's table of principals has it: the account, the user's id, or the role's id and the session's name."""
    if caller.role is not None and caller.arn is not None:
        return f"{_role_id(caller.role, _role(connection, caller.role))}:{caller.arn.rsplit('/', 1)[1]}"
    user = _user(connection, caller)
    return user.id if user is not None else caller.account or DEFAULT_ACCOUNT


def _role_id(arn: str, role: Identity | None) -> str:
    """That of a role which IAM does not know follows from its ARN."""
    if role is not None:
        return role.id
    return "AROA" + b32encode(hashlib.sha256(arn.encode()).digest()).decode()[:17]


def _shape(credentials: Credentials) -> Mapping[str, Any]:
    return {
        "AccessKeyId": credentials.key,
        "SecretAccessKey": credentials.secret,
        "SessionToken": credentials.token,
        "Expiration": datetime.fromtimestamp(credentials.expires, UTC),
    }
