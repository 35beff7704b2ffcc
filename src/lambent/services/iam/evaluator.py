"""The decision: may this principal do this to that, by these policies, and why.

1. A statement that denies, in any policy, decides at once.
2. The root user of an account may do everything in it.
3. In the caller's own account either their identity policies or the resource's policy must allow it. A permissions
   boundary and session policies bound what identity policies allow, and what a resource's policy allows to the role
   behind a session or to everybody; what it allows to the very user or session is theirs without further question.
4. From another account both sides must allow it.
5. What has a policy that alone decides (a role's trust, a KMS key) is allowed by that policy or not at all.

Source: IAM user guide, "Policy evaluation logic", "Evaluating policies within a single account", "Cross-account policy
evaluation logic", "Principal" (how what is granted depends on how closely a principal is named).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lambent.services.iam import patterns, principals
from lambent.services.iam.documents import Policy, Statement
from lambent.services.iam.patterns import Unresolved, Values
from lambent.services.iam.principals import Grade, Principal


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    principal: Principal
    action: str  # "lambda:InvokeFunction"
    resource: str = "*"  # an ARN; "*" where the action acts on nothing in particular
    resource_account: str | None = None  # whose the resource is; None: the caller's own
    context: Values = field(default_factory=dict)  # lower-case condition key → values


@dataclass(frozen=True, slots=True)
class Policies:
    """Everything that has a say."""

    identity: Sequence[Policy] = ()
    resource: Policy | None = None
    boundary: Policy | None = None
    session: Sequence[Policy] | None = None  # None: the session has none; empty would allow nothing
    resource_decides: bool = False  # the resource's policy alone can open it: a role's trust, a KMS key

    def everything(self) -> Iterator[Policy]:
        """All of them: an explicit deny in any decides."""
        yield from self.identity
        yield from (policy for policy in (self.resource, self.boundary) if policy is not None)
        yield from self.session or ()


class Effect(StrEnum):
    """The outcome, in the words of the policy simulator."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


class Origin(StrEnum):
    """Which kind of policy decided, in the words of AWS's messages."""

    IDENTITY = "identity-based policy"
    RESOURCE = "resource-based policy"
    BOUNDARY = "permissions boundary"
    SESSION = "session policy"


@dataclass(frozen=True, slots=True)
class Match:
    """A statement that speaks of the question."""

    policy: Policy
    statement: Statement
    grade: Grade = Grade.ITSELF  # how closely it names the principal, in a resource's policy

    def __str__(self) -> str:
        return f"{self.statement} of {self.policy.name}"


@dataclass(frozen=True, slots=True)
class Decision:
    effect: Effect
    because: str  # a whole sentence for people
    matches: tuple[Match, ...] = ()  # the statements that decided
    origin: Origin = Origin.IDENTITY  # of the policy that denied, or whose statement was missing

    @property
    def allowed(self) -> bool:
        return self.effect is Effect.ALLOWED


@dataclass(frozen=True, slots=True)
class _Miss:
    """How far a statement went before it turned out to speak of something else."""

    policy: Policy
    statement: Statement
    steps: int
    reason: str

    def __str__(self) -> str:
        return f"{self.statement} of {self.policy.name}, but {self.reason}"


def evaluate(question: Question, policies: Policies) -> Decision:
    """Decide. Never raises: what a policy says that cannot be understood matches nothing."""
    if denial := next(_matches(question, policies.everything(), allow=False), None):
        because = f"{denial} denies {_asked(question)}"
        return Decision(Effect.EXPLICIT_DENY, because, (denial,), _origin(denial.policy, policies))
    if policies.resource_decides:
        return _by_resource_alone(question, policies)
    own = question.resource_account in (None, question.principal.account)
    return _in_own_account(question, policies) if own else _across_accounts(question, policies)


def _origin(policy: Policy, policies: Policies) -> Origin:
    if policy is policies.resource:
        return Origin.RESOURCE
    if policy is policies.boundary:
        return Origin.BOUNDARY
    return Origin.SESSION if any(policy is one for one in policies.session or ()) else Origin.IDENTITY


def _asked(question: Question) -> str:
    return f"{question.action} on {question.resource}"


def _in_own_account(question: Question, policies: Policies) -> Decision:
    if question.principal.is_root:
        return Decision(Effect.ALLOWED, f"the root user may do everything in account {question.principal.account}")
    granted = _grants(question, policies.resource)
    closest = max((match.grade for match in granted), default=Grade.NOBODY)
    if closest is Grade.ITSELF:
        return _allow(question, granted)
    identity = tuple(_matches(question, policies.identity, allow=True))
    if not identity and closest < Grade.EVERYBODY:
        return _refuse(question, policies)
    return _within_bounds(question, policies, identity or granted)


def _across_accounts(question: Question, policies: Policies) -> Decision:
    principal = question.principal
    granted = _grants(question, policies.resource)
    if not granted:
        because = f"the resource's policy does not open it to {principal}"
        return _refuse(question, policies, because, Origin.RESOURCE)
    if principal.account is None or principal.service:
        return _allow(question, granted)  # nobody's account has a say
    if principal.is_root:
        return _allow(question, granted)
    identity = tuple(_matches(question, policies.identity, allow=True))
    if not identity:
        return _refuse(question, policies, f"the resource's policy allows it, no policy of {principal} does")
    return _within_bounds(question, policies, identity + granted)


def _by_resource_alone(question: Question, policies: Policies) -> Decision:
    granted = _grants(question, policies.resource)
    closest = max((match.grade for match in granted), default=Grade.NOBODY)
    if closest is Grade.NOBODY:
        because = f"the resource's policy does not open it to {question.principal}"
        return _refuse(question, policies, because, Origin.RESOURCE)
    own = question.resource_account in (None, question.principal.account)
    if question.principal.is_root or (own and closest is Grade.ITSELF) or question.principal.account is None:
        return _allow(question, granted)
    identity = tuple(_matches(question, policies.identity, allow=True))
    if not identity and (not own or closest is Grade.ACCOUNT):
        return _refuse(question, policies)
    return _within_bounds(question, policies, identity or granted)


def _within_bounds(question: Question, policies: Policies, allowing: tuple[Match, ...]) -> Decision:
    """Allowed by `allowing`, unless the boundary or the session policies leave it out."""
    if policies.boundary is not None and not within(question, policies.boundary):
        because = f"the permissions boundary {policies.boundary.name} does not allow {_asked(question)}"
        return Decision(Effect.IMPLICIT_DENY, because, origin=Origin.BOUNDARY)
    if policies.session is not None and not any(within(question, policy) for policy in policies.session):
        because = f"no policy of the session allows {_asked(question)}"
        return Decision(Effect.IMPLICIT_DENY, because, origin=Origin.SESSION)
    return _allow(question, allowing)


def within(question: Question, policy: Policy) -> bool:
    """Whether a statement of `policy` (a boundary, a session policy) allows what is asked, denials apart."""
    return next(_matches(question, [policy], allow=True), None) is not None


def _allow(question: Question, matches: tuple[Match, ...]) -> Decision:
    return Decision(Effect.ALLOWED, f"{matches[0]} allows {_asked(question)}", matches)


def _refuse(
    question: Question, policies: Policies, because: str | None = None, origin: Origin = Origin.IDENTITY
) -> Decision:
    """An implicit deny that names the statement which came nearest to allowing it."""
    text = because or f"no statement allows {_asked(question)}"
    misses = [miss for policy in _granting(policies) for miss in _misses(question, policy)]
    nearest = max(misses, key=lambda miss: miss.steps, default=None)
    if nearest is not None and nearest.steps > 0:
        text += f"; the nearest is {nearest}"
    return Decision(Effect.IMPLICIT_DENY, text, origin=origin)


def _granting(policies: Policies) -> Iterator[Policy]:
    yield from policies.identity
    if policies.resource is not None:
        yield policies.resource


# One statement


def _grants(question: Question, policy: Policy | None) -> tuple[Match, ...]:
    return tuple(_matches(question, [policy], allow=True)) if policy is not None else ()


def _matches(question: Question, policies: Iterable[Policy], *, allow: bool) -> Iterator[Match]:
    for policy in policies:
        for statement in policy.statements:
            if statement.allow is allow and _mismatch(question, policy, statement) is None:
                yield Match(policy, statement, _grade(statement, question.principal))


def _misses(question: Question, policy: Policy) -> Iterator[_Miss]:
    for statement in policy.statements:
        if statement.allow and (found := _mismatch(question, policy, statement)) is not None:
            steps, reason = found
            yield _Miss(policy, statement, steps, reason)


def _mismatch(question: Question, policy: Policy, statement: Statement) -> tuple[int, str] | None:
    """None when the statement speaks of the question; else how many of its elements fit, and what the next wants."""
    if not names_action(statement, question.action):
        return 0, f"its actions do not include {question.action}"
    if _grade(statement, question.principal) is Grade.NOBODY:
        return 1, f"it does not name {question.principal}"
    try:
        if not _names_resource(statement, question, policy.variables):
            return 2, f"its resources do not include {question.resource}"
    except Unresolved as problem:
        return 2, f"its resource needs {problem.key}, which the request does not have"
    for condition in statement.conditions:
        if not condition.holds(question.context, variables=policy.variables):
            given = question.context.get(condition.key.lower())
            has = f"the request has {', '.join(given)}" if given else f"the request has no {condition.key}"
            return 3, f"it wants {condition}: {has}"
    return None


def names_action(statement: Statement, action: str) -> bool:
    """Whether the statement speaks of `action` ("lambda:InvokeFunction"), whatever else it says."""
    if statement.actions is not None:
        return any(patterns.like_ignoring_case(pattern, action) for pattern in statement.actions)
    return not any(patterns.like_ignoring_case(pattern, action) for pattern in statement.not_actions or ())


def _names_resource(statement: Statement, question: Question, variables: bool) -> bool:
    wanted = statement.resources if statement.resources is not None else statement.not_resources
    if wanted is None:
        return True  # a role's trust: the role itself is the resource
    resolved: list[Sequence[patterns.Token]] = []
    missing: Unresolved | None = None
    for text in wanted:
        try:
            resolved.append(patterns.resolve(text, question.context, variables=variables))
        except Unresolved as problem:
            missing = problem
    named = any(patterns.resource_like(pattern, question.resource) for pattern in resolved)
    if missing is not None and not (named and statement.resources is not None):
        raise missing
    return named is (statement.resources is not None)


def _grade(statement: Statement, principal: Principal) -> Grade:
    """How the statement names the principal; one of an identity policy is always its holder's own."""
    if statement.principals is not None:
        return principals.grade(statement.principals, principal)
    if statement.not_principals is not None:
        left_out = principals.excepted(statement.not_principals, principal)
        return Grade.NOBODY if left_out else Grade.EVERYBODY
    return Grade.ITSELF
