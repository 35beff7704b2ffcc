"""The evaluator beside moto's, over policies made at random from what both mean to understand.

The common subset: Allow and Deny, Action and NotAction in their usual case, Resource, and `*` anywhere; there they agree on
everything. Outside of it they differ as explained below, and ours is what the IAM user guide says. moto is no oracle for
AWS: what both get wrong nothing here shows.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.iam.access_control import IAMPolicy, PermissionResult

from lambent.services.iam import documents, evaluator
from lambent.services.iam.evaluator import Effect, Policies, Question
from lambent.services.iam.principals import Principal

WHO = Principal("111111111111", "arn:aws:iam::111111111111:user/u")
ACTIONS = ["s3:GetObject", "s3:PutObject", "lambda:InvokeFunction", "lambda:InvokeAsync"]
RESOURCES = [
    "arn:aws:s3:::bucket/key",
    "arn:aws:s3:::bucket",
    "arn:aws:lambda:us-east-1:111111111111:function:f",
    "arn:aws:lambda:us-east-1:111111111111:function:f:live",
]


def _cut(text: str, where: int) -> str:
    """The beginning, and a wildcard for the rest."""
    return text[:where] + "*"


def _patterns(texts: list[str], least: int) -> st.SearchStrategy[Any]:
    one = st.one_of(
        st.just("*"),
        st.sampled_from(texts),
        st.builds(
            lambda text, at: _cut(text, least + at % (len(text) - least)), st.sampled_from(texts), st.integers(0)
        ),
    )
    return st.one_of(one, st.lists(one, min_size=1, max_size=3))


_action_patterns = st.one_of(
    st.just("*"),
    st.sampled_from(ACTIONS),
    st.sampled_from(["s3:*", "lambda:*", "s3:Get*", "lambda:Invoke*", "lambda:*Async", "*:GetObject"]),
)
_statements = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Allow", "Deny"]),
        "Resource": _patterns(RESOURCES, 8),
    }
).flatmap(
    lambda body: st.tuples(
        st.sampled_from(["Action", "Action", "NotAction"]),
        st.one_of(_action_patterns, st.lists(_action_patterns, min_size=1, max_size=3)),
    ).map(lambda action: {**body, action[0]: action[1]})
)


def _ours(text: str, action: str, resource: str, **context: tuple[str, ...]) -> Effect:
    parsed = documents.parse(text, documents.Kind.IDENTITY)
    question = Question(WHO, action, resource, context=context)
    return evaluator.evaluate(question, Policies([parsed])).effect


def _theirs(text: str, action: str, resource: str) -> Effect:
    found = IAMPolicy({"policy_document": text}).is_action_permitted(action, resource)
    return {
        PermissionResult.PERMITTED: Effect.ALLOWED,
        PermissionResult.DENIED: Effect.EXPLICIT_DENY,
        PermissionResult.NEUTRAL: Effect.IMPLICIT_DENY,
    }[found]


def _text(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@given(st.lists(_statements, min_size=1, max_size=4), st.sampled_from(ACTIONS), st.sampled_from(RESOURCES))
@settings(max_examples=1500, deadline=None)
def test_the_common_subset(statements: list[dict[str, Any]], action: str, resource: str) -> None:
    text = _text(*statements)
    ours, theirs = _ours(text, action, resource), _theirs(text, action, resource)
    assert ours == theirs, text


ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
ARN = RESOURCES[0]


@pytest.mark.parametrize(
    ("why", "statements", "ours", "theirs"),
    [
        (
            "actions are named in any case: IAM user guide, 'Action': 'The prefix and the action name are case insensitive'",
            [{**ALLOW, "Action": "S3:getobject"}],
            Effect.ALLOWED,
            Effect.IMPLICIT_DENY,
        ),
        (
            "? stands for one character; in moto it is a regular expression's",
            [{**ALLOW, "Action": "s3:Get?bject"}],
            Effect.ALLOWED,
            Effect.IMPLICIT_DENY,
        ),
        (
            "NotResource is an element; moto takes a statement without Resource for a trust policy's, which permits",
            [{"Effect": "Deny", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::other/*"}],
            Effect.EXPLICIT_DENY,
            Effect.ALLOWED,
        ),
        (
            "a condition that does not hold makes a statement speak of something else; in moto it holds",
            [{**ALLOW, "Effect": "Deny", "Condition": {"StringEquals": {"aws:username": "somebody"}}}],
            Effect.IMPLICIT_DENY,
            Effect.EXPLICIT_DENY,
        ),
    ],
)
def test_differences(why: str, statements: list[dict[str, Any]], ours: Effect, theirs: Effect) -> None:
    text = _text(*statements)
    assert (_ours(text, "s3:GetObject", ARN), _theirs(text, "s3:GetObject", ARN)) == (ours, theirs), why
