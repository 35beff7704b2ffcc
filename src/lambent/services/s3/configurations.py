"""The settings of a bucket that are kept as they were put: what they are, and what is said where there are none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lambent.services.s3 import acl, errors, tagging
from lambent.services.s3.buckets import Buckets
from lambent.services.s3.records import Bucket
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Context, Handler, Operations, Parameters

Answer = Mapping[str, Any]
_POLICY_BYTES = 20_480
_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@dataclass(frozen=True, slots=True)
class Kind:
    """A configuration: its operations, the member that holds it, and the answer where there is none."""

    name: str
    put: str
    get: str
    delete: str | None
    payload: str  # the member of the request
    missing: tuple[str, str] | None  # (code, message) of the error
    wrapped: bool = False  # the answer has the payload as a member, instead of the payload's members
    default: Mapping[str, Any] | None = None  # what is answered until something was put


_ENCRYPTION = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}
_KINDS = (
    Kind(
        *("cors", "PutBucketCors", "GetBucketCors", "DeleteBucketCors", "CORSConfiguration"),
        ("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
    ),
    Kind(
        *("lifecycle", "PutBucketLifecycleConfiguration", "GetBucketLifecycleConfiguration", "DeleteBucketLifecycle"),
        "LifecycleConfiguration",
        ("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
    ),
    Kind(
        *("encryption", "PutBucketEncryption", "GetBucketEncryption", "DeleteBucketEncryption"),
        *("ServerSideEncryptionConfiguration", None),
        wrapped=True,
        default=_ENCRYPTION,
    ),
    Kind(
        *("public access block", "PutPublicAccessBlock", "GetPublicAccessBlock", "DeletePublicAccessBlock"),
        "PublicAccessBlockConfiguration",
        ("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"),
        wrapped=True,
        default=dict.fromkeys(_BLOCKS, True),
    ),
    Kind(
        *("ownership", "PutBucketOwnershipControls", "GetBucketOwnershipControls", "DeleteBucketOwnershipControls"),
        "OwnershipControls",
        ("OwnershipControlsNotFoundError", "The bucket ownership controls were not found"),
        wrapped=True,
        default={"Rules": [{"ObjectOwnership": acl.ENFORCED}]},
    ),
    Kind(
        *("tagging", "PutBucketTagging", "GetBucketTagging", "DeleteBucketTagging", "Tagging"),
        ("NoSuchTagSet", "The TagSet does not exist"),
    ),
)
# What a bucket can have on AWS and none has here: asking gets the true answer, setting is not built.
_ABSENT: Mapping[str, tuple[str, str] | Mapping[str, Any]] = {
    "GetBucketAccelerateConfiguration": {},
    "GetBucketLogging": {},
    "GetBucketRequestPayment": {"Payer": "BucketOwner"},
    "GetBucketReplication": (
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found",
    ),
    "GetBucketWebsite": ("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
    "GetObjectLockConfiguration": (
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    ),
    "ListBucketAnalyticsConfigurations": {"IsTruncated": False},
    "ListBucketIntelligentTieringConfigurations": {"IsTruncated": False},
    "ListBucketInventoryConfigurations": {"IsTruncated": False},
    "ListBucketMetricsConfigurations": {"IsTruncated": False},
}


class Configurations:
    """Handlers."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def register(self, operations: Operations) -> None:
        for kind in _KINDS:
            operations.register("s3", kind.put, self._put(kind))
            operations.register("s3", kind.get, self._get(kind))
            if kind.delete is not None:
                operations.register("s3", kind.delete, self._delete(kind))
        for operation, found in _ABSENT.items():
            operations.register("s3", operation, self._absent(found))
        for operation, handler in {
            "PutBucketPolicy": self.put_bucket_policy,
            "GetBucketPolicy": self.get_bucket_policy,
            "DeleteBucketPolicy": self.delete_bucket_policy,
            "GetBucketPolicyStatus": self.get_bucket_policy_status,
            "GetBucketAcl": self.get_bucket_acl,
            "PutBucketAcl": self.put_bucket_acl,
            "PutBucketRequestPayment": self.put_bucket_request_payment,
        }.items():
            operations.register("s3", operation, handler)

    def _put(self, kind: Kind) -> Handler:
        async def put(context: Context, parameters: Parameters) -> Answer:
            bucket = self._buckets.named(context, parameters)
            value = _checked(kind, parameters[kind.payload])
            await self._buckets.configure(bucket.name, kind.name, value)
            return {}

        return put

    def _get(self, kind: Kind) -> Handler:
        async def get(context: Context, parameters: Parameters) -> Answer:
            bucket = self._buckets.named(context, parameters)
            value = bucket.configurations.get(kind.name, kind.default)
            if not value:
                assert kind.missing is not None
                code, message = kind.missing
                raise AwsError(code, message, status=404, BucketName=bucket.name)
            return {kind.payload: value} if kind.wrapped else value

        return get

    def _delete(self, kind: Kind) -> Handler:
        async def delete(context: Context, parameters: Parameters) -> Answer:
            bucket = self._buckets.named(context, parameters)
            # Where there is a default, having deleted it is something else than never having put it.
            gone: Answer | None = {} if kind.default is not None and kind.missing is not None else None
            await self._buckets.configure(bucket.name, kind.name, gone)
            return {}

        return delete

    def _absent(self, found: tuple[str, str] | Mapping[str, Any]) -> Callable[[Context, Parameters], Awaitable[Answer]]:
        async def get(context: Context, parameters: Parameters) -> Answer:
            bucket = self._buckets.named(context, parameters)
            if isinstance(found, tuple):
                raise AwsError(*found, status=404, BucketName=bucket.name)
            return found

        return get

    # The bucket's policy

    async def put_bucket_policy(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        text = parameters["Policy"]
        _check_policy(text, bucket)
        await self._buckets.configure(bucket.name, "policy", text)
        return {}

    async def get_bucket_policy(self, context: Context, parameters: Parameters) -> Answer:
        return {"Policy": self._policy(self._buckets.named(context, parameters))}

    async def delete_bucket_policy(self, context: Context, parameters: Parameters) -> Answer:
        await self._buckets.configure(self._buckets.named(context, parameters).name, "policy", None)
        return {}

    async def get_bucket_policy_status(self, context: Context, parameters: Parameters) -> Answer:
        policy = orjson.loads(self._policy(self._buckets.named(context, parameters)))
        statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
        return {"PolicyStatus": {"IsPublic": any(_is_public(statement) for statement in statements)}}

    def _policy(self, bucket: Bucket) -> str:
        policy: str | None = bucket.configurations.get("policy")
        if policy is None:
            message = "The bucket policy does not exist"
            raise AwsError("NoSuchBucketPolicy", message, status=404, BucketName=bucket.name)
        return policy

    # Access control lists, and who pays

    async def get_bucket_acl(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        return acl.shown(bucket.configurations.get("acl"), bucket.account)

    async def put_bucket_acl(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        await self._buckets.configure(bucket.name, "acl", acl.of_request(parameters, bucket))
        return {}

    async def put_bucket_request_payment(self, context: Context, parameters: Parameters) -> Answer:
        self._buckets.named(context, parameters)
        if parameters["RequestPaymentConfiguration"]["Payer"] != "BucketOwner":
            raise not_built("buckets whose requesters pay")
        return {}


def _checked(kind: Kind, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is kept. MalformedXML and others for what cannot be."""
    if kind.name == "tagging":
        return {"TagSet": tagging.checked_set(value["TagSet"])}
    if kind.name == "public access block":
        return {name: value.get(name, False) for name in _BLOCKS}
    if kind.name == "cors":
        _check_cors(value)
    if kind.name == "ownership" and len(value["Rules"]) != 1:
        raise errors.malformed_xml()
    if kind.name == "lifecycle":
        return {"Rules": [_rule(rule, number) for number, rule in enumerate(value.get("Rules", ()))]}
    return dict(value)


def _check_cors(value: Mapping[str, Any]) -> None:
    for rule in value.get("CORSRules", ()):
        for method in rule["AllowedMethods"]:
            if method not in ("GET", "PUT", "POST", "DELETE", "HEAD"):
                message = f"Found unsupported HTTP method in CORS config. Unsupported method is {method}"
                raise errors.invalid_request(message)
        for origin in rule["AllowedOrigins"]:
            if origin.count("*") > 1:
                message = f'AllowedOrigin "{origin}" can not have more than one wildcard.'
                raise errors.invalid_request(message)


def _rule(rule: Mapping[str, Any], number: int) -> dict[str, Any]:
    if rule.get("Status") not in ("Enabled", "Disabled") or len(rule.get("ID", "")) > 255:
        raise errors.malformed_xml()
    return {"ID": f"rule-{number + 1}", **rule}


def _check_policy(text: str, bucket: Bucket) -> None:
    if len(text.encode()) > _POLICY_BYTES:
        raise _malformed_policy("Policy exceeds the maximum allowed size.")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _malformed_policy("Policies must be valid JSON and the first byte must be '{'") from None
    if not isinstance(document, dict):
        raise _malformed_policy("Policies must be valid JSON and the first byte must be '{'")
    listed: Any = document.get("Statement")
    statements: list[Any] = listed if isinstance(listed, list) else [listed]
    if not listed or not all(isinstance(statement, dict) for statement in statements):
        raise _malformed_policy("Missing required field Statement")
    for statement in statements:
        for names in (("Effect",), ("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource")):
            if not any(name in statement for name in names):
                raise _malformed_policy(f"Missing required field {names[0]}")
        resources = statement.get("Resource", statement.get("NotResource"))
        for resource in resources if isinstance(resources, list) else [resources]:
            own = isinstance(resource, str) and resource.startswith((f"{bucket.arn}", "arn:aws:s3:::*"))
            if not own and resource != "*":
                raise _malformed_policy("Policy has invalid resource")


def _malformed_policy(message: str) -> AwsError:
    return AwsError("MalformedPolicy", message, status=400)


def _is_public(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    everybody = principal == "*" or (isinstance(principal, dict) and "*" in (principal.get("AWS"), *_listed(principal)))
    return statement.get("Effect") == "Allow" and everybody and not statement.get("Condition")


def _listed(principal: Mapping[str, Any]) -> tuple[Any, ...]:
    named = principal.get("AWS")
    return tuple(named) if isinstance(named, list) else ()
