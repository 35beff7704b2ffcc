"""`--auth iam` over HTTP: every operation of every service, asked by those who may not."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from auth_requests import ACCOUNT, REGION, Wire, members, sign
from lambent.app.actions import RULES
from lambent.wire import gate, models
from lambent.wire.signatures import signing_key
from support import Server, clean_environment, zip_files

_MISMATCH = "The request signature we calculated does not match the signature you provided."
_INVALID = "The security token included in the request is invalid"
_EXPIRED = "The security token included in the request is expired"
CODE = zip_files({"f.py": "def handler(event, context): return event"})
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
OPEN = ("GetCallerIdentity", "GetSessionToken", "GetAccessKeyInfo")  # whoever has proven who they are may ask


def create_key(data: Path, *arguments: str) -> tuple[str, str]:
    command = [sys.executable, "-m", "lambent", "admin", "create-key", "--data-dir", str(data), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
    key, secret = re.findall(r"export AWS_\w+=(\S+)", done.stdout)
    return key, secret


@dataclass
class World:
    server: Server
    wire: Wire
    admin: tuple[str, str]
    nobody: tuple[str, str]  # a user without any policy
    session: tuple[str, str, str]  # of the administrator
    made: dict[tuple[str, str], Any]  # what there is, for requests to name

    def members(self, service: str, operation: str) -> dict[str, Any]:
        found = members(service, operation, self.made)
        if operation == "RetireGrant":
            found |= {"KeyId": self.made["kms", "KeyId"], "GrantId": self.made["kms", "GrantId"]}
        if operation in ("Decrypt", "ReEncrypt"):
            found |= {"CiphertextBlob": self.made["kms", "CiphertextBlob"]}
        return found

    def client(self, service: str, *credentials: str, account: str = "") -> Any:
        key, secret, token = (*(credentials or self.admin), None)[:3]
        return boto3.client(
            service,
            endpoint_url=self.server.endpoint,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def user(self, name: str, *statements: dict[str, Any]) -> tuple[str, str]:
        """A new user with these statements, and a key of theirs."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("server") / "data"
    admin = create_key(data)
    server = Server(data, "--auth", "iam", "--isolation", "process")
    made = World(server, Wire(server.endpoint), admin, ("", ""), ("", "", ""), {})
    made.nobody = made.user("nobody")
    lent = made.client("sts").get_session_token()["Credentials"]
    made.session = lent["AccessKeyId"], lent["SecretAccessKey"], lent["SessionToken"]
    made.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    made.client("lambda").create_function(
        FunctionName="f",
        Runtime="python3.12",
        Role=f"arn:aws:iam::{ACCOUNT}:role/r",
        Handler="f.handler",
        Code={"ZipFile": CODE},
    )
    kms = made.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/name", TargetKeyId=key)
    grant = kms.create_grant(KeyId=key, GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:user/u", Operations=["Encrypt"])
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    for member, value in {"KeyId": key, "TargetKeyId": key, "DestinationKeyId": key, "CiphertextBlob": blob}.items():
        made.made["kms", member] = value
    made.made["kms", "Policy"] = kms.get_key_policy(KeyId=key)["Policy"]
    made.made["kms", "GrantId"] = grant["GrantId"]
    yield made
    assert server.stop() == 0
    log = data.with_suffix(".log").read_text()
    assert admin[1] not in log
    assert made.session[2] not in log
    assert "Traceback" not in log


def refused(code: str, service: str) -> tuple[int, str]:
    """(status, code) in the protocol of `service`; `code` is what JSON services call it."""
    model = models.service(service)
    protocol = model.metadata["protocol"]
    query = {
        "MissingAuthenticationTokenException": "MissingAuthenticationToken",
        "InvalidSignatureException": "SignatureDoesNotMatch",
        "UnrecognizedClientException": "InvalidClientTokenId",
        "ExpiredTokenException": "ExpiredToken",
        "IncompleteSignatureException": "IncompleteSignature",
        "AccessDeniedException": "AccessDenied",
    }
    if protocol == "query":
        return 403, query[code]
    return (400 if protocol in ("json", "smithy-rpc-v2-cbor") else 403), code


def operations() -> list[tuple[str, str]]:
    """All that have a rule and a handler: what is not built answers 501 to whoever may sign."""
    return [(service, name) for service in RULES for name in sorted(RULES[service]) if service in _SERVICES]


_SERVICES = ("cloudwatch", "ecr", "iam", "kms", "lambda", "logs", "sts")


@pytest.mark.parametrize(("service", "name"), operations(), ids=lambda value: str(value))
def test_every_operation_turns_strangers_away(world: World, service: str, name: str) -> None:
    model = models.service(service).operation(name)
    if model.auth_type == "none":
        pytest.skip("never signed: a token in its parameters is who asks")
    plain, key, secret = world.wire.unsigned(service, name, **world.members(service, name)), *world.admin
    signed = sign(plain, service, key, secret)
    tampered = sign(plain, service, key, secret)
    old = tampered.headers["Authorization"]
    del tampered.headers["Authorization"]
    tampered.headers["Authorization"] = old[:-1] + ("0" if old[-1] != "0" else "1")
    other = sign(plain, service, key, secret)
    other.data = other.data + b" " if isinstance(other.data, bytes) and other.data else b"{} "
    session = world.session
    cases = {
        "unsigned": (plain, "MissingAuthenticationTokenException", ""),
        "wrong signature": (tampered, "InvalidSignatureException", _MISMATCH),
        "wrong secret": (sign(plain, service, key, "no"), "InvalidSignatureException", _MISMATCH),
        "another body": (other, "InvalidSignatureException", _MISMATCH),
        "replayed": (sign(plain, service, key, secret, ago=301), "InvalidSignatureException", "Signature expired: "),
        "too early": (
            sign(plain, service, key, secret, ago=-400),
            "InvalidSignatureException",
            "Signature not yet current",
        ),
        "unknown key": (sign(plain, service, "AKIAUNKNOWN", secret), "UnrecognizedClientException", _INVALID),
        "no token": (sign(plain, service, *session[:2]), "UnrecognizedClientException", _INVALID),
        "wrong token": (sign(plain, service, *session[:2], "x"), "UnrecognizedClientException", _INVALID),
    }
    for case, (request, code, message) in cases.items():
        status, given, text = world.wire.send(request)
        assert (case, status, given) == (case, *refused(code, service)), text
        assert message in text, case
    if name in OPEN:
        return
    status, code, text = world.wire.send(sign(plain, service, *world.nobody))
    if status == 501:
        return
    assert (status, code) == refused("AccessDeniedException", service), text
    if gate.inside is not RULES[service][name]:
        assert "User: arn:aws:iam::000000000000:user/nobody is not authorized to perform: " in text
        assert " action" in text
    status, code, text = world.wire.send(signed) if name.startswith(("List", "Describe")) else (200, "", "")
    assert code not in ("AccessDeniedException", "AccessDenied"), text


def denied(call: Any, **given: Any) -> str:
    """The message of the AccessDenied that `call` must answer with."""
    with pytest.raises(ClientError) as caught:
        call(**given)
    error = caught.value.response["Error"]
    assert error["Code"] in ("AccessDeniedException", "AccessDenied"), error
    return str(error["Message"])


def test_a_policy_opens_one_function_and_not_the_next(world: World) -> None:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
    key = world.user("caller", {"Sid": "Mine", "Action": "lambda:InvokeFunction", "Resource": arn})
    client = world.client("lambda", *key)
    assert json.load(client.invoke(FunctionName="f", Payload=b"[1]")["Payload"]) == [1]
    message = denied(client.invoke, FunctionName="g")
    assert message.startswith(
        f"User: arn:aws:iam::{ACCOUNT}:user/caller is not authorized to perform: lambda:InvokeFunction on resource:"
        f" arn:aws:lambda:{REGION}:{ACCOUNT}:function:g because no identity-based policy allows the"
        " lambda:InvokeFunction action"
    )
    assert "the nearest is statement 'Mine' of user_caller_p, but its resources do not include" in message
    assert "lambda:GetFunction" in denied(client.get_function, FunctionName="f")
    world.client("iam").delete_user_policy(UserName="caller", PolicyName="p")
    denied(client.invoke, FunctionName="f")  # at once: nothing that was decided before is remembered


def test_another_account_needs_both_sides(world: World) -> None:
    admin = create_key(world.server.data_dir, "--account", "111122223333")
    there, here = world.client("lambda", *admin), world.client("lambda")
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
    message = denied(there.invoke, FunctionName=arn)
    assert message.endswith("because no resource-based policy allows the lambda:InvokeFunction action")
    here.add_permission(FunctionName="f", StatementId="s", Action="lambda:InvokeFunction", Principal="111122223333")
    assert json.load(there.invoke(FunctionName=arn, Payload=b"[1]")["Payload"]) == [1]
    denied(there.get_function, FunctionName=arn)
    here.remove_permission(FunctionName="f", StatementId="s")
    denied(there.invoke, FunctionName=arn)
    layer = here.publish_layer_version(LayerName="l", Content={"ZipFile": CODE})["LayerVersionArn"]
    denied(there.get_layer_version_by_arn, Arn=layer)
    here.add_layer_version_permission(
        LayerName="l", VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal="111122223333"
    )
    assert there.get_layer_version_by_arn(Arn=layer)["LayerVersionArn"] == layer
    denied(there.delete_layer_version, LayerName=layer.rpartition(":")[0], VersionNumber=1)


def test_a_boundary_and_a_session_policy_bound(world: World) -> None:
    iam, sts = world.client("iam"), world.client("sts")
    arn = iam.create_policy(PolicyName="bound", PolicyDocument=policy({"Action": "lambda:List*", "Resource": "*"}))
    key = world.user("bounded", {"Action": "lambda:*", "Resource": "*"})
    iam.put_user_permissions_boundary(UserName="bounded", PermissionsBoundary=arn["Policy"]["Arn"])
    client = world.client("lambda", *key)
    client.list_functions()
    assert "because no permissions boundary allows" in denied(client.get_account_settings)
    trust = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
            ],
        }
    )
    role = iam.create_role(RoleName="operator", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="operator", PolicyName="p", PolicyDocument=policy({"Action": "*", "Resource": "*"}))
    assert "sts:AssumeRole" in denied(
        world.client("sts", *world.nobody).assume_role, RoleArn=role, RoleSessionName="session"
    )
    bounds = policy({"Action": "lambda:ListFunctions", "Resource": "*"})
    lent = sts.assume_role(RoleArn=role, RoleSessionName="session", Policy=bounds)["Credentials"]
    session = world.client("lambda", lent["AccessKeyId"], lent["SecretAccessKey"], lent["SessionToken"])
    session.list_functions()
    assert "because no session policy allows" in denied(session.get_account_settings)


def test_a_key_that_is_switched_off_or_deleted_opens_nothing(world: World) -> None:
    key, secret = world.user("leaving", {"Action": "lambda:*", "Resource": "*"})
    client, iam = world.client("lambda", key, secret), world.client("iam")
    client.list_functions()
    assert iam.get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]["ServiceName"] == "lambda"
    for status, works in (("Inactive", False), ("Active", True)):
        iam.update_access_key(UserName="leaving", AccessKeyId=key, Status=status)
        if works:
            client.list_functions()
        else:
            with pytest.raises(ClientError, match="UnrecognizedClientException"):
                client.list_functions()
    iam.delete_access_key(UserName="leaving", AccessKeyId=key)
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        client.list_functions()


def test_the_servers_own_pages_are_for_administrators(world: World) -> None:
    def ask(path: str, *credentials: str) -> tuple[int, str, str]:
        plain = AWSRequest("GET", world.server.endpoint + path, {}, b"")
        return world.wire.send(sign(plain, "lambda", *credentials) if credentials else plain)

    assert ask("/_lambent/health")[0] == 200
    for path in ("status", "runtimes", "logs/f", "denials", "explain?principal=x", "nothing"):
        assert ask(f"/_lambent/{path}")[:2] == (403, "MissingAuthenticationTokenException"), path
        assert ask(f"/_lambent/{path}", *world.nobody)[:2] == (403, "AccessDeniedException"), path
    assert ask("/_lambent/status", *world.admin)[0] == 200


def lambent(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    keys = {"AWS_ACCESS_KEY_ID": world.admin[0], "AWS_SECRET_ACCESS_KEY": world.admin[1]}
    environment = {**clean_environment(), **keys, "AWS_ENDPOINT_URL": world.server.endpoint}
    return subprocess.run(
        [sys.executable, "-m", "lambent", *arguments], capture_output=True, text=True, env=environment, check=False
    )


def test_explain_says_why(world: World) -> None:
    denied(world.client("lambda", *world.nobody).get_function, FunctionName="f")
    done = lambent(world, "explain")
    assert done.returncode == 0, done.stderr
    assert f"no statement allows lambda:GetFunction on arn:aws:lambda:{REGION}:{ACCOUNT}:function:f" in done.stdout
    who = ("--principal", f"arn:aws:iam::{ACCOUNT}:user/admin", "--action", "lambda:GetFunction")
    done = lambent(world, "explain", *who)
    assert (done.returncode, done.stdout.startswith("allowed: ")) == (0, True), done.stdout + done.stderr
    who = ("--principal", f"arn:aws:iam::{ACCOUNT}:user/nobody", "--action", "lambda:GetFunction")
    done = lambent(world, "explain", *who)
    assert (done.returncode, done.stdout.startswith("denied: ")) == (1, True)


def test_the_first_administrators_key_can_go_to_a_file(world: World, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    arguments = ["admin", "create-key", "--data-dir", str(world.server.data_dir), "--user", "filed"]
    done = lambent(world, *arguments, "--credentials-file", str(file))
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    key, secret = re.findall(r"= (\S+)", file.read_text())
    assert secret not in done.stdout
    assert world.client("sts", key, secret).get_caller_identity()["Arn"].endswith(":user/filed")
    assert lambent(world, *arguments, "--credentials-file", str(file)).returncode == 1  # it is there


def test_links_to_code_cannot_be_forged(world: World) -> None:
    link = world.client("lambda").get_function(FunctionName="f")["Code"]["Location"]
    path = link.removeprefix(world.server.endpoint)

    def ask(path: str) -> int:
        return world.wire.send(AWSRequest("GET", world.server.endpoint + path, {}, b""))[0]

    assert ask(path) == 200
    assert ask(re.sub(r"X-Amz-Expires=\d+", "X-Amz-Expires=999999", path)) == 403
    assert ask(re.sub(r"X-Amz-Signature=\w", "X-Amz-Signature=0z", path)) == 403
    assert ask(path.partition("?")[0]) == 403


def test_the_registry_asks_too(world: World) -> None:
    world.client("ecr").create_repository(repositoryName="app")

    def ask(credentials: tuple[str, str] | None) -> int:
        headers = {}
        if credentials is not None:
            token = world.client("ecr", *credentials).get_authorization_token()["authorizationData"][0]
            headers = {"Authorization": f"Basic {token['authorizationToken']}"}
        return world.wire.send(AWSRequest("GET", f"{world.server.endpoint}/v2/app/tags/list", headers, b""))[0]

    assert ask(None) == 401
    assert ask(world.admin) == 200
    login = world.user("login", {"Action": "ecr:GetAuthorizationToken", "Resource": "*"})
    assert ask(login) == 403
    world.client("ecr").set_repository_policy(
        repositoryName="app",
        policyText=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/login"},
                        "Action": ["ecr:ListImages"],
                    }
                ],
            }
        ),
    )
    assert ask(login) == 200


def test_neighbours_that_are_not_native_ask_too(world: World) -> None:
    plain = world.wire.unsigned("sns", "ListTopics")
    assert world.wire.send(plain)[0] == 403
    assert world.wire.send(sign(plain, "sns", world.admin[0], "no"))[:2] == (403, "SignatureDoesNotMatch")
    assert world.wire.send(sign(plain, "sns", *world.nobody))[:2] == (403, "AccessDenied")


def test_s3_by_signature_link_policy_and_chunks(world: World) -> None:
    def ask(url: str, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, str]:
        return world.wire.send(AWSRequest(method, url, headers or {}, body))[:2]

    s3, reader = world.client("s3"), world.user("reader")
    s3.create_bucket(Bucket="bucket1")
    s3.put_object(Bucket="bucket1", Key="a b/c+d", Body=b"content")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        world.client("s3", world.admin[0], "no").put_object(Bucket="bucket1", Key="x", Body=b"x")
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        world.client("s3", "AKIANOBODY", "no").list_buckets()
    assert "s3:GetObject" in denied(world.client("s3", *reader).get_object, Bucket="bucket1", Key="a b/c+d")
    principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/reader"}
    statement = {"Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket1/*"}
    s3.put_bucket_policy(Bucket="bucket1", Policy=policy(statement))
    assert world.client("s3", *reader).get_object(Bucket="bucket1", Key="a b/c+d")["Body"].read() == b"content"
    assert "s3:PutObject" in denied(world.client("s3", *reader).put_object, Bucket="bucket1", Key="x", Body=b"x")
    assert ask(f"{world.server.endpoint}/bucket1/a%20b/c%2Bd") == (403, "AccessDenied")
    for scope, body, expected in (("right", b"b", 200), ("tampered", b"c", 403)):
        status, _code = ask(*chunked(world, f"/bucket1/{scope}", body))
        assert status == expected, scope
    assert len(s3.get_object(Bucket="bucket1", Key="right")["Body"].read()) == 65_637


def chunked(world: World, path: str, sent: bytes) -> tuple[str, str, bytes, dict[str, str]]:
    """A PUT whose two chunks are signed one by one; the second is `b"b"` as it was signed, and `sent` as it goes."""
    key, secret = world.admin
    now, host = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"), world.server.endpoint.removeprefix("http://")
    scope, signer = f"{now[:8]}/{REGION}/s3/aws4_request", signing_key(secret, now[:8], REGION, "s3")

    def signature(text: str) -> str:
        return hmac.digest(signer, text.encode(), "sha256").hex()

    headers = {
        "host": host,
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-date": now,
        "x-amz-decoded-content-length": "65637",
    }
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"PUT\n{path}\n\n{lines}\n{';'.join(headers)}\n{headers['x-amz-content-sha256']}"
    seed = signature(f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}")
    before, body, empty = seed, b"", hashlib.sha256(b"").hexdigest()
    for signed, goes in ((b"a" * 65_536, b"a" * 65_536), (b"b" * 101, sent * 101), (b"", b"")):
        digest = hashlib.sha256(signed).hexdigest()
        before = signature(f"AWS4-HMAC-SHA256-PAYLOAD\n{now}\n{scope}\n{before}\n{empty}\n{digest}")
        body += f"{len(goes):x};chunk-signature={before}\r\n".encode() + goes + b"\r\n"
    credential = f"Credential={key}/{scope},SignedHeaders={';'.join(headers)},Signature={seed}"
    headers |= {"Authorization": f"AWS4-HMAC-SHA256 {credential}"}
    del headers["host"]  # which is sent anyway
    return world.server.endpoint + path, "PUT", body, headers
