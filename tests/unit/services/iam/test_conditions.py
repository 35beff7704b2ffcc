"""IAM user guide, "Condition operators", "Multivalued context keys", "Policy variables": a table of its rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.iam.conditions import Condition, Operator

TEXT = "String operators: exact, case-sensitive unless they say otherwise"
NUMBER = "Numeric operators compare integers and decimals"
DATE = "Date operators take ISO 8601 and epoch seconds"
BOOL = "Bool compares true and false"
BINARY = "BinaryEquals compares base64-encoded bytes"
ADDRESS = "IP address operators take CIDR blocks, IPv4 and IPv6"
ARN = "ARN operators compare the six parts one by one"
NULL = "Null tells whether a key is there"
MISSING = "A missing key: no match, but a match for negated operators"
IF_EXISTS = "...IfExists: true when the key is missing, else as the operator"
ANY = "Several values in a policy: OR; for negated operators NOR"
FOR_ALL = "ForAllValues: every value of the request fits; true when there is none"
FOR_ANY = "ForAnyValue: at least one value of the request fits; false when there is none"
UNREADABLE = "A value of another type compares with nothing"
VARIABLE = "Policy variables in condition values"

LAMBDA = "arn:aws:lambda:us-east-1:111111111111:function:f"

CASES = [
    # (rule, operator, policy's values, request's values (None: absent), whether it holds)
    (TEXT, "StringEquals", "a", "a", True),
    (TEXT, "StringEquals", "a", "A", False),
    (TEXT, "StringEquals", "a", "ab", False),
    (TEXT, "StringEquals", "", "", True),
    (TEXT, "StringEquals", "a*", "ab", False),
    (TEXT, "StringEquals", "a*", "a*", True),
    (TEXT, "StringEquals", "ä", "ä", True),
    (TEXT, "StringNotEquals", "a", "b", True),
    (TEXT, "StringNotEquals", "a", "a", False),
    (TEXT, "StringNotEquals", "a", "A", True),
    (TEXT, "StringEqualsIgnoreCase", "Admin", "aDMIN", True),
    (TEXT, "StringEqualsIgnoreCase", "Admin", "admins", False),
    (TEXT, "StringNotEqualsIgnoreCase", "Admin", "aDMIN", False),
    (TEXT, "StringNotEqualsIgnoreCase", "Admin", "user", True),
    (TEXT, "StringLike", "a*", "abc", True),
    (TEXT, "StringLike", "a*", "a", True),
    (TEXT, "StringLike", "a?", "ab", True),
    (TEXT, "StringLike", "a?", "a", False),
    (TEXT, "StringLike", "a?", "abc", False),
    (TEXT, "StringLike", "*", "", True),
    (TEXT, "StringLike", "*b*", "abc", True),
    (TEXT, "StringLike", "A*", "abc", False),
    (TEXT, "StringLike", "a*c", "abd", False),
    (TEXT, "StringLike", "home/*/x?z", "home/a/b/xyz", True),
    (TEXT, "StringNotLike", "a*", "abc", False),
    (TEXT, "StringNotLike", "a*", "bc", True),
    (NUMBER, "NumericEquals", "10", "10", True),
    (NUMBER, "NumericEquals", "10", "10.0", True),
    (NUMBER, "NumericEquals", "10", "11", False),
    (NUMBER, "NumericNotEquals", "10", "11", True),
    (NUMBER, "NumericNotEquals", "10", "10.00", False),
    (NUMBER, "NumericLessThan", "10", "9.99", True),
    (NUMBER, "NumericLessThan", "10", "10", False),
    (NUMBER, "NumericLessThanEquals", "10", "10", True),
    (NUMBER, "NumericLessThanEquals", "10", "10.01", False),
    (NUMBER, "NumericGreaterThan", "10", "11", True),
    (NUMBER, "NumericGreaterThan", "10", "10", False),
    (NUMBER, "NumericGreaterThan", "-5", "-4", True),
    (NUMBER, "NumericGreaterThanEquals", "10", "10", True),
    (NUMBER, "NumericGreaterThanEquals", "10", "9", False),
    (NUMBER, "NumericLessThan", "9007199254740993", "9007199254740992", True),
    (UNREADABLE, "NumericEquals", "10", "ten", False),
    (UNREADABLE, "NumericNotEquals", "10", "ten", False),
    (UNREADABLE, "NumericLessThan", "NaN", "1", False),
    (UNREADABLE, "NumericLessThan", "Infinity", "1", False),
    (UNREADABLE, "DateLessThan", "soon", "2026-01-01", False),
    (UNREADABLE, "Bool", "true", "yes", False),
    (UNREADABLE, "BinaryEquals", "QUJD", "!", False),
    (UNREADABLE, "IpAddress", "10.0.0.0/8", "here", False),
    (UNREADABLE, "NotIpAddress", "10.0.0.0/8", "here", False),
    (UNREADABLE, "ArnLike", "arn:aws:s3:::b", "b", False),
    (DATE, "DateEquals", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", True),
    (DATE, "DateEquals", "2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", True),
    (DATE, "DateEquals", "2026-01-02", "2026-01-02T00:00:00Z", True),
    (DATE, "DateEquals", "1767323045", "2026-01-02T03:04:05Z", True),
    (DATE, "DateNotEquals", "2026-01-02", "2026-01-03", True),
    (DATE, "DateNotEquals", "2026-01-02", "2026-01-02", False),
    (DATE, "DateLessThan", "2026-01-02", "2026-01-01T23:59:59Z", True),
    (DATE, "DateLessThan", "2026-01-02", "2026-01-02", False),
    (DATE, "DateLessThanEquals", "2026-01-02", "2026-01-02", True),
    (DATE, "DateGreaterThan", "2026-01-02", "2026-01-02T00:00:01Z", True),
    (DATE, "DateGreaterThan", "2026-01", "2026-01-01", False),
    (DATE, "DateGreaterThanEquals", "2026", "2026-01-01", True),
    (BOOL, "Bool", "true", "true", True),
    (BOOL, "Bool", "true", "false", False),
    (BOOL, "Bool", "false", "false", True),
    (BOOL, "Bool", "True", "TRUE", True),
    (BINARY, "BinaryEquals", "QUJD", "QUJD", True),
    (BINARY, "BinaryEquals", "QUJD", "QUJE", False),
    (ADDRESS, "IpAddress", "203.0.113.0/24", "203.0.113.77", True),
    (ADDRESS, "IpAddress", "203.0.113.0/24", "203.0.114.1", False),
    (ADDRESS, "IpAddress", "203.0.113.7", "203.0.113.7", True),
    (ADDRESS, "IpAddress", "203.0.113.7/24", "203.0.113.200", True),
    (ADDRESS, "IpAddress", "2001:db8:1234:5678::/64", "2001:db8:1234:5678:1::7", True),
    (ADDRESS, "IpAddress", "2001:db8::/32", "203.0.113.7", False),
    (ADDRESS, "IpAddress", "0.0.0.0/0", "2001:db8::1", False),
    (ADDRESS, "NotIpAddress", "203.0.113.0/24", "198.51.100.1", True),
    (ADDRESS, "NotIpAddress", "203.0.113.0/24", "203.0.113.1", False),
    (ADDRESS, "NotIpAddress", ["203.0.113.0/24", "198.51.100.0/24"], "198.51.100.1", False),
    (ARN, "ArnEquals", LAMBDA, LAMBDA, True),
    (ARN, "ArnEquals", "arn:aws:lambda:*:*:function:*", LAMBDA, True),
    (ARN, "ArnLike", "arn:aws:lambda:*:111111111111:function:f", LAMBDA, True),
    (ARN, "ArnLike", "arn:aws:lambda:us-*-1:*:function:f", LAMBDA, True),
    (ARN, "ArnLike", "arn:aws:lambda:*:222222222222:function:f", LAMBDA, False),
    (ARN, "ArnLike", "arn:aws:*:*:*:*", LAMBDA, True),
    (ARN, "ArnLike", "arn:aws:lambda:*:function:f", LAMBDA, False),
    (ARN, "ArnLike", "*", LAMBDA, True),
    (ARN, "ArnNotEquals", LAMBDA, LAMBDA, False),
    (ARN, "ArnNotEquals", LAMBDA, LAMBDA + "2", True),
    (ARN, "ArnNotLike", "arn:aws:lambda:*:*:function:*", LAMBDA, False),
    (ARN, "ArnNotLike", "arn:aws:s3:::*", LAMBDA, True),
    (NULL, "Null", "true", None, True),
    (NULL, "Null", "true", "x", False),
    (NULL, "Null", "false", None, False),
    (NULL, "Null", "false", "x", True),
    (MISSING, "StringEquals", "a", None, False),
    (MISSING, "StringLike", "*", None, False),
    (MISSING, "NumericLessThan", "1", None, False),
    (MISSING, "Bool", "false", None, False),
    (MISSING, "IpAddress", "0.0.0.0/0", None, False),
    (MISSING, "ArnLike", "*", None, False),
    (MISSING, "StringNotEquals", "a", None, True),
    (MISSING, "StringNotLike", "*", None, True),
    (MISSING, "NumericNotEquals", "1", None, True),
    (MISSING, "DateNotEquals", "2026-01-01", None, True),
    (MISSING, "NotIpAddress", "0.0.0.0/0", None, True),
    (MISSING, "ArnNotLike", "*", None, True),
    (IF_EXISTS, "StringEqualsIfExists", "a", None, True),
    (IF_EXISTS, "StringEqualsIfExists", "a", "a", True),
    (IF_EXISTS, "StringEqualsIfExists", "a", "b", False),
    (IF_EXISTS, "BoolIfExists", "true", None, True),
    (IF_EXISTS, "BoolIfExists", "true", "false", False),
    (IF_EXISTS, "NumericLessThanIfExists", "5", None, True),
    (IF_EXISTS, "IpAddressIfExists", "10.0.0.0/8", None, True),
    (IF_EXISTS, "IpAddressIfExists", "10.0.0.0/8", "11.0.0.1", False),
    (IF_EXISTS, "ArnLikeIfExists", "arn:aws:s3:::*", None, True),
    (IF_EXISTS, "StringNotEqualsIfExists", "a", None, True),
    (IF_EXISTS, "StringNotEqualsIfExists", "a", "a", False),
    (ANY, "StringEquals", ["a", "b"], "b", True),
    (ANY, "StringEquals", ["a", "b"], "c", False),
    (ANY, "StringNotEquals", ["a", "b"], "b", False),
    (ANY, "StringNotEquals", ["a", "b"], "c", True),
    (ANY, "NumericEquals", ["1", "x", "2"], "2", True),
    (ANY, "StringEquals", [], "a", False),
    (FOR_ALL, "ForAllValues:StringEquals", ["a", "b"], ["a"], True),
    (FOR_ALL, "ForAllValues:StringEquals", ["a", "b"], ["a", "b"], True),
    (FOR_ALL, "ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
    (FOR_ALL, "ForAllValues:StringEquals", ["a"], None, True),
    (FOR_ALL, "ForAllValues:StringLike", ["a*"], ["ab", "ac"], True),
    (FOR_ALL, "ForAllValues:StringNotEquals", ["a"], ["b", "c"], True),
    (FOR_ALL, "ForAllValues:StringNotEquals", ["a"], ["b", "a"], False),
    (FOR_ALL, "ForAllValues:StringNotEquals", ["a"], None, True),
    (FOR_ALL, "ForAllValues:ArnLike", ["arn:aws:s3:::*"], ["arn:aws:s3:::a", "arn:aws:s3:::b"], True),
    (FOR_ANY, "ForAnyValue:StringEquals", ["a", "b"], ["c", "b"], True),
    (FOR_ANY, "ForAnyValue:StringEquals", ["a", "b"], ["c"], False),
    (FOR_ANY, "ForAnyValue:StringEquals", ["a"], None, False),
    (FOR_ANY, "ForAnyValue:StringNotEquals", ["a"], ["a", "b"], True),
    (FOR_ANY, "ForAnyValue:StringNotEquals", ["a"], ["a"], False),
    (FOR_ANY, "ForAnyValue:StringNotEquals", ["a"], None, False),
    (FOR_ANY, "ForAnyValue:StringLike", ["team/*"], ["x", "team/a"], True),
    (FOR_ANY, "ForAnyValue:StringEqualsIfExists", ["a"], None, True),
    (FOR_ANY, "ForAnyValue:IpAddress", ["10.0.0.0/8"], ["11.0.0.1", "10.1.1.1"], True),
    (VARIABLE, "StringEquals", "${aws:username}", "ann", True),
    (VARIABLE, "StringEquals", "${aws:username}", "bob", False),
    (VARIABLE, "StringEquals", "${AWS:UserName}", "ann", True),
    (VARIABLE, "StringLike", "${aws:username}/*", "ann/x", True),
    (VARIABLE, "StringEquals", "${aws:nothing}", "", False),
    (VARIABLE, "StringNotEquals", "${aws:nothing}", "a", False),
    (VARIABLE, "StringEquals", "${aws:nothing, 'x'}", "x", True),
    (VARIABLE, "StringEquals", "${aws:username, 'x'}", "ann", True),
    (VARIABLE, "StringEquals", "${aws:several}", "a", False),
    (VARIABLE, "StringEquals", ["${aws:nothing}", "b"], "b", True),
    (VARIABLE, "StringLike", "${aws:star}", "anything", False),
    (VARIABLE, "StringLike", "${aws:star}", "*", True),
    (VARIABLE, "StringLike", "a${*}b", "a*b", True),
    (VARIABLE, "StringLike", "a${*}b", "axb", False),
    (VARIABLE, "StringLike", "a${?}", "a?", True),
    (VARIABLE, "StringLike", "${$}{x}", "${x}", True),
    (VARIABLE, "ArnLike", "arn:aws:iam::*:user/${aws:username}", "arn:aws:iam::111111111111:user/ann", True),
]


def listed(values):
    return tuple([values] if isinstance(values, str) else values or ())


@pytest.mark.parametrize(("rule", "operator", "wanted", "given", "holds"), CASES)
def test_rule(rule, operator, wanted, given, holds):
    context = {"aws:username": ("ann",), "aws:several": ("a", "b"), "aws:star": ("*",)}
    if given is not None:
        context["x:key"] = listed(given)
    parsed = Operator.parse(operator)
    assert parsed is not None
    assert Condition(parsed, "X:Key", listed(wanted)).holds(context, variables=True) is holds, rule


def test_the_older_version_has_no_variables():
    condition = Condition(Operator.parse("StringEquals"), "x:key", ("${aws:username}",))
    assert condition.holds({"x:key": ("${aws:username}",), "aws:username": ("ann",)}, variables=False)
    assert not condition.holds({"x:key": ("ann",), "aws:username": ("ann",)}, variables=False)


@pytest.mark.parametrize(
    "name", ["stringequals", "StringEqual", "ForSomeValues:StringEquals", "NullIfExists", "ForAnyValue:Null", ""]
)
def test_unknown_operators(name):
    assert Operator.parse(name) is None


NAMES = ["StringEquals", "StringLike", "NumericEquals", "DateEquals", "IpAddress", "ArnLike"]
OPPOSITE = {
    "StringEquals": "StringNotEquals",
    "StringLike": "StringNotLike",
    "NumericEquals": "NumericNotEquals",
    "DateEquals": "DateNotEquals",
    "IpAddress": "NotIpAddress",
    "ArnLike": "ArnNotLike",
}
VALUES = st.text(max_size=12) | st.sampled_from(["1", "2.0", "2026-01-01", "10.0.0.0/8", "10.1.1.1", LAMBDA, "arn:*"])


@given(st.sampled_from(NAMES), st.lists(VALUES, min_size=1, max_size=3), VALUES)
def test_an_operator_and_its_negation_never_both_hold(name, wanted, given_value):
    context = {"k:k": (given_value,)}
    both = [
        Condition(Operator.parse(operator), "k:k", tuple(wanted)).holds(context, variables=True)
        for operator in (name, OPPOSITE[name])
    ]
    assert not all(both)


@given(
    st.sampled_from([*NAMES, *OPPOSITE.values(), "Bool", "BinaryEquals", "Null", "NumericLessThan", "DateGreaterThan"]),
    st.sampled_from(["", "ForAllValues:", "ForAnyValue:"]),
    st.lists(VALUES, max_size=3),
    st.lists(VALUES, max_size=3),
)
def test_any_values_are_decided_without_a_crash(name, quantifier, wanted, given_values):
    operator = Operator.parse(quantifier + name)
    if operator is not None:
        Condition(operator, "k:k", tuple(wanted)).holds({"k:k": tuple(given_values)}, variables=True)
