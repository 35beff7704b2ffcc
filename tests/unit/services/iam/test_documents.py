"""Policy documents: what is read, what is refused and in which words, and where statements stand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.iam.documents import Kind, MalformedPolicy, Policy, Position, parse

from .rules import allow, to


def document(*statements, **more):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **more})


def refusal(text, kind=Kind.IDENTITY):
    with pytest.raises(MalformedPolicy) as caught:
        parse(text, kind)
    return str(caught.value)


SYNTAX = "Syntax errors in policy."
VENDOR = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", SYNTAX),
        ("nonsense", SYNTAX),
        ("[]", SYNTAX),
        ("{}", SYNTAX),
        ("[" * 100_000, SYNTAX),
        (document(), SYNTAX),
        (document(allow(), Statements=[]), SYNTAX),
        ('{"Statement": {}, "Statement": {}}', SYNTAX),
        (document("text"), SYNTAX),
        (document({"Effect": "Allow"}), "Policy statement must contain actions."),
        (document(allow(Effect="allow")), SYNTAX),
        (document(allow(Extra=1)), SYNTAX),
        (document(allow(Sid=1)), SYNTAX),
        (document(allow(Sid="a b")), "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the"
         " regular expression [0-9A-Za-z]*"),
        (document(allow(Sid="a"), allow(Sid="a")), "Statement IDs (SID) in a single policy must be unique."),
        (document(allow(), Version="2012-10-18"), "Policy document must be version 2012-10-17 or greater."),
        (document(allow(NotAction="s3:*")), SYNTAX),
        (document(allow(NotResource="*")), SYNTAX),
        (document(allow(action=[])), "Policy statement must contain actions."),
        (document(allow(action="InvokeFunction")), VENDOR),
        (document(allow(action="lambda:Invoke Function")), VENDOR),
        (document(allow(action=1)), SYNTAX),
        (document(allow(Resource=None)), "Policy statement must contain resources."),
        (document(allow(resource="function:f")), 'Resource function:f must be in ARN format or "*".'),
        (document(allow(Principal="*")), "Policy document should not specify a principal."),
        (document(allow(Condition=[])), SYNTAX),
        (document(allow(Condition={"StringEqual": {"a:b": "c"}})), "Invalid Condition type : StringEqual."),
        (document(allow(Condition={"StringEquals": "a"})), SYNTAX),
        (document(allow(Condition={"StringEquals": {"key": "a"}})), VENDOR),
        (document(allow(Condition={"StringEquals": {"a:b": {}}})), SYNTAX),
        (document(allow(Condition={"StringEquals": {"a:b": None}})), SYNTAX),
    ],
)  # fmt: skip
def test_refused(text, message):
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (Kind.RESOURCE, allow(), "Missing required field Principal"),
        (Kind.RESOURCE, to("*", NotPrincipal="*"), SYNTAX),
        (Kind.RESOURCE, to("ann"), 'Invalid principal in policy: "ann"'),
        (Kind.RESOURCE, to({"Aws": "*"}), 'Invalid principal in policy: "Aws"'),
        (Kind.RESOURCE, to({}), "Invalid principal in policy: {}"),
        (Kind.TRUST, to("*"), "Has prohibited field Resource"),
    ],
)
def test_refused_where_it_stands(kind, body, message):
    assert refusal(document(body), kind) == message


def test_numbers_and_booleans_in_conditions_become_text():
    body = allow(Condition={"Bool": {"a:b": [True, False]}, "NumericEquals": {"a:c": [1, 2.5]}})
    conditions = parse(document(body), Kind.IDENTITY).statements[0].conditions
    assert [condition.values for condition in conditions] == [("true", "false"), ("1", "2.5")]


def test_without_a_version_there_are_no_variables():
    assert not parse(json.dumps({"Statement": allow()}), Kind.IDENTITY).variables


def test_the_places_of_statements():
    text = '{\n "Version": "2012-10-17", "Id": "a\\"b{[",\n "Statement": [\n  %s ,\n  %s\n ]\n}'
    first, second = json.dumps(allow()), json.dumps(allow(Sid="x"), indent=1)
    one, two = parse(text % (first, second), Kind.IDENTITY).statements
    assert (one.start, one.end) == (Position(4, 3), Position(4, 3 + len(first)))
    assert (two.start, two.end) == (Position(5, 3), Position(5 + second.count("\n"), 2))


def test_the_place_of_a_single_statement():
    text = json.dumps({"Statement": allow(), "Version": "2012-10-17"})
    start = text.index('{"Effect"')
    (only,) = parse(text, Kind.IDENTITY).statements
    assert only.start == Position(1, start + 1)
    assert only.end == Position(1, start + 1 + len(json.dumps(allow())))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["Allow", "*", "lambda:*"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Version", "Statement", "Effect", "Action", "Resource", "Principal", "Condition", "AWS", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON.map(json.dumps) | st.text(), st.sampled_from(list(Kind)))
def test_anything_is_read_or_refused(text, kind):
    try:
        assert isinstance(parse(text, kind), Policy)
    except MalformedPolicy as problem:
        assert str(problem)
