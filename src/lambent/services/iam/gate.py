"""The gate of `--auth iam`: every access decided by the policies that are stored.

Allowed accesses are remembered with everything the decision rested on but the clock: who, what, on what, and under
which condition keys. A commit that changes a table which any of this is read from forgets them all, before whoever
changed it gets an answer; a decision that was being made meanwhile is not kept. Policies that ask for the time are
always asked.

Source: IAM user guide, "Policy evaluation logic", "AWS global condition context keys", "Troubleshoot access denied
error messages".
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.services.iam import documents, evaluator
from lambent.services.iam.documents import Policy
from lambent.services.iam.evaluator import Decision, Effect, Origin, Policies, Question
from lambent.services.iam.principals import Principal
from lambent.services.iam.standing import Standing, of_principal, standing_of
from lambent.wire import refusals
from lambent.wire.callers import Caller
from lambent.wire.gate import Access, Find, Guarded
from lambent.wire.refusals import Kind, Refusal
from lambent.wire.sigv4 import Accounts

_log = logging.getLogger("lambent.authorisation")

_TABLES = ("iam_identities", "iam_policies", "iam_access_keys", "sts_sessions")
_KEPT = 65_536  # decisions
_DENIALS = 200
_NOTHING = Guarded()
_SHUT = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}'
_CLOCKS = frozenset({"aws:currenttime", "aws:epochtime"})

Key = tuple[Caller, str, str, tuple[tuple[str, tuple[str, ...]], ...]]


@dataclass(frozen=True, slots=True)
class Denial:
    """What `lambent explain` shows."""

    time: float  # seconds since the epoch
    principal: str
    action: str
    resource: str
    because: str


class IamGate:
    """Belongs to one event loop; `decide` runs in the database's threads."""

    enforces = True

    def __init__(
        self,
        db: Database,
        clock: Clock,
        accounts: Accounts,
        organizations: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        """`organizations`: the accounts of each, for aws:PrincipalOrgID."""
        self._db = db
        self._clock = clock
        self._accounts = accounts
        self._organizations = organizations or {}
        self._finders: dict[str, Find] = {}
        self._allowed: set[Key] = set()
        self._generation = 0
        self.denials: deque[Denial] = deque(maxlen=_DENIALS)
        """The last ones, oldest first."""
        db.watch(_TABLES, self.forget)

    def guard(self, service: str, find: Find, tables: Sequence[str]) -> None:
        self._finders[service] = find
        self._db.watch(tables, self.forget)

    def forget(self) -> None:
        """Something that decisions rest on has changed."""
        self._generation += 1
        self._allowed.clear()

    async def authorize(self, caller: Caller, *accesses: Access) -> None:
        for access in accesses:
            key = (caller, access.action, access.resource, tuple(sorted(access.context.items())))
            if key not in self._allowed:
                await self._authorize(caller, access, key)

    async def _authorize(self, caller: Caller, access: Access, key: Key) -> None:
        generation = self._generation

        def work(connection: Connection) -> bool:
            find = self._finders.get(access.action.partition(":")[0])
            guarded = find(connection, access) if find is not None else None
            return self._decide(connection, caller, access, guarded or _NOTHING)

        lasting = await self._db.read(work)
        if lasting and generation == self._generation and self._is_known(caller):
            if len(self._allowed) >= _KEPT:
                self._allowed.clear()
            self._allowed.add(key)

    def decide(self, connection: Connection, caller: Caller, access: Access, guarded: Guarded) -> None:
        self._decide(connection, caller, access, guarded)

    def _is_known(self, caller: Caller) -> bool:
        issued = self._accounts.issued(caller.access_key_id)
        return issued is not None and issued.active

    def _decide(self, connection: Connection, caller: Caller, access: Access, guarded: Guarded) -> bool:
        """Whether the decision stands until something stored changes. Raises Refusal."""
        issued = self._accounts.issued(caller.access_key_id)
        if issued is None or not issued.arn or not issued.active:
            raise Refusal(Kind.UNKNOWN_KEY)
        standing = standing_of(connection, issued)
        decision, policies, question = self._evaluate(standing, caller, access, guarded)
        if not decision.allowed:
            raise self._refuse(question, decision)
        return not any(_asks_for_time(policy) for policy in policies.everything())

    def _evaluate(
        self, standing: Standing, caller: Caller, access: Access, guarded: Guarded
    ) -> tuple[Decision, Policies, Question]:
        resource = guarded.arn or access.resource
        account = guarded.account or _account_of(resource)
        context = {**self._context(caller, account), **standing.context}
        context |= {f"aws:resourcetag/{name.lower()}": (value,) for name, value in guarded.tags.items()}
        context |= guarded.context
        context |= access.context
        question = Question(standing.principal, access.action, resource, account, context)
        policies = Policies(
            standing.held.policies,
            _parsed(guarded.policy),
            standing.held.boundary,
            standing.session,
            resource_decides=guarded.decides,
        )
        decision = evaluator.evaluate(question, policies)
        if decision.effect is Effect.IMPLICIT_DENY and _names(guarded.grantees, standing.principal):
            decision = Decision(Effect.ALLOWED, "a grant allows it")
        return decision, policies, question

    def _context(self, caller: Caller, resource_account: str | None) -> dict[str, tuple[str, ...]]:
        now = self._clock.now()
        found: dict[str, tuple[str, ...]] = {
            "aws:currenttime": (now.strftime("%Y-%m-%dT%H:%M:%SZ"),),
            "aws:epochtime": (str(int(now.timestamp())),),
            "aws:requestedregion": (caller.region,),
            "aws:securetransport": ("false",),
            "aws:viaawsservice": (str(bool(caller.via)).lower(),),
        }
        if caller.source:
            found["aws:sourceip"] = (caller.source,)
        if caller.via:
            found["aws:calledvia"] = found["aws:calledviafirst"] = found["aws:calledvialast"] = (caller.via,)
        if resource_account:
            found["aws:resourceaccount"] = (resource_account,)
        for name, accounts in self._organizations.items():
            if caller.account in accounts:
                found["aws:principalorgid"] = (name,)
        return found

    def _refuse(self, question: Question, decision: Decision) -> Refusal:
        denial = Denial(
            self._clock.time(), str(question.principal), question.action, question.resource, decision.because
        )
        self.denials.append(denial)
        _log.info("denied: %s: %s", denial.principal, denial.because)
        return refusal(question, decision)

    async def explain(self, principal: Principal, caller: Caller, access: Access) -> Decision:
        """What the gate would say to `principal`. Nothing is done, and nothing is remembered."""

        def work(connection: Connection) -> Decision:
            find = self._finders.get(access.action.partition(":")[0])
            guarded = find(connection, access) if find is not None else None
            standing = of_principal(connection, principal)
            return self._evaluate(standing, caller, access, guarded or _NOTHING)[0]

        return await self._db.read(work)


def refusal(question: Question, decision: Decision) -> Refusal:
    """AWS's sentence, and behind it the explanation where it shows nothing but the caller's own account's policies."""
    if decision.effect is Effect.EXPLICIT_DENY:
        article = "an" if decision.origin is Origin.IDENTITY else "a"
        because = f"with an explicit deny in {article} {decision.origin}"
    else:
        because = f"because no {decision.origin} allows the {question.action} action"
    if question.resource_account in (None, question.principal.account):
        because += f" ({decision.because})"
    return refusals.denied(question.principal, question.action, question.resource, because)


def _names(grantees: Sequence[str], principal: Principal) -> bool:
    root = f"arn:aws:iam::{principal.account}:root"
    return any(one in (principal.arn, principal.role, principal.account, root) for one in grantees)


def _account_of(resource: str) -> str | None:
    """The account in an ARN; None where there is none: it is the caller's own."""
    parts = resource.split(":", 5)
    return parts[4] if len(parts) == 6 and parts[4].isdigit() else None


def _parsed(text: str | None) -> Policy | None:
    """A resource's policy. One that cannot be read denies everything: what it forbids is not known."""
    if text is None:
        return None
    try:
        return documents.parse(text, documents.Kind.RESOURCE, "the resource's policy")
    except documents.MalformedPolicy:
        return documents.parse(_SHUT, documents.Kind.RESOURCE, "the resource's policy, which cannot be read")


def _asks_for_time(policy: Policy) -> bool:
    return any(name in _CLOCKS for name in _condition_keys(policy))


def _condition_keys(policy: Policy) -> Iterator[str]:
    for statement in policy.statements:
        for condition in statement.conditions:
            yield condition.key.lower()
