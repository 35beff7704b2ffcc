"""Whether a caller may ask a neighbour: proven and authorised like a caller of a native service.

The services that are not native have no tables of rules here. What their operations need permission for follows from
the service's name and the operation's, as it does for nearly all of AWS; the resource from the members that name one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lambent.base.http import Request
from lambent.neighbours import recognition
from lambent.wire import parser, router
from lambent.wire.callers import Caller
from lambent.wire.doorman import Doorman
from lambent.wire.errors import AwsError
from lambent.wire.gate import Access, Gate
from lambent.wire.models import Service

MOST = 64 << 20  # bytes of a body whose signature is checked before it is passed on
_PREFIXES = {  # where IAM's name is not the endpoint's
    "cloudwatch": "cloudwatch",
    "dynamodbstreams": "dynamodb",
    "elbv2": "elasticloadbalancing",
    "elb": "elasticloadbalancing",
    "events": "events",
    "opensearch": "es",
    "ses": "ses",
    "sesv2": "ses",
    "stepfunctions": "states",
}
_S3_ACTIONS = {  # where IAM's name is not the operation's
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObjects": "s3:DeleteObject",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListBuckets": "s3:ListAllMyBuckets",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "ListParts": "s3:ListMultipartUploadParts",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject",
}
_NAMES: Mapping[tuple[str, str], str] = {  # (service, member): the resource that the member names
    ("dynamodb", "TableName"): "table/{}",
    ("events", "Name"): "rule/{}",
    ("events", "Rule"): "rule/{}",
    ("kinesis", "StreamName"): "stream/{}",
    ("secretsmanager", "Name"): "secret:{}",
    ("secretsmanager", "SecretId"): "secret:{}",
    ("sns", "Name"): "{}",
    ("sqs", "QueueName"): "{}",
    ("ssm", "Name"): "parameter/{}",
    ("ssm", "Path"): "parameter/{}",
}


class Permission:
    """Asks the doorman and the gate."""

    def __init__(self, doorman: Doorman, gate: Gate) -> None:
        self._doorman = doorman
        self._gate = gate

    async def demand(self, service: str, request: Request, body: bytes) -> Caller:
        """Raises AwsError unless the request is signed and its caller may do what it asks for."""
        caller, _proof = await self._doorman.prove(request, body)
        whole = Request(request.method, request.target, request.headers, body)
        await self._gate.authorize(caller, *accesses(service, whole, caller))
        return caller


def accesses(service: str, request: Request, caller: Caller) -> list[Access]:
    """What the request needs permission for. Raises AwsError for one that asks for nothing that there is."""
    if recognition.is_api_call(request):
        return [Access("execute-api:Invoke", "*")]
    route = router.route(request, service)
    try:
        parameters = parser.parse(route, request, request.body)
    except AwsError:
        parameters = {}  # for whoever answers to refuse
    prefix = _prefix(route.service)
    action = f"{prefix}:{route.operation.name}"
    if service == "s3":
        action = _S3_ACTIONS.get(route.operation.name, f"s3:{route.operation.name}")
        return [Access(action, _in_s3(parameters))]
    found = list(_resources(prefix, parameters, caller))
    return [Access(action, resource) for resource in found or ["*"]]


def _prefix(service: Service) -> str:
    known = _PREFIXES.get(service.name)
    return known or str(service.metadata.get("signingName") or service.metadata["endpointPrefix"])


def _in_s3(parameters: Mapping[str, Any]) -> str:
    if "Bucket" not in parameters:
        return "*"
    key = f"/{parameters['Key']}" if "Key" in parameters else ""
    return f"arn:aws:s3:::{parameters['Bucket']}{key}"


def _resources(prefix: str, parameters: Mapping[str, Any], caller: Caller) -> Iterator[str]:
    start = f"arn:{caller.partition}:{prefix}:{caller.region}:{caller.account}:"
    for member, value in parameters.items():
        if not isinstance(value, str):
            continue
        if value.startswith(f"arn:{caller.partition}:{prefix}:"):
            yield value
        elif prefix == "sqs" and member == "QueueUrl":
            account, _, name = value.rstrip("/").rpartition("/")
            yield f"arn:{caller.partition}:sqs:{caller.region}:{account.rpartition('/')[2] or caller.account}:{name}"
        elif form := _NAMES.get((prefix, member)):
            yield start + form.format(value.lstrip("/"))
