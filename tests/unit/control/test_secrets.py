"""Environment variables: nowhere readable, shown to who may see them, closed with their key."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from lambent.control.secrets import NOTHING
from lambent.wire.errors import AwsError

from .lab import ACCOUNT, FRIEND, REGION, Lab, key_of, make_zip

SECRET = "sentinel-of-a-secret"
VARIABLES = {"PASSWORD": SECRET}
ENVIRONMENT = {"Environment": {"Variables": VARIABLES}}


def contains(root: Path, text: str) -> list[str]:
    return [str(path) for path in root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def shown(lab: Lab, name: str = "f", **members: Any) -> Any:
    return (await lab.call("GetFunctionConfiguration", FunctionName=name, **members)).get("Environment")


async def opened(lab: Lab, name: str = "f") -> Any:
    function = lab.store.serving(key_of(name))
    assert function is not None
    return await lab.secrets.open(function)


async def test_every_answer_shows_them_and_no_file_holds_them(lab: Lab) -> None:
    created = await lab.create("f", Publish=True, **ENVIRONMENT)
    await lab.ready("f")
    updated = await lab.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
    await lab.ready("f")
    recoded = await lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=make_zip("other"))
    await lab.ready("f")
    published = await lab.call("PublishVersion", FunctionName="f")
    looked = await lab.call("GetFunction", FunctionName="f")
    listed = await lab.call("ListFunctions", FunctionVersion="ALL")
    versions = await lab.call("ListVersionsByFunction", FunctionName="f")
    for answer in (created, updated, recoded, published, looked["Configuration"], *listed["Functions"], *versions["Versions"]):  # fmt: skip
        assert answer["Environment"] == {"Variables": VARIABLES}
    assert await opened(lab) == VARIABLES
    assert contains(lab.root, SECRET) == []
    assert SECRET not in repr(lab.store.serving(key_of("f")))


async def test_none_an_empty_one_and_some(lab: Lab) -> None:
    await lab.create("f")
    await lab.ready("f")
    assert await shown(lab) is None
    assert await opened(lab) == {}
    for environment, expected in (({}, {}), ({"Variables": VARIABLES}, VARIABLES), ({"Variables": {}}, {})):
        await lab.call("UpdateFunctionConfiguration", FunctionName="f", Environment=environment)
        await lab.ready("f")
        assert await shown(lab) == {"Variables": expected}
        assert await opened(lab) == expected


async def test_without_variables_no_key_is_needed(lab: Lab) -> None:
    await lab.create("f", Environment={"Variables": {}})
    assert (await lab.ask_kms("ListKeys"))["Keys"] == []
    function = await lab.store.get(key_of("f"))
    assert function is not None
    assert function.environment == NOTHING


async def test_the_default_key_is_lambdas_own(lab: Lab) -> None:
    await lab.create("f", **ENVIRONMENT)
    (key,) = (await lab.ask_kms("ListAliases"))["Aliases"]
    assert key["AliasName"] == "alias/aws/lambda"
    function = await lab.store.get(key_of("f"))
    assert function is not None
    assert function.environment is not None
    assert function.environment.key.endswith(key["TargetKeyId"])
    with pytest.raises(AwsError, match="AccessDenied"):  # nobody but Lambda opens it, not with the blob in hand either
        await lab.ask_kms(
            "Decrypt",
            CiphertextBlob=base64.b64decode(function.environment.data_key),
            EncryptionContext={"aws:lambda:FunctionArn": function.arn},
        )


DISABLED, DELETED, DENIED, GONE = "DisabledException", "KMSInvalidStateException", "AccessDeniedException", "NotFoundException"  # fmt: skip


async def close(lab: Lab, key: str, how: str) -> None:
    if how == DISABLED:
        await lab.ask_kms("DisableKey", KeyId=key)
    elif how == DENIED:
        everybody = {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Resource": "*"}
        deny = [{"Effect": "Deny", "Action": "kms:Decrypt", **everybody}]
        policy = {"Statement": [{"Effect": "Allow", "Action": "kms:*", **everybody}, *deny]}
        await lab.ask_kms("PutKeyPolicy", KeyId=key, Policy=orjson.dumps(policy).decode())
    else:
        await lab.ask_kms("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
        lab.clock.advance(7 * 86_400 if how == GONE else 0)


@pytest.mark.parametrize(
    ("how", "exception", "why"),
    [
        (DISABLED, "KMSDisabledException", "the KMS key used is disabled"),
        (DELETED, "KMSInvalidStateException", "the state of the KMS key used is not valid for Decrypt"),
        (DENIED, "KMSAccessDeniedException", "KMS access was denied"),
        (GONE, "KMSNotFoundException", "the KMS key was not found"),
    ],
)
async def test_a_closed_key_closes_the_variables(lab: Lab, how: str, exception: str, why: str) -> None:
    key = await lab.kms_key()
    await lab.create("f", KMSKeyArn=key, **ENVIRONMENT)
    await lab.create("g", **ENVIRONMENT)
    for name in "fg":
        await lab.ready(name)
        assert await opened(lab, name) == VARIABLES
    await close(lab, key, how)
    with pytest.raises(AwsError) as refusal:
        await opened(lab)
    assert refusal.value.code == exception
    assert str(refusal.value.message).startswith(
        f"Lambda was unable to decrypt the environment variables because {why}. Please check the function's KMS key"
        f" settings. KMS Exception: {how} KMS Message: "
    )
    environment = await shown(lab)
    assert environment == {"Error": {"ErrorCode": how, "Message": refusal.value.message}}
    listed = (await lab.call("ListFunctions"))["Functions"]
    assert [function["Environment"] for function in listed] == [environment, {"Variables": VARIABLES}]

    error = await lab.refusal("UpdateFunctionConfiguration", FunctionName="f", KMSKeyArn="")
    assert error.code == exception  # they cannot be sealed anew
    other = {"Variables": {"OTHER": "value"}}
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", KMSKeyArn="", Environment=other)
    assert await shown(lab) == other


async def test_an_enabled_key_opens_them_again(lab: Lab) -> None:
    key = await lab.kms_key()
    await lab.create("f", KMSKeyArn=key, **ENVIRONMENT)
    await lab.ask_kms("DisableKey", KeyId=key)
    assert "Error" in await shown(lab)
    await lab.ask_kms("EnableKey", KeyId=key)
    assert await shown(lab) == {"Variables": VARIABLES}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (f"arn:aws:kms:{REGION}:{ACCOUNT}:key/12345678-1234-1234-1234-123456789012", "NotFoundException"),
        (f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/none", "NotFoundException"),
        ("arn:aws:s3:::bucket", "NotFoundException"),
    ],
)
async def test_a_key_that_is_not_there_is_refused(lab: Lab, key: str, said: str) -> None:
    for environment in (ENVIRONMENT, {}):
        error = await lab.refusal("create", name="f", KMSKeyArn=key, **environment)
        assert error.code == "InvalidParameterValueException"
        assert str(error.message).startswith(
            "Lambda was unable to configure access to your environment variables because the KMS key is invalid for"
            f" CreateGrant. Please check your KMS key settings. KMS Exception: {said} KMS Message: "
        )
        assert SECRET not in str(error.message)
    assert (await lab.call("ListFunctions"))["Functions"] == []


async def test_another_accounts_key_needs_its_leave(lab: Lab) -> None:
    key = await lab.kms_key()
    role = {"account": FRIEND, "Role": f"arn:aws:iam::{FRIEND}:role/r-ole"}
    error = await lab.refusal("create", name="f", KMSKeyArn=key, **ENVIRONMENT, **role)
    assert "KMS Exception: AccessDeniedException" in str(error.message)
    granted = ["GenerateDataKey", "Decrypt"]
    grant = await lab.ask_kms("CreateGrant", KeyId=key, GranteePrincipal=FRIEND, Operations=granted)
    await lab.create("f", KMSKeyArn=key, **ENVIRONMENT, **role)
    assert await shown(lab, account=FRIEND) == {"Variables": VARIABLES}
    await lab.ask_kms("RevokeGrant", KeyId=key, GrantId=grant["GrantId"])
    assert (await shown(lab, account=FRIEND))["Error"]["ErrorCode"] == "AccessDeniedException"


async def test_another_key_seals_them_anew(lab: Lab) -> None:
    first, second = await lab.kms_key(), await lab.kms_key()
    await lab.create("f", KMSKeyArn=first, **ENVIRONMENT)
    await lab.ready("f")
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", KMSKeyArn=second)
    await lab.ready("f")
    await lab.ask_kms("DisableKey", KeyId=first)
    assert await shown(lab) == {"Variables": VARIABLES}
    function = await lab.store.get(key_of("f"))
    assert function is not None
    assert function.environment is not None
    assert function.environment.key == second


async def test_the_same_variables_again_are_no_change(lab: Lab) -> None:
    await lab.create("f", **ENVIRONMENT)
    await lab.ready("f")
    assert (await lab.call("PublishVersion", FunctionName="f"))["Version"] == "1"
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", **ENVIRONMENT)
    await lab.ready("f")
    assert (await lab.call("PublishVersion", FunctionName="f"))["Version"] == "1"
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", Environment={"Variables": {"PASSWORD": "new"}})
    await lab.ready("f")
    assert (await lab.call("PublishVersion", FunctionName="f"))["Version"] == "2"


async def test_what_is_sealed_belongs_to_its_function(lab: Lab) -> None:
    await lab.create("f", **ENVIRONMENT)
    function = await lab.store.get(key_of("f"))
    assert function is not None
    assert function.environment is not None
    elsewhere = replace(function, key=key_of("g"))
    with pytest.raises(AwsError, match="KMSInvalidStateException"):
        await lab.secrets.open(elsewhere)
    text = bytearray(base64.b64decode(function.environment.text))
    text[-1] ^= 1
    damaged = replace(function.environment, text=base64.b64encode(text).decode())
    with pytest.raises(AwsError, match="KMSInvalidStateException"):
        await lab.secrets.open(replace(function, environment=damaged))


async def test_a_page_of_functions_asks_kms_once_for_each_key(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await lab.create(f"f{number}", **ENVIRONMENT)
    await lab.call("ListFunctions")
    asked = []
    decrypt = lab.secrets._decrypt

    async def counted(*arguments: Any) -> bytes:
        asked.append(arguments)
        return await decrypt(*arguments)

    monkeypatch.setattr(lab.secrets, "_decrypt", counted)
    listed = (await lab.call("ListFunctions"))["Functions"]
    assert [function["Environment"] for function in listed] == [{"Variables": VARIABLES}] * 5
    assert len(asked) == 1


# What an older Lambent left


async def test_variables_of_an_older_version_are_sealed_at_the_first_start(tmp_path: Path) -> None:
    lab = await Lab.open(tmp_path)
    missing = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/12345678-1234-1234-1234-123456789012"
    for name in ("f", "g", "h"):
        await lab.create(name, **ENVIRONMENT)
        await lab.ready(name)
    plain = {"f": VARIABLES, "g": {}, "h": {"PASSWORD": SECRET + "-2", "key": "x", "format": "y"}}
    for name, variables in plain.items():
        [(text,)] = await lab.db.read(
            lambda c, name=name: c.execute("SELECT document FROM functions WHERE name = ?", (name,))  # type: ignore[misc]
        )
        old = (
            orjson.loads(text)
            | {"environment": variables}
            | ({"extras": {"KMSKeyArn": missing}} if name == "h" else {})
        )
        await lab.db.write(
            lambda c, name=name, old=old: c.execute(  # type: ignore[misc]
                "UPDATE functions SET document = ?, serving = ? WHERE name = ?",
                (orjson.dumps(old).decode(),) * 2 + (name,),
            )
        )
    await lab.db.write(lambda c: c.execute("DELETE FROM plaintext_gone"))
    await lab.close()
    assert contains(tmp_path, SECRET)
    lab = await Lab.open(tmp_path)
    assert contains(tmp_path, SECRET) == []
    for name, variables in plain.items():
        assert await shown(lab, name) == {"Variables": variables}
        assert await opened(lab, name) == variables
    await lab.close()
    again = await Lab.open(tmp_path)
    assert await shown(again, "h") == {"Variables": plain["h"]}
    await again.close()
