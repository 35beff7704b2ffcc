"""SimulateCustomPolicy and GetContextKeysForCustomPolicy: the evaluator, asked about policies that are just written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lambent.services.iam import documents, evaluator, patterns, principals
from lambent.services.iam.documents import Kind, Policy, Position, Statement
from lambent.services.iam.evaluator import Match, Policies, Question
from lambent.services.iam.held import Held
from lambent.services.iam.principals import Principal
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

_PAGE = 100  # results a page when MaxItems is not given, as on AWS
_NOTHING = Held([])


class PolicySimulator:
    """Answers from the policies in the request alone; nothing is stored."""

    def register(self, operations: Operations) -> None:
        operations.register("iam", "SimulateCustomPolicy", self.simulate_custom_policy)
        operations.register("iam", "GetContextKeysForCustomPolicy", self.get_context_keys_for_custom_policy)

    async def simulate_custom_policy(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        caller = caller_of(parameters.get("CallerArn"), context.caller.account)
        return answer(caller, policies_of(parameters, parameters["PolicyInputList"]), parameters)

    async def get_context_keys_for_custom_policy(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        return context_keys(inputs(parameters["PolicyInputList"], "PolicyInputList"))


def answer(caller: Principal, policies: Policies, parameters: Parameters) -> Mapping[str, Any]:
    """What both simulations answer, a page of it."""
    resources = parameters.get("ResourceArns") or ["*"]
    values = {**principals.context_of(caller), **_entries(parameters.get("ContextEntries", ()))}
    owner = _owner(parameters.get("ResourceOwner"))
    questions = [
        Question(caller, action, resource, owner, values)
        for action in parameters["ActionNames"]
        for resource in resources
    ]
    page, marker = _page(questions, parameters)
    found: dict[str, Any] = {"EvaluationResults": [_result(question, policies) for question in page]}
    found["IsTruncated"] = marker is not None
    return found | ({"Marker": marker} if marker is not None else {})


def context_keys(policies: Iterable[Policy]) -> Mapping[str, Any]:
    """The condition keys that `policies` read."""
    keys = {key.lower(): key for policy in policies for statement in policy.statements for key in _keys(statement)}
    return {"ContextKeyNames": sorted(keys.values())}


def policies_of(parameters: Parameters, texts: Iterable[str], held: Held = _NOTHING) -> Policies:
    """`held` counts besides what the request brings; a boundary of the request takes the place of the one held."""
    identity = [*held.policies, *inputs(texts, "PolicyInputList")]
    bounds = inputs(parameters.get("PermissionsBoundaryPolicyInputList", ()), "PermissionsBoundaryPolicyInputList")
    if len(bounds) > 1:
        raise AwsError("InvalidInput", "Only one permissions boundary policy can be simulated.")
    text = parameters.get("ResourcePolicy")
    resource = _parse(text, Kind.RESOURCE, "ResourcePolicy") if text else None
    return Policies(identity, resource, bounds[0] if bounds else held.boundary)


def inputs(texts: Iterable[str], member: str) -> list[Policy]:
    """AWS calls them PolicyInputList.1 and so on in its answers."""
    return [_parse(text, Kind.IDENTITY, f"{member}.{number}") for number, text in enumerate(texts, 1)]


def _parse(text: str, kind: Kind, name: str) -> Policy:
    try:
        return documents.parse(text, kind, name)
    except documents.MalformedPolicy as problem:
        raise AwsError("InvalidInput", f"{name}: {problem}") from None


def caller_of(arn: str | None, account: str) -> Principal:
    if arn is None:
        return Principal(account, f"arn:aws:iam::{account}:user/simulated")
    principal = principals.from_arn(arn)
    if principal is None:
        raise AwsError("InvalidInput", f"Invalid CallerArn: {arn}. It must name a user or a session of a role.")
    return principal


def _owner(arn: str | None) -> str | None:
    if arn is None:
        return None
    account = arn.split(":")[4] if arn.count(":") >= 5 else arn
    if not (account.isascii() and account.isdigit() and len(account) == 12):
        raise AwsError("InvalidInput", f"Invalid ResourceOwner: {arn}. It must be an account's ARN.")
    return account


def _entries(entries: Iterable[Mapping[str, Any]]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        if name := entry.get("ContextKeyName"):
            found[name.lower()] = tuple(entry.get("ContextKeyValues", ()))
    return found


def _page(questions: Sequence[Question], parameters: Parameters) -> tuple[Sequence[Question], str | None]:
    marker = parameters.get("Marker", "0")
    if not (marker.isascii() and marker.isdigit()):
        raise AwsError("InvalidInput", "Invalid Marker.")
    start, most = int(marker), parameters.get("MaxItems", _PAGE)
    rest = questions[start : start + most]
    return rest, str(start + most) if start + most < len(questions) else None


def _result(question: Question, policies: Policies) -> Mapping[str, Any]:
    decision = evaluator.evaluate(question, policies)
    result: dict[str, Any] = {
        "EvalActionName": question.action,
        "EvalResourceName": question.resource,
        "EvalDecision": str(decision.effect),
        "MatchedStatements": [_matched(match) for match in decision.matches],
        "MissingContextValues": sorted(_missing(question, policies)),
    }
    if policies.boundary is not None:
        inside = evaluator.within(question, policies.boundary)
        result["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": inside}
    return result


def _matched(match: Match) -> Mapping[str, Any]:
    kind = "Resource Policy" if match.policy.name == "ResourcePolicy" else "IAM Policy"
    return {
        "SourcePolicyId": match.policy.name,
        "SourcePolicyType": kind,
        "StartPosition": _place(match.statement.start),
        "EndPosition": _place(match.statement.end),
    }


def _place(position: Position) -> Mapping[str, int]:
    return {"Line": position.line, "Column": position.column}


def _missing(question: Question, policies: Policies) -> set[str]:
    """The condition keys that statements on this action read and the request does not bring."""
    given = question.context
    return {
        key
        for policy in policies.everything()
        for statement in policy.statements
        if evaluator.names_action(statement, question.action)
        for key in _keys(statement)
        if key.lower() not in given
    }


def _keys(statement: Statement) -> Iterator[str]:
    """The condition keys that a statement reads, by its conditions and by policy variables."""
    for text in (*(statement.resources or ()), *(statement.not_resources or ())):
        yield from patterns.variable_keys(text)
    for condition in statement.conditions:
        yield condition.key
        for text in condition.values:
            yield from patterns.variable_keys(text)
