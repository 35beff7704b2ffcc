"""IAM user guide, "Resource" and "Action": wildcards; and the two promises that make them safe."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.iam import patterns

STAR = "`*` stands for any characters, `?` for exactly one"
CASE = "Actions are compared without regard to case"
PARTS = "A wildcard does not reach over a colon, except in the last part of an ARN"
LAST = "In the last part it reaches over colons and slashes"
SHORT = "An ARN with fewer than six parts is completed with `*`"
EVERYTHING = '"*" means every resource'
NOTHING = 'An action on nothing in particular is allowed on "*" only'

ACTIONS = [
    (STAR, "lambda:InvokeFunction", "lambda:InvokeFunction", True),
    (STAR, "lambda:InvokeFunction", "lambda:InvokeFunctionUrl", False),
    (STAR, "lambda:Invoke*", "lambda:InvokeFunctionUrl", True),
    (STAR, "lambda:*", "lambda:CreateFunction", True),
    (STAR, "lambda:*", "lambdax:CreateFunction", False),
    (STAR, "*", "s3:GetObject", True),
    (STAR, "s3:*Object", "s3:GetObject", True),
    (STAR, "s3:*Object", "s3:GetObjectAcl", False),
    (STAR, "s3:Get*Acl", "s3:GetObjectAcl", True),
    (STAR, "s3:?etObject", "s3:GetObject", True),
    (STAR, "s3:?GetObject", "s3:GetObject", False),
    (STAR, "s*:Get*", "sqs:GetQueueUrl", True),
    (STAR, "iam:*AccessKey*", "iam:UpdateAccessKey", True),
    (STAR, "iam:*AccessKey*", "iam:UpdateUser", False),
    (CASE, "LAMBDA:invokefunction", "lambda:InvokeFunction", True),
    (CASE, "lambda:INVOKE*", "Lambda:InvokeFunction", True),
    (CASE, "S3:getobject", "s3:GetObject", True),
]


@pytest.mark.parametrize(("rule", "pattern", "action", "matches"), ACTIONS)
def test_action(rule, pattern, action, matches):
    assert patterns.like_ignoring_case(pattern, action) is matches, rule


F = "arn:aws:lambda:us-east-1:111111111111:function:f"
RESOURCES = [
    (STAR, F, F, True),
    (STAR, F, F + "x", False),
    (STAR, F + "*", F + "x", True),
    (STAR, F + "?", F, False),
    (STAR, F.upper(), F, False),
    (EVERYTHING, "*", F, True),
    (EVERYTHING, "*", "*", True),
    (EVERYTHING, "*", "no arn at all", True),
    (NOTHING, F, "*", False),
    (NOTHING, "arn:aws:lambda:*:*:*", "*", False),
    (PARTS, "arn:aws:lambda:*:111111111111:function:f", F, True),
    (PARTS, "arn:aws:lambda:us-east-1:*:function:f", F, True),
    (PARTS, "arn:aws:lambda:*:function:f", F, False),
    (PARTS, "arn:aws:lambda:us-*:111111111111:function:f", F, True),
    (PARTS, "arn:aws:lambda:eu-*:111111111111:function:f", F, False),
    (PARTS, "arn:aws:lambda:*:222222222222:*", F, False),
    (PARTS, "arn:*:lambda:*:*:function:f", F, True),
    (PARTS, "arn:aws:lam*:*:*:function:f", F, True),
    (PARTS, "arn:aws:s3:::bucket", "arn:aws:s3:::bucket", True),
    (PARTS, "arn:aws:s3:*:*:bucket", "arn:aws:s3:::bucket", True),
    (PARTS, "arn:aws-cn:s3:::bucket", "arn:aws:s3:::bucket", False),
    (LAST, "arn:aws:lambda:us-east-1:111111111111:function:*", F + ":prod", True),
    (LAST, "arn:aws:lambda:us-east-1:111111111111:*", F + ":prod", True),
    (LAST, F + ":*", F, False),
    (LAST, F + ":*", F + ":prod", True),
    (LAST, F + ":prod", F + ":1", False),
    (LAST, "arn:aws:lambda:*:*:layer:l:*", "arn:aws:lambda:us-east-1:111111111111:layer:l:3", True),
    (LAST, "arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b:c", True),
    (LAST, "arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket", False),
    (LAST, "arn:aws:s3:::bucket*", "arn:aws:s3:::bucket/key", True),
    (LAST, "arn:aws:s3:::*/public/*", "arn:aws:s3:::b/x/public/k", True),
    (LAST, "arn:aws:iam::111111111111:user/team/*", "arn:aws:iam::111111111111:user/team/a/ann", True),
    (LAST, "arn:aws:logs:*:*:log-group:/aws/lambda/*", "arn:aws:logs:r:1:log-group:/aws/lambda/f:*", True),
    (SHORT, "arn:aws:lambda", F, True),
    (SHORT, "arn:aws:lambda:*", F, True),
    (SHORT, "arn:aws:lambda:us-east-1", F, True),
    (SHORT, "arn:aws:lambda:eu-west-1", F, False),
    (SHORT, "arn:aws:s3", F, False),
]


@pytest.mark.parametrize(("rule", "pattern", "resource", "matches"), RESOURCES)
def test_resource(rule, pattern, resource, matches):
    resolved = patterns.resolve(pattern, {}, variables=True)
    assert patterns.resource_like(resolved, resource) is matches, rule


VARIABLES = [
    ("A variable stands for its value", "arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/ann/k", True),
    ("A variable stands for its value", "arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/bob/k", False),
    ("Keys are compared without regard to case", "arn:aws:s3:::${AWS:USERNAME}", "arn:aws:s3:::ann", True),
    ("Tags are keys", "arn:aws:s3:::${aws:PrincipalTag/Team}-*", "arn:aws:s3:::red-1", True),
    ("A value's `*` is plain", "arn:aws:s3:::${x:star}", "arn:aws:s3:::anything", False),
    ("A value's `*` is plain", "arn:aws:s3:::${x:star}", "arn:aws:s3:::a*", True),
    ("A default takes the place of a missing key", "arn:aws:s3:::${x:none, 'ann'}", "arn:aws:s3:::ann", True),
    ("A default may be empty", "arn:aws:s3:::b${x:none, ''}", "arn:aws:s3:::b", True),
    ("Two variables", "arn:aws:s3:::${aws:username}/${aws:PrincipalTag/team}", "arn:aws:s3:::ann/red", True),
    ("What is not closed is no variable", "arn:aws:s3:::${aws:username", "arn:aws:s3:::${aws:username", True),
    ("`${*}`, `${?}` and `${$}` are plain characters", "arn:aws:s3:::a${*}${?}${$}", "arn:aws:s3:::a*?$", True),
]


@pytest.mark.parametrize(("rule", "pattern", "resource", "matches"), VARIABLES)
def test_variable(rule, pattern, resource, matches):
    values = {"aws:username": ("ann",), "aws:principaltag/team": ("red",), "x:star": ("a*",)}
    resolved = patterns.resolve(pattern, values, variables=True)
    assert patterns.resource_like(resolved, resource) is matches, rule


@pytest.mark.parametrize("values", [{}, {"x:none": ("a", "b")}])
def test_a_variable_without_a_single_value_is_unresolved(values):
    with pytest.raises(patterns.Unresolved):
        patterns.resolve("arn:aws:s3:::${x:none}", values, variables=True)


def test_the_older_version_reads_variables_as_text():
    assert patterns.like(patterns.resolve("${aws:username}", {}, variables=False), "${aws:username}")


LETTERS = st.text("ab:/", max_size=12)
GLOBS = st.text("ab:/*?", max_size=12)


@given(GLOBS, LETTERS)
def test_like_agrees_with_the_standard_library(pattern, text):
    expected = re.fullmatch(fnmatch.translate(pattern), text) is not None
    assert patterns.like(patterns.tokens(pattern, False), text) is expected


@given(GLOBS, LETTERS)
def test_resource_like_is_never_wider_than_like(pattern, text):
    """Comparing part by part only takes matches away, but for what an incomplete ARN leaves out."""
    resource, wanted = f"arn:aws:s3:::{text}", patterns.tokens(f"arn:aws:s3:::{pattern}", False)
    assert patterns.resource_like(wanted, resource) is patterns.like(wanted, resource)


def test_a_pattern_made_to_take_forever_does_not():
    """By a regular expression this takes longer than anybody waits."""
    assert not patterns.like(patterns.tokens("a*" * 200 + "b", False), "a" * 5000)
    assert not patterns.like(patterns.tokens("?*a" * 100 + "b", False), "a" * 5000)
