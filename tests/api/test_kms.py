"""KMS over the wire: boto3, the AWS CLI, and what a crash leaves."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from support import Server, clean_environment


def code_of(action: Any) -> tuple[str, int]:
    with pytest.raises(botocore.exceptions.ClientError) as refusal:
        action()
    error = refusal.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]


def test_boto3(server: Server) -> None:
    kms = server.client("kms")
    key = kms.create_key(Description="d", Tags=[{"TagKey": "a", "TagValue": "b"}])["KeyMetadata"]
    assert key["KeyState"] == "Enabled"
    name = f"alias/{key['KeyId']}"
    kms.create_alias(AliasName=name, TargetKeyId=key["KeyId"])
    context = {"LambdaFunctionName": "f"}
    blob = kms.encrypt(KeyId=name, Plaintext=b"secret", EncryptionContext=context)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"secret"
    assert code_of(lambda: kms.decrypt(CiphertextBlob=blob)) == ("InvalidCiphertextException", 400)
    data = kms.generate_data_key(KeyId=key["Arn"], KeySpec="AES_256")
    assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"])["Plaintext"] == data["Plaintext"]
    assert [alias["AliasName"] for alias in kms.list_aliases(KeyId=key["KeyId"])["Aliases"]] == [name]
    assert key["KeyId"] in [one["KeyId"] for page in kms.get_paginator("list_keys").paginate() for one in page["Keys"]]
    kms.disable_key(KeyId=key["KeyId"])
    with pytest.raises(kms.exceptions.DisabledException, match="is disabled"):
        kms.encrypt(KeyId=name, Plaintext=b"x")
    with pytest.raises(kms.exceptions.NotFoundException, match="alias/none is not found"):
        kms.describe_key(KeyId="alias/none")
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    with pytest.raises(kms.exceptions.KMSInvalidStateException, match="is pending deletion"):
        kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    with pytest.raises(botocore.exceptions.ClientError, match="Lambent does not implement"):
        kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    with pytest.raises(botocore.exceptions.ClientError, match=r"Lambent does not implement kms\.Sign"):
        kms.sign(KeyId=key["KeyId"], Message=b"x", SigningAlgorithm="ECDSA_SHA_256")


def test_the_aws_cli(server: Server, tmp_path: Path) -> None:
    def aws(*arguments: str) -> str:
        command = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", server.endpoint, "kms", *arguments]
        environment = clean_environment() | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        done = subprocess.run([*command, "--output", "text"], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    key = aws("create-key", "--query", "KeyMetadata.KeyId")
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    text = aws("encrypt", "--key-id", key, "--plaintext", f"fileb://{secret}", "--query", "CiphertextBlob")
    blob = tmp_path / "blob"
    blob.write_bytes(base64.b64decode(text))
    plaintext = aws("decrypt", "--ciphertext-blob", f"fileb://{blob}", "--query", "Plaintext")
    assert base64.b64decode(plaintext) == b"secret"


def test_keys_survive_a_crash_and_lie_in_no_file(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    kms = server.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    server.kill()
    root = tmp_path / "data" / "root.key"
    assert (root.stat().st_size, root.stat().st_mode & 0o777) == (32, 0o600)
    server = Server(tmp_path / "data")
    assert server.client("kms").decrypt(CiphertextBlob=blob)["Plaintext"] == b"secret"
    assert server.stop() == 0
    root.write_bytes(os.urandom(32))
    with pytest.raises(RuntimeError, match="the root key is not the one that this data directory was made with"):
        Server(tmp_path / "data")


def test_a_root_key_from_a_command(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    server = Server(tmp_path / "data", "--root-key", f"command:cat {source}")
    key = server.client("kms").create_key()["KeyMetadata"]["KeyId"]
    blob = server.client("kms").encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    assert server.stop() == 0
    assert not (tmp_path / "data" / "root.key").exists()
    with pytest.raises(RuntimeError, match="the root key is not the one"):
        Server(tmp_path / "data")
    with pytest.raises(RuntimeError, match="does not give 32 bytes"):
        Server(tmp_path / "data", "--root-key", "command:echo c2hvcnQ=")
    server = Server(tmp_path / "data", "--root-key", f"command:cat {source}")
    assert server.client("kms").decrypt(CiphertextBlob=blob)["Plaintext"] == b"secret"
    assert server.stop() == 0
