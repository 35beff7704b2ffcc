"""Environment variables on disk and in answers: a running server, a stopped one, one that was killed."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from support import Server, create, invoke

ECHO = "import os\ndef handler(event, context):\n    return [os.environ.get(name) for name in event]\n"
FAILS = "import os\nopen('/tmp/out', 'w').write(os.environ['PASSWORD'])\nraise RuntimeError('init')\n"


def sentinel() -> str:
    return f"sentinel-{os.urandom(12).hex()}"


def holding(root: Path, *texts: str) -> list[str]:
    """The files whose bytes hold one of the texts, the server's own log among them."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    wanted = [text.encode() for text in texts]
    return [str(path) for path in files if any(text in path.read_bytes() for text in wanted)]


def refused(client: Any, name: str) -> tuple[str, int]:
    with pytest.raises(botocore.exceptions.ClientError) as refusal:
        client.invoke(FunctionName=name)
    error = refusal.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]


def test_no_byte_of_the_data_directory_holds_a_variable(tmp_path: Path) -> None:
    first, second, third, named = sentinel(), sentinel(), sentinel(), "NAME_" + os.urandom(8).hex()
    secrets = (first, second, third, named)
    server = Server(tmp_path / "data", "--log-level", "debug")
    client, kms = server.client(), server.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    create(client, "f", ECHO, Environment={"Variables": {"PASSWORD": first, named: "x"}})
    create(client, "mine", ECHO, Environment={"Variables": {"PASSWORD": second}}, KMSKeyArn=key)
    client.publish_version(FunctionName="f")
    client.update_function_configuration(FunctionName="f", Environment={"Variables": {"PASSWORD": third}})
    client.get_waiter("function_updated_v2").wait(FunctionName="f")
    with pytest.raises(botocore.exceptions.ClientError):
        client.update_function_configuration(
            FunctionName="f", Environment={"Variables": {"PASSWORD": first, "AWS_REGION": first}}
        )
    create(client, "broken", FAILS, Handler="function.handler", Environment={"Variables": {"PASSWORD": second}})
    client.invoke(FunctionName="broken")
    assert invoke(client, "f", ["PASSWORD"])[0] == [third]
    assert invoke(client, "f", ["PASSWORD", named], Qualifier="1")[0] == [first, "x"]
    assert invoke(client, "mine", ["PASSWORD"])[0] == [second]
    assert holding(tmp_path, *secrets) == [], "while it runs"
    server.kill()
    assert holding(tmp_path, *secrets) == [], "after kill -9"
    server = Server(tmp_path / "data")
    client = server.client()
    assert client.get_function_configuration(FunctionName="f")["Environment"] == {"Variables": {"PASSWORD": third}}
    assert invoke(client, "mine", ["PASSWORD"])[0] == [second]
    assert server.stop() == 0
    assert holding(tmp_path, *secrets) == [], "after a stop"


def test_a_closed_key_stops_what_is_not_warm(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    client, kms = server.client(), server.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    for name in ("warm", "cold"):
        create(client, name, ECHO, Environment={"Variables": {"PASSWORD": "secret"}}, KMSKeyArn=key)
    assert invoke(client, "warm", ["PASSWORD"])[0] == ["secret"]
    kms.disable_key(KeyId=key)
    assert invoke(client, "warm", ["PASSWORD"])[0] == ["secret"]
    assert refused(client, "cold") == ("KMSDisabledException", 502)
    shown = client.get_function_configuration(FunctionName="cold")["Environment"]
    assert shown["Error"]["ErrorCode"] == "DisabledException"
    assert "Variables" not in shown
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert refused(client, "cold") == ("KMSInvalidStateException", 502)
    kms.cancel_key_deletion(KeyId=key)
    kms.enable_key(KeyId=key)
    assert invoke(client, "cold", ["PASSWORD"])[0] == ["secret"]
    everybody = {"Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Resource": "*"}
    statements = [
        {"Effect": "Allow", "Action": "kms:*", **everybody},
        {"Effect": "Deny", "Action": "kms:Decrypt", **everybody},
    ]
    kms.put_key_policy(KeyId=key, Policy=json.dumps({"Statement": statements}))
    client.update_function_configuration(FunctionName="warm", Timeout=9)
    client.get_waiter("function_updated_v2").wait(FunctionName="warm")
    assert refused(client, "warm") == ("KMSAccessDeniedException", 502)
    assert server.stop() == 0


def test_variables_that_an_older_version_has_stored_readable(tmp_path: Path) -> None:
    data, secret = tmp_path / "data", sentinel()
    server = Server(data)
    create(server.client(), "f", ECHO, Environment={"Variables": {"PASSWORD": secret}})
    assert server.stop() == 0
    database = sqlite3.connect(data / "lambent.db")
    [[text]] = database.execute("SELECT document FROM functions").fetchall()
    old = json.dumps(json.loads(text) | {"environment": {"PASSWORD": secret}})
    for filler in range(50):  # pages that the old text also lay in once
        database.execute("UPDATE functions SET document = ?, serving = ?", (old + " " * filler * 100, old))
        database.commit()
    database.execute("UPDATE functions SET document = ?, serving = ?", (old, old))
    database.execute("DELETE FROM plaintext_gone")
    database.commit()
    database.close()
    assert holding(data, secret)
    server = Server(data)
    assert holding(data, secret) == []
    assert invoke(server.client(), "f", ["PASSWORD"])[0] == [secret]
    server.kill()
    assert holding(data, secret) == []
    server = Server(data)
    assert server.client().get_function_configuration(FunctionName="f")["Environment"]["Variables"] == {
        "PASSWORD": secret
    }
    assert server.stop() == 0


def test_a_function_can_have_been_given_something_that_only_it_may_decrypt(server: Server, name: str) -> None:
    """The console's helpers for encryption in transit: the ciphertext in a variable, the function's name as context."""
    import base64

    client, kms = server.client(), server.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    context = {"LambdaFunctionName": name}
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret", EncryptionContext=context)["CiphertextBlob"]
    create(client, name, ECHO, Environment={"Variables": {"SECRET": base64.b64encode(blob).decode()}})
    ((given,), _) = invoke(client, name, ["SECRET"])
    answer = kms.decrypt(CiphertextBlob=base64.b64decode(given), EncryptionContext=context)
    assert answer["Plaintext"] == b"secret"
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(CiphertextBlob=base64.b64decode(given), EncryptionContext={"LambdaFunctionName": "other"})
