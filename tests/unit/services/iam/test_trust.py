"""Whether a role lets a service of AWS in."""

import pytest

from lambent.services.iam.directory import Directory
from lambent.services.iam.trust import Trust

from .lab import ACCOUNT, trusting

LAMBDA = "lambda.amazonaws.com"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"


@pytest.mark.parametrize(
    ("document", "trusted"),
    [
        (trusting({"Service": LAMBDA}), True),
        (trusting({"Service": ["edgelambda.amazonaws.com", LAMBDA]}), True),
        (trusting({"Service": "ec2.amazonaws.com"}), False),
        (trusting({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}), False),
        (trusting({"Service": LAMBDA}, "Deny"), False),
        (trusting({"Service": LAMBDA}, Condition={"StringEquals": {"aws:SourceAccount": ACCOUNT}}), True),
        (trusting({"Service": LAMBDA}, Condition={"StringEquals": {"aws:SourceAccount": "999999999999"}}), False),
        (trusting({"Service": LAMBDA}, Condition={"ArnLike": {"aws:SourceArn": FUNCTION[:-1] + "*"}}), True),
    ],
)
async def test_a_trust_policy_decides(iam, document, trusted):
    role = await iam.role(AssumeRolePolicyDocument=document, Path="/service/")
    context = {"aws:sourceaccount": (ACCOUNT,), "aws:sourcearn": (FUNCTION,)}
    assert await Trust(Directory(iam.db, iam.clock)).allows(role["Arn"], LAMBDA, context) is trusted


async def test_a_role_that_is_not_there_says_nothing(iam):
    role = await iam.role(Path="/service/")
    trust = Trust(Directory(iam.db, iam.clock))
    for arn in (role["Arn"] + "x", role["Arn"].replace("/service", ""), role["Arn"].replace(ACCOUNT, "999999999999")):
        assert await trust.allows(arn, LAMBDA, {}) is None
