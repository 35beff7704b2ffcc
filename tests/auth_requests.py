"""Requests for every operation that a server has, made from the models, and signed in every right and wrong way."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import botocore.auth
import botocore.session
import cbor2
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest, AWSResponse, HeadersDict
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.model import ListShape, MapShape, Shape, StructureShape

from lambent.wire import models

ACCOUNT, REGION = "000000000000", "us-east-1"
_FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
_POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
)
_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}],
    }
)
VALUES: Mapping[tuple[str, str], Any] = {  # (service, member), or ("", member) for all: what a pattern asks for
    ("", "AccessKeyId"): "AKIAAAAAAAAAAAAAAAAA",
    ("", "AssumeRolePolicyDocument"): _TRUST,
    ("", "PolicyArn"): f"arn:aws:iam::{ACCOUNT}:policy/p",
    ("", "PolicyDocument"): _POLICY,
    ("", "PolicySourceArn"): f"arn:aws:iam::{ACCOUNT}:user/u",
    ("", "RoleArn"): f"arn:aws:iam::{ACCOUNT}:role/r",
    ("", "resourceArn"): f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g",
    ("", "VersionId"): "v1",
    ("ecr", "layerDigest"): "sha256:" + "0" * 64,
    ("ecr", "layerDigests"): ["sha256:" + "0" * 64],
    ("ecr", "lifecyclePolicyText"): "x" * 120,
    ("ecr", "repositoryName"): "repository",
    ("ecr", "uploadId"): "1234abcd-12ab-34cd-56ef-1234567890ab",
    ("ecr", "resourceArn"): f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/repository",
    ("kms", "AliasName"): "alias/name",
    ("lambda", "Action"): "lambda:InvokeFunction",
    ("lambda", "Arn"): f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l:1",
    ("lambda", "CodeSigningConfigArn"): f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-0123456789abcdef0",
    ("lambda", "FunctionVersion"): "1",
    ("lambda", "Name"): "live",
    ("lambda", "Policy"): _POLICY,
    ("lambda", "Principal"): ACCOUNT,
    ("lambda", "Qualifier"): "1",
    ("lambda", "Resource"): _FUNCTION,
    ("lambda", "ResourceArn"): _FUNCTION,
    ("lambda", "Role"): f"arn:aws:iam::{ACCOUNT}:role/r",
    ("lambda", "SigningProfileVersionArns"): [f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/v"],
    ("lambda", "VersionNumber"): 1,
}
FURTHER: Mapping[str, Mapping[str, Any]] = {  # members that the service wants beyond the model
    "CreateFunction": {"Runtime": "python3.12", "Handler": "h.h"},
    "AddLayerVersionPermission": {"Action": "lambda:GetLayerVersion"},
    "CreateGrant": {"GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:user/u"},
    "GenerateDataKey": {"KeySpec": "AES_256"},
    "GenerateDataKeyWithoutPlaintext": {"KeySpec": "AES_256"},
    "GenerateRandom": {"NumberOfBytes": 8},
}


def members(service: str, operation: str, made: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """A request as the model wants it, with nothing that is not required. `made`: further `VALUES`, of what there is."""
    model = models.service(service).operation(operation)
    shape = model.input_shape
    known = {**VALUES, **made}
    return {**(_structure(service, shape, known) if shape is not None else {}), **FURTHER.get(operation, {})}


def _structure(service: str, shape: StructureShape, known: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    return {name: _member(service, name, shape.members[name], known) for name in shape.required_members}


def _member(service: str, name: str, shape: Shape, known: Mapping[tuple[str, str], Any]) -> Any:
    for key in ((service, name), ("", name)):
        if key in known:
            return known[key]
    if isinstance(shape, StructureShape):
        return _structure(service, shape, known)
    if isinstance(shape, ListShape):
        return [_member(service, "", shape.member, known)]
    if isinstance(shape, MapShape):
        return {"key": _member(service, "", shape.value, known)}
    if shape.metadata.get("enum"):
        return shape.metadata["enum"][0]
    kind = shape.type_name
    if kind in ("integer", "long"):
        return int(shape.metadata.get("min", 1)) or 1
    if kind == "boolean":
        return True
    if kind == "timestamp":
        return datetime(2024, 2, 29, tzinfo=UTC)
    if kind in ("float", "double"):
        return 1.0
    if kind == "blob":
        return b"bytes"
    return "f" * max(1, int(shape.metadata.get("min", 1)))


class Wire:
    """One server, asked with plain HTTP."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._host = urlsplit(endpoint).netloc
        self._connection = http.client.HTTPConnection(self._host, timeout=60)
        self._clients: dict[str, Any] = {}

    def unsigned(self, service: str, operation: str, **given: Any) -> AWSRequest:
        """The request that boto3 would send, without a signature."""
        client = self._clients.get(service)
        if client is None:
            client = self._clients[service] = botocore.session.Session().create_client(
                service,
                region_name=REGION,
                endpoint_url=self.endpoint,
                config=Config(
                    signature_version=UNSIGNED,
                    inject_host_prefix=False,
                    parameter_validation=False,
                    retries={"total_max_attempts": 1},
                ),
            )
        caught: list[Any] = []

        def carry(request: Any, **_: Any) -> AWSResponse:
            caught.append(request)
            return AWSResponse(request.url, 200, HeadersDict(), _Nothing())

        client.meta.events.unregister("before-send", unique_id="carry")
        client.meta.events.register("before-send", carry, unique_id="carry")
        name = next(one for one, value in client.meta.method_to_api_mapping.items() if value == operation)
        try:
            getattr(client, name)(**given)
        except Exception:
            assert caught  # the answer that it was given is none
        sent = caught[0]
        body = sent.body if isinstance(sent.body, bytes) else (sent.body or "")
        data = body.encode() if isinstance(body, str) else body
        headers = {name: _text(value) for name, value in sent.headers.items() if name.lower() != "content-length"}
        return AWSRequest(sent.method, sent.url, headers, data)

    def send(self, request: AWSRequest) -> tuple[int, str, str]:
        """(status, code, message)"""
        prepared = request.prepare()
        target = prepared.url.removeprefix(self.endpoint)
        headers = {name: _text(value) for name, value in prepared.headers.items()}
        self._connection.request(prepared.method, target, prepared.body or b"", {**headers, "Host": self._host})
        response = self._connection.getresponse()
        body = response.read()
        return response.status, *error(response.headers, body)


class _Nothing:
    def stream(self, *_: Any, **__: Any) -> Any:
        yield b""

    def read(self, *_: Any) -> bytes:
        return b""


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def error(headers: Any, body: bytes) -> tuple[str, str]:
    """The code and the message of an answer in any protocol."""
    if "cbor" in headers.get("content-type", ""):
        document = cbor2.loads(body)
        return document["__type"], document.get("message") or document.get("Message") or ""
    text = body.decode(errors="replace")
    if match := re.search(r"<Code>(.*?)</Code>", text):
        message = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
        return match[1], message[1] if message else ""
    try:
        document = json.loads(text)
    except ValueError:
        return headers.get("x-amzn-errortype", ""), text
    code = headers.get("x-amzn-errortype") or document.get("__type", "")
    return code, document.get("message") or document.get("Message") or ""


def sign(
    request: AWSRequest,
    service: str,
    key: str,
    secret: str,
    token: str | None = None,
    *,
    ago: float = 0,
    region: str = REGION,
    query: int | None = None,
) -> AWSRequest:
    """Signed by botocore, `ago` seconds ago; in the query string for `query` seconds when that is given."""
    then = datetime.now(UTC) - timedelta(seconds=ago)
    copy = AWSRequest(request.method, request.url, dict(request.headers.items()), request.data)
    keys = Credentials(key, secret, token)
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(keys, service, region)
    if query is not None:
        signer = SigV4QueryAuth(keys, service, region, expires=query)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=then):
        signer.add_auth(copy)
    return copy
