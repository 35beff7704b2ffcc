"""Who calls, and temporary credentials."""

import pytest

from ..iam.lab import ACCOUNT, OTHER, allowing, trusting

ROLE = f"arn:aws:iam::{ACCOUNT}:role/runner"


async def assume(iam, arn=ROLE, **members):
    return await iam.call("AssumeRole", RoleArn=arn, RoleSessionName="s1", **members)


async def refused(iam, arn=ROLE, **members):
    return await iam.refusal("AssumeRole", RoleArn=arn, RoleSessionName="s1", **members)


async def test_an_unknown_key_is_the_root_user(iam):
    for key in ("", "test"):
        assert await iam.call("GetCallerIdentity", key=key) == {
            "UserId": ACCOUNT,
            "Account": ACCOUNT,
            "Arn": f"arn:aws:iam::{ACCOUNT}:root",
        }


async def test_a_session_of_a_role(iam):
    role = await iam.role(Path="/apps/")
    answer = await assume(iam, role["Arn"])
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/runner/s1"
    user = answer["AssumedRoleUser"]
    assert user == {"AssumedRoleId": f"{role['RoleId']}:s1", "Arn": session}
    key = answer["Credentials"]["AccessKeyId"]
    assert key.startswith("ASIA")
    assert len(key) == 20
    assert answer["Credentials"]["Expiration"].timestamp() == iam.clock.time() + 3600
    for _ in range(2):
        identity = await iam.call("GetCallerIdentity", account=OTHER, key=key)
        assert identity == {"UserId": user["AssumedRoleId"], "Account": ACCOUNT, "Arn": session}
        await iam.restart()
    secret = answer["Credentials"]["SecretAccessKey"]
    for path in iam.root.iterdir():
        assert secret.encode() not in path.read_bytes()


async def test_a_session_is_forgotten_when_it_has_expired(iam):
    await iam.role()
    key = (await assume(iam))["Credentials"]["AccessKeyId"]
    iam.clock.advance(3601)
    await iam.restart()
    assert (await iam.call("GetCallerIdentity", key=key))["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"


async def test_a_role_that_iam_does_not_know_can_be_assumed_from_its_own_account_only(iam):
    first, second = await assume(iam), await assume(iam)
    assert first["AssumedRoleUser"] == second["AssumedRoleUser"]
    assert await refused(iam, account=OTHER) == (
        "AccessDenied",
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: sts:AssumeRole on resource: {ROLE}",
    )


async def test_another_account_needs_the_trust_policy(iam):
    await iam.role()
    assert (await refused(iam, account=OTHER))[0] == "AccessDenied"
    wanting = trusting({"AWS": OTHER}, Condition={"StringEquals": {"sts:ExternalId": "x1"}})
    await iam.call("UpdateAssumeRolePolicy", RoleName="runner", PolicyDocument=wanting)
    assert (await refused(iam, account=OTHER))[0] == "AccessDenied"
    answer = await assume(iam, account=OTHER, ExternalId="x1")
    assert answer["AssumedRoleUser"]["Arn"].startswith(f"arn:aws:sts::{ACCOUNT}:")


async def test_a_session_of_another_account_needs_its_own_policies_too(iam):
    await iam.role(AssumeRolePolicyDocument=trusting({"AWS": OTHER}))
    theirs = f"arn:aws:iam::{OTHER}:role/caller"
    await iam.role("caller", account=OTHER)
    key = (await assume(iam, theirs, account=OTHER))["Credentials"]["AccessKeyId"]
    assert (await refused(iam, key=key))[0] == "AccessDenied"
    may = allowing("sts:AssumeRole", ROLE)
    await iam.call("PutRolePolicy", account=OTHER, RoleName="caller", PolicyName="p", PolicyDocument=may)
    assert (await assume(iam, key=key))["AssumedRoleUser"]["Arn"].startswith(f"arn:aws:sts::{ACCOUNT}:")


async def test_a_denial_counts_in_the_own_account(iam):
    await iam.role(AssumeRolePolicyDocument=trusting({"AWS": ACCOUNT}, "Deny"))
    assert (await refused(iam))[0] == "AccessDenied"


@pytest.mark.parametrize("arn", [f"arn:aws:iam::{ACCOUNT}:user/runner", "arn:aws:iam::1:role/runner", "r" * 20])
async def test_what_is_no_role(iam, arn):
    assert await refused(iam, arn) == ("ValidationError", f"{arn} is invalid")


async def test_durations(iam):
    await iam.role(MaxSessionDuration=7200)
    key = (await assume(iam, DurationSeconds=7200))["Credentials"]["AccessKeyId"]
    assert await refused(iam, DurationSeconds=7201) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )
    assert (await refused(iam, DurationSeconds=3601, key=key))[1].endswith("assumed by role chaining.")


async def test_session_policies_are_checked(iam):
    assert await refused(iam, Policy="{") == ("MalformedPolicyDocument", "Syntax errors in policy.")
    gone = f"arn:aws:iam::{ACCOUNT}:policy/gone"
    assert (await refused(iam, PolicyArns=[{"arn": gone}]))[0] == "NoSuchEntity"
    await assume(iam, Policy=allowing("s3:*"), PolicyArns=[{"arn": "arn:aws:iam::aws:policy/AdministratorAccess"}])


async def test_a_session_of_a_user(iam):
    user = (await iam.key())["AccessKeyId"]
    key = (await iam.call("GetSessionToken", key=user))["Credentials"]["AccessKeyId"]
    found = [await iam.call("GetCallerIdentity", key=name) for name in (user, key)]
    assert found[0] == found[1]
    assert await iam.refusal("GetSessionToken", key=key) == (
        "AccessDenied",
        "Cannot call GetSessionToken with session credentials",
    )
    assert await iam.call("GetAccessKeyInfo", AccessKeyId=key) == {"Account": ACCOUNT}


async def test_multi_factor_authentication_is_not_built(iam):
    refusal = await refused(iam, SerialNumber="arn:aws:iam::1:mfa/x", TokenCode="123456")
    assert refusal[0] == "NotImplemented"
