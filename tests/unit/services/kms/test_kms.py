"""KMS: keys and their states, what they encrypt, who may use them, and what becomes of it later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.services.kms.records import DAY
from lambent.services.kms.root import RootKeyError, from_file

from .conftest import ACCOUNT, OTHER, REGION, KmsLab

UNKNOWN = "12345678-1234-1234-1234-123456789012"
LAMBDA = {"via": "lambda.amazonaws.com", "KeyId": "alias/aws/lambda"}


def arn_of(key: str) -> str:
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key}"


async def test_a_key_as_it_is_described(kms: KmsLab) -> None:
    made = (await kms.call("CreateKey", Description="mine", Tags=[{"TagKey": "a", "TagValue": "b"}]))["KeyMetadata"]
    assert (await kms.call("DescribeKey", KeyId=made["Arn"]))["KeyMetadata"] == made
    assert made.pop("CreationDate") == kms.clock.now()
    assert len(made.pop("CurrentKeyMaterialId")) == 64
    assert made == {
        "AWSAccountId": ACCOUNT,
        "KeyId": made["KeyId"],
        "Arn": arn_of(made["KeyId"]),
        "Enabled": True,
        "Description": "mine",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
    }
    await kms.call("UpdateKeyDescription", KeyId=made["KeyId"], Description="yours")
    assert (await kms.call("DescribeKey", KeyId=made["KeyId"]))["KeyMetadata"]["Description"] == "yours"


@pytest.mark.parametrize(
    "members",
    [{"KeySpec": "RSA_2048"}, {"KeyUsage": "SIGN_VERIFY"}, {"Origin": "EXTERNAL"}, {"MultiRegion": True}],
)
async def test_other_kinds_of_keys_say_that_they_are_not_built(kms: KmsLab, members: dict[str, Any]) -> None:
    assert (await kms.refusal("CreateKey", **members)).status == 501
    assert (await kms.call("ListKeys"))["Keys"] == []


async def test_what_is_encrypted_comes_back(kms: KmsLab) -> None:
    key = await kms.key()
    answer = await kms.call("Encrypt", KeyId=key, Plaintext=b"secret", EncryptionContext={"a": "1", "b": "2"})
    assert (answer["KeyId"], answer["EncryptionAlgorithm"]) == (arn_of(key), "SYMMETRIC_DEFAULT")
    blob = answer["CiphertextBlob"]
    assert b"secret" not in blob
    assert await kms.decrypt(blob, EncryptionContext={"b": "2", "a": "1"}) == b"secret"
    assert await kms.decrypt(blob, EncryptionContext={"b": "2", "a": "1"}, KeyId=arn_of(key)) == b"secret"
    for context in ({}, {"a": "1"}, {"a": "1", "b": "3"}):
        error = await kms.refusal("Decrypt", CiphertextBlob=blob, EncryptionContext=context)
        assert (error.code, error.message) == ("InvalidCiphertextException", None)
    changed = blob[:-1] + bytes([blob[-1] ^ 1])
    for junk in (changed, b"junk", blob[:20], b"\x02" + blob[1:]):
        error = await kms.refusal("Decrypt", CiphertextBlob=junk, EncryptionContext={"a": "1", "b": "2"})
        assert (error.code, error.message) == ("InvalidCiphertextException", None)
    error = await kms.refusal("Decrypt", CiphertextBlob=blob, KeyId=await kms.key())
    assert error.code == "IncorrectKeyException"
    assert error.message == "The key ID in the request does not identify a CMK that can perform this operation."


async def test_data_keys(kms: KmsLab) -> None:
    key = await kms.key()
    for members, size in (({"KeySpec": "AES_256"}, 32), ({"KeySpec": "AES_128"}, 16), ({"NumberOfBytes": 5}, 5)):
        answer = await kms.call("GenerateDataKey", KeyId=key, EncryptionContext={"a": "b"}, **members)
        assert len(answer["Plaintext"]) == size
        assert await kms.decrypt(answer["CiphertextBlob"], EncryptionContext={"a": "b"}) == answer["Plaintext"]
        hidden = await kms.call("GenerateDataKeyWithoutPlaintext", KeyId=key, **members)
        assert "Plaintext" not in hidden
        assert len(await kms.decrypt(hidden["CiphertextBlob"])) == size
    for members in ({}, {"KeySpec": "AES_256", "NumberOfBytes": 5}):
        error = await kms.refusal("GenerateDataKey", KeyId=key, **members)
        assert error.message == "Please specify either number of bytes or key spec."
    assert len((await kms.call("GenerateRandom", NumberOfBytes=7))["Plaintext"]) == 7


async def test_a_blob_moves_to_another_key(kms: KmsLab) -> None:
    old, new = await kms.key(), await kms.key()
    blob = await kms.encrypt(old, EncryptionContext={"a": "b"})
    answer = await kms.call(
        "ReEncrypt",
        CiphertextBlob=blob,
        SourceEncryptionContext={"a": "b"},
        DestinationKeyId=new,
        DestinationEncryptionContext={"c": "d"},
    )
    assert (answer["SourceKeyId"], answer["KeyId"]) == (arn_of(old), arn_of(new))
    await kms.call("DisableKey", KeyId=old)
    assert await kms.decrypt(answer["CiphertextBlob"], EncryptionContext={"c": "d"}) == b"secret"


async def test_what_a_dry_run_says(kms: KmsLab) -> None:
    key = await kms.key()
    blob = await kms.encrypt(key)
    for operation, members in (("Encrypt", {"KeyId": key, "Plaintext": b"x"}), ("Decrypt", {"CiphertextBlob": blob})):
        error = await kms.refusal(operation, DryRun=True, **members)
        assert (error.code, error.status) == ("DryRunOperationException", 412)


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        (UNKNOWN, f"Key '{arn_of(UNKNOWN)}' does not exist"),
        (arn_of(UNKNOWN), f"Key '{arn_of(UNKNOWN)}' does not exist"),
        ("alias/none", f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/none is not found."),
        ("nonsense", "Invalid keyId 'nonsense'"),
        ("key/" + UNKNOWN, f"Invalid keyId 'key/{UNKNOWN}'"),
        (arn_of(UNKNOWN).replace(REGION, "eu-west-1"), "Invalid arn eu-west-1"),
        ("alias/aws/lambda", f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/lambda is not found."),
    ],
)
async def test_keys_that_are_not_there(kms: KmsLab, identifier: str, message: str) -> None:
    error = await kms.refusal("Encrypt", KeyId=identifier, Plaintext=b"x")
    assert (error.code, error.message) == ("NotFoundException", message)


# States


async def test_a_disabled_key_does_nothing_until_it_is_enabled(kms: KmsLab) -> None:
    key = await kms.key()
    blob = await kms.encrypt(key)
    await kms.call("DisableKey", KeyId=key)
    assert (await kms.call("DescribeKey", KeyId=key))["KeyMetadata"]["Enabled"] is False
    for operation, members in (
        ("Encrypt", {"KeyId": key, "Plaintext": b"x"}),
        ("Decrypt", {"CiphertextBlob": blob}),
        ("GenerateDataKey", {"KeyId": key, "KeySpec": "AES_256"}),
        ("EnableKeyRotation", {"KeyId": key}),
        ("CreateGrant", {"KeyId": key, "GranteePrincipal": OTHER, "Operations": ["Decrypt"]}),
    ):
        error = await kms.refusal(operation, **members)
        assert (error.code, error.message) == ("DisabledException", f"{arn_of(key)} is disabled.")
    await kms.call("EnableKey", KeyId=key)
    assert await kms.decrypt(blob) == b"secret"


async def test_deletion_can_be_taken_back_until_its_day(kms: KmsLab) -> None:
    key = await kms.key()
    await kms.call("CreateAlias", AliasName="alias/mine", TargetKeyId=key)
    blob = await kms.encrypt("alias/mine")
    answer = await kms.call("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    assert (answer["KeyState"], answer["PendingWindowInDays"]) == ("PendingDeletion", 7)
    assert (answer["DeletionDate"] - kms.clock.now()).days == 7
    for operation, members in (
        ("Decrypt", {"CiphertextBlob": blob}),
        ("Encrypt", {"KeyId": key, "Plaintext": b"x"}),
        ("EnableKey", {"KeyId": key}),
        ("DisableKey", {"KeyId": key}),
        ("ScheduleKeyDeletion", {"KeyId": key}),
        ("CreateAlias", {"AliasName": "alias/other", "TargetKeyId": key}),
        ("TagResource", {"KeyId": key, "Tags": [{"TagKey": "a", "TagValue": "b"}]}),
        ("ListGrants", {"KeyId": key}),
    ):
        error = await kms.refusal(operation, **members)
        assert (error.code, error.message) == ("KMSInvalidStateException", f"{arn_of(key)} is pending deletion.")
    assert (await kms.call("DescribeKey", KeyId=key))["KeyMetadata"]["DeletionDate"] == answer["DeletionDate"]
    await kms.call("CancelKeyDeletion", KeyId=key)
    error = await kms.refusal("CancelKeyDeletion", KeyId=key)
    assert error.message == f"{arn_of(key)} is not pending deletion."
    assert (await kms.call("DescribeKey", KeyId=key))["KeyMetadata"]["KeyState"] == "Disabled"
    await kms.call("EnableKey", KeyId=key)
    assert await kms.decrypt(blob) == b"secret"


async def gone(kms: KmsLab) -> bool:
    return not await kms.db.read(lambda connection: connection.execute("SELECT id FROM kms_keys"))


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await done():
            await asyncio.sleep(0.01)


async def test_after_its_day_a_key_is_gone_and_so_is_its_material(kms: KmsLab) -> None:
    key = await kms.key()
    await kms.call("CreateAlias", AliasName="alias/mine", TargetKeyId=key)
    blob = await kms.encrypt(key)
    await kms.call("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    kms.clock.advance(7 * DAY)
    assert (await kms.refusal("DescribeKey", KeyId=key)).code == "NotFoundException"
    assert (await kms.refusal("Decrypt", CiphertextBlob=blob, KeyId=key)).code == "NotFoundException"
    error = await kms.refusal("Decrypt", CiphertextBlob=blob)
    assert error.code == "AccessDeniedException"
    assert str(error.message).startswith("The ciphertext refers to a customer master key that does not exist")
    assert (await kms.call("ListKeys"))["Keys"] == []
    await until(lambda: gone(kms))
    assert (await kms.call("ListAliases"))["Aliases"] == []


@pytest.mark.parametrize("days", [1, 6, 31, 365])
async def test_the_days_until_deletion(kms: KmsLab, days: int) -> None:
    error = await kms.refusal("ScheduleKeyDeletion", KeyId=await kms.key(), PendingWindowInDays=days)
    assert error.code == "ValidationException"
    assert f"Value '{days}' at 'pendingWindowInDays' failed to satisfy constraint" in str(error.message)


# Names, lists, tags, policies


async def test_aliases(kms: KmsLab) -> None:
    one, two = await kms.key(), await kms.key()
    await kms.call("CreateAlias", AliasName="alias/a/b", TargetKeyId=one)
    blob = await kms.encrypt(f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/a/b")
    error = await kms.refusal("CreateAlias", AliasName="alias/a/b", TargetKeyId=two)
    taken = f"An alias with the name arn:aws:kms:{REGION}:{ACCOUNT}:alias/a/b already exists"
    assert (error.code, error.message) == ("AlreadyExistsException", taken)
    await kms.call("UpdateAlias", AliasName="alias/a/b", TargetKeyId=two)
    assert (await kms.call("DescribeKey", KeyId="alias/a/b"))["KeyMetadata"]["KeyId"] == two
    assert await kms.decrypt(blob) == b"secret"  # its key is in the blob, not the alias
    assert [one_["AliasName"] for one_ in (await kms.call("ListAliases", KeyId=two))["Aliases"]] == ["alias/a/b"]
    assert (await kms.call("ListAliases", KeyId=one))["Aliases"] == []
    assert (await kms.refusal("DisableKey", KeyId="alias/a/b")).message == "Invalid keyId 'alias/a/b'"
    await kms.call("DeleteAlias", AliasName="alias/a/b")
    for operation, members in (("DeleteAlias", {}), ("UpdateAlias", {"TargetKeyId": one})):
        error = await kms.refusal(operation, AliasName="alias/a/b", **members)
        assert error.message == f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/a/b is not found."
    for name, code in (("mine", "ValidationException"), ("alias/aws/mine", "NotAuthorizedException"), ("alias/a:b", "ValidationException")):  # fmt: skip
        assert (await kms.refusal("CreateAlias", AliasName=name, TargetKeyId=one)).code == code


async def test_lists_go_on_where_they_stopped(kms: KmsLab) -> None:
    keys = [await kms.key() for _ in range(5)]
    await kms.key(account=OTHER)
    await kms.key(region="eu-west-1")
    for number, key in enumerate(keys):
        await kms.call("CreateAlias", AliasName=f"alias/{number}", TargetKeyId=key)
        await kms.call("TagResource", KeyId=keys[0], Tags=[{"TagKey": f"t{number}", "TagValue": "v"}])
        await kms.call("CreateGrant", KeyId=keys[0], GranteePrincipal=OTHER, Operations=["Decrypt"])

    async def every(operation: str, name: str, member: str, **members: Any) -> list[str]:
        found: list[str] = []
        marker: dict[str, str] = {}
        while True:
            answer = await kms.call(operation, Limit=2, **members, **marker)
            found += [one[member] for one in answer[name]]
            if not answer["Truncated"]:
                return found
            marker = {"Marker": answer["NextMarker"]}

    assert await every("ListKeys", "Keys", "KeyId") == sorted(keys)
    assert await every("ListAliases", "Aliases", "AliasName") == [f"alias/{number}" for number in range(5)]
    assert await every("ListResourceTags", "Tags", "TagKey", KeyId=keys[0]) == [f"t{number}" for number in range(5)]
    assert len(set(await every("ListGrants", "Grants", "GrantId", KeyId=keys[0]))) == 5


async def test_tags(kms: KmsLab) -> None:
    key = await kms.key(Tags=[{"TagKey": "a", "TagValue": "1"}])
    await kms.call("TagResource", KeyId=key, Tags=[{"TagKey": "a", "TagValue": "2"}, {"TagKey": "b", "TagValue": "3"}])
    await kms.call("UntagResource", KeyId=key, TagKeys=["b", "none"])
    assert (await kms.call("ListResourceTags", KeyId=key))["Tags"] == [{"TagKey": "a", "TagValue": "2"}]
    error = await kms.refusal("TagResource", KeyId=key, Tags=[{"TagKey": "aws:x", "TagValue": ""}])
    assert error.code == "TagException"
    many = [{"TagKey": f"k{number}", "TagValue": ""} for number in range(50)]
    assert (await kms.refusal("TagResource", KeyId=key, Tags=many)).code == "LimitExceededException"


async def test_key_policies(kms: KmsLab) -> None:
    key = await kms.key()
    default = json.loads((await kms.call("GetKeyPolicy", KeyId=key))["Policy"])
    assert default["Statement"][0]["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert (await kms.call("ListKeyPolicies", KeyId=key))["PolicyNames"] == ["default"]
    text = json.dumps({"Version": "2012-10-17", "Statement": [allow("kms:*", ACCOUNT)]})
    await kms.call("PutKeyPolicy", KeyId=key, Policy=text)
    assert (await kms.call("GetKeyPolicy", KeyId=key))["Policy"] == text
    for policy in ("{}", "no json", json.dumps({"Statement": [{"Effect": "Allow"}]})):
        error = await kms.refusal("PutKeyPolicy", KeyId=key, Policy=policy)
        assert error.code == "MalformedPolicyDocumentException"
        assert (await kms.refusal("CreateKey", Policy=policy)).code == "MalformedPolicyDocumentException"
    assert (await kms.refusal("GetKeyPolicy", KeyId=key, PolicyName="other")).code == "NotFoundException"


# Who may


def allow(action: str | list[str], account: str, **more: Any) -> dict[str, Any]:
    principal = {"AWS": f"arn:aws:iam::{account}:root"}
    return {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*", **more}


async def put(kms: KmsLab, key: str, *statements: dict[str, Any]) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow("kms:*", ACCOUNT), *statements]})
    await kms.call("PutKeyPolicy", KeyId=key, Policy=policy)


async def test_another_account_needs_to_be_let_in(kms: KmsLab) -> None:
    key = await kms.key()
    blob = await kms.encrypt(key, EncryptionContext={"a": "b"})
    theirs = {"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}, "account": OTHER}
    error = await kms.refusal("Decrypt", **theirs)
    assert error.code == "AccessDeniedException"
    assert "you are not allowed to access" in str(error.message)
    error = await kms.refusal("DescribeKey", KeyId=arn_of(key), account=OTHER)
    assert error.message == (
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: kms:DescribeKey on resource: {arn_of(key)}"
        " because no resource-based policy allows the kms:DescribeKey action"
    )
    assert (await kms.refusal("DescribeKey", KeyId=key, account=OTHER)).code == "NotFoundException"

    await put(kms, key, allow("kms:Decrypt", OTHER))
    assert (await kms.call("Decrypt", **theirs))["Plaintext"] == b"secret"
    assert (await kms.refusal("Encrypt", KeyId=arn_of(key), Plaintext=b"x", account=OTHER)).code == (
        "AccessDeniedException"
    )
    condition = {"StringEquals": {"kms:EncryptionContext:a": "c"}}
    await put(kms, key, allow("kms:Decrypt", OTHER, Condition=condition))
    assert (await kms.refusal("Decrypt", **theirs)).code == "AccessDeniedException"


async def test_a_policy_that_denies_stops_the_keys_own_account_too(kms: KmsLab) -> None:
    key = await kms.key()
    blob = await kms.encrypt(key)
    await put(kms, key, allow("kms:Decrypt", ACCOUNT) | {"Effect": "Deny"})
    error = await kms.refusal("Decrypt", CiphertextBlob=blob)
    assert error.code == "AccessDeniedException"
    assert str(error.message).endswith("with an explicit deny in a resource-based policy")
    await kms.encrypt(key)


async def test_a_grant_lends_what_it_says_until_it_is_taken_back(kms: KmsLab) -> None:
    key = await kms.key()
    blob = await kms.encrypt(key, EncryptionContext={"a": "b", "c": "d"})
    theirs = {"CiphertextBlob": blob, "EncryptionContext": {"a": "b", "c": "d"}, "account": OTHER}
    lend = {"KeyId": key, "GranteePrincipal": f"arn:aws:iam::{OTHER}:role/r", "Name": "lent"}
    granted = await kms.call("CreateGrant", Operations=["Decrypt"], **lend)
    assert await kms.call("CreateGrant", Operations=["Decrypt"], **lend) == granted
    assert (await kms.call("Decrypt", **theirs))["Plaintext"] == b"secret"
    assert (await kms.refusal("Encrypt", KeyId=arn_of(key), Plaintext=b"x", account=OTHER)).status == 400
    (shown,) = (await kms.call("ListGrants", KeyId=key))["Grants"]
    assert (shown["KeyId"], shown["Operations"], shown["Name"]) == (arn_of(key), ["Decrypt"], "lent")
    assert shown["IssuingAccount"] == f"arn:aws:iam::{ACCOUNT}:root"
    await kms.call("RevokeGrant", KeyId=key, GrantId=granted["GrantId"])
    assert (await kms.refusal("Decrypt", **theirs)).code == "AccessDeniedException"
    assert (await kms.refusal("RevokeGrant", KeyId=key, GrantId=granted["GrantId"])).code == "NotFoundException"

    for constraint, lets in (
        ({"EncryptionContextSubset": {"a": "b"}}, True),
        ({"EncryptionContextSubset": {"a": "x"}}, False),
        ({"EncryptionContextEquals": {"a": "b"}}, False),
        ({"EncryptionContextEquals": {"c": "d", "a": "b"}}, True),
    ):
        grant = await kms.call(
            "CreateGrant", KeyId=key, GranteePrincipal=OTHER, Operations=["Decrypt"], Constraints=constraint
        )
        if lets:
            assert (await kms.call("Decrypt", **theirs))["Plaintext"] == b"secret"
        else:
            assert (await kms.refusal("Decrypt", **theirs)).code == "AccessDeniedException"
        await kms.call("RetireGrant", GrantToken=grant["GrantToken"], account=OTHER)
    assert (await kms.call("ListGrants", KeyId=key))["Grants"] == []


async def test_who_may_retire_a_grant(kms: KmsLab) -> None:
    key, retiring = await kms.key(), f"arn:aws:iam::{OTHER}:root"
    made = {"KeyId": key, "GranteePrincipal": ACCOUNT, "RetiringPrincipal": retiring, "Operations": ["Decrypt"]}
    grant = await kms.call("CreateGrant", **made)
    listed = await kms.call("ListRetirableGrants", RetiringPrincipal=retiring, account=OTHER)
    assert [one["GrantId"] for one in listed["Grants"]] == [grant["GrantId"]]
    by_id = {"KeyId": arn_of(key), "GrantId": grant["GrantId"]}
    assert (await kms.refusal("RetireGrant", account="333333333333", **by_id)).code == "AccessDeniedException"
    await kms.call("RetireGrant", account=OTHER, **by_id)
    assert (await kms.refusal("RetireGrant", GrantToken="none")).code == "InvalidGrantTokenException"


# The key of Lambda itself


async def test_lambdas_own_key_is_made_when_it_is_first_needed_and_is_for_lambda_only(kms: KmsLab) -> None:
    first = await kms.call("GenerateDataKey", KeySpec="AES_256", **LAMBDA)
    again = await kms.call("GenerateDataKey", KeySpec="AES_256", **LAMBDA)
    assert first["KeyId"] == again["KeyId"]
    for elsewhere in ({"account": OTHER}, {"region": "eu-west-1"}):
        other = await kms.call("GenerateDataKey", KeySpec="AES_256", **LAMBDA, **elsewhere)
        assert other["KeyId"] != first["KeyId"]
    described = (await kms.call("DescribeKey", KeyId="alias/aws/lambda"))["KeyMetadata"]
    assert (described["KeyManager"], described["Arn"]) == ("AWS", first["KeyId"])
    via = LAMBDA["via"]
    assert await kms.decrypt(first["CiphertextBlob"], via=via) == first["Plaintext"]
    for operation, members in (
        ("Decrypt", {"CiphertextBlob": first["CiphertextBlob"]}),
        ("Encrypt", {"KeyId": "alias/aws/lambda", "Plaintext": b"x"}),
        ("DisableKey", {"KeyId": described["KeyId"]}),
        ("ScheduleKeyDeletion", {"KeyId": described["KeyId"]}),
        ("PutKeyPolicy", {"KeyId": described["KeyId"], "Policy": json.dumps({"Statement": allow("kms:*", ACCOUNT)})}),
        ("CreateAlias", {"AliasName": "alias/mine", "TargetKeyId": described["KeyId"]}),
    ):
        assert (await kms.refusal(operation, **members)).code == "AccessDeniedException", operation
    another = await kms.refusal("Decrypt", CiphertextBlob=first["CiphertextBlob"], account=OTHER, via=via)
    assert another.code == "AccessDeniedException"


# Rotation


async def test_rotation_encrypts_with_the_new_and_decrypts_with_every_material(kms: KmsLab) -> None:
    key = await kms.key()
    blobs = [await kms.encrypt(key)]
    assert await kms.call("GetKeyRotationStatus", KeyId=key) == {"KeyId": arn_of(key), "KeyRotationEnabled": False}
    await kms.call("EnableKeyRotation", KeyId=key, RotationPeriodInDays=90)
    status = await kms.call("GetKeyRotationStatus", KeyId=key)
    assert (status["NextRotationDate"] - kms.clock.now()).days == 90
    kms.clock.advance(90 * DAY)
    blobs.append(await kms.encrypt(key))
    await kms.call("RotateKeyOnDemand", KeyId=key)
    blobs.append(await kms.encrypt(key))
    answers = [await kms.call("Decrypt", CiphertextBlob=blob) for blob in blobs]
    assert [answer["Plaintext"] for answer in answers] == [b"secret"] * 3
    materials = [answer["KeyMaterialId"] for answer in answers]
    assert len(set(materials)) == 3
    rotations = (await kms.call("ListKeyRotations", KeyId=key))["Rotations"]
    assert [(one["KeyMaterialId"], one["RotationType"]) for one in rotations] == [
        (materials[1], "AUTOMATIC"),
        (materials[2], "ON_DEMAND"),
    ]
    every = (await kms.call("ListKeyRotations", KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL"))["Rotations"]
    assert [one["KeyMaterialId"] for one in every] == materials
    assert [one["KeyMaterialState"] for one in every] == ["NON_CURRENT", "NON_CURRENT", "CURRENT"]
    status = await kms.call("GetKeyRotationStatus", KeyId=key)
    assert (status["NextRotationDate"] - kms.clock.now()).days == 90
    await kms.call("DisableKeyRotation", KeyId=key)
    kms.clock.advance(900 * DAY)
    assert (await kms.call("Decrypt", CiphertextBlob=await kms.encrypt(key)))["KeyMaterialId"] == materials[2]


# The root key


async def test_the_database_opens_with_its_own_root_key_only(kms: KmsLab) -> None:
    key = await kms.key()
    blob = await kms.encrypt(key)
    with pytest.raises(RootKeyError, match="not the one that this data directory was made with"):
        await kms.start(bytes(32))
    await kms.start()
    assert await kms.decrypt(blob) == b"secret"


def test_the_root_key_file(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    key = from_file(path)
    assert (len(key), path.stat().st_mode & 0o777, from_file(path)) == (32, 0o600, key)
    path.write_bytes(b"short")
    with pytest.raises(RootKeyError, match="32 bytes"):
        from_file(path)
    with pytest.raises(RootKeyError, match="cannot read"):
        from_file(tmp_path / "none" / "root.key")
