"""The operations on buckets themselves."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.services.s3 import acl, errors, names, tagging, uploads
from lambent.services.s3.buckets import Buckets, already_there
from lambent.services.s3.contents import Contents
from lambent.services.s3.records import Bucket
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Context, Operations, Parameters

_CLASSIC = "us-east-1"  # whose buckets have no location constraint
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_MOST_BUCKETS = 10_000  # of an account, and of a page

Answer = Mapping[str, Any]


class BucketsApi:
    """Handlers."""

    def __init__(self, db: Database, buckets: Buckets, contents: Contents, clock: Clock) -> None:
        self._db = db
        self._buckets = buckets
        self._contents = contents
        self._clock = clock

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateBucket": self.create_bucket,
            "DeleteBucket": self.delete_bucket,
            "HeadBucket": self.head_bucket,
            "ListBuckets": self.list_buckets,
            "GetBucketLocation": self.get_bucket_location,
            "GetBucketVersioning": self.get_bucket_versioning,
            "PutBucketVersioning": self.put_bucket_versioning,
        }.items():
            operations.register("s3", operation, handler)

    async def create_bucket(self, context: Context, parameters: Parameters) -> Answer:
        name, caller = parameters["Bucket"], context.caller
        names.check_bucket(name)
        configuration = parameters.get("CreateBucketConfiguration", {})
        if "Location" in configuration or "Bucket" in configuration:
            raise not_built("directory buckets")
        if parameters.get("ObjectLockEnabledForBucket"):
            raise not_built("object lock")
        region = _region(caller.region, configuration.get("LocationConstraint"))
        configurations: dict[str, Any] = {}
        if ownership := parameters.get("ObjectOwnership"):
            configurations["ownership"] = {"Rules": [{"ObjectOwnership": ownership}]}
        if tags := configuration.get("Tags"):
            configurations["tagging"] = {"TagSet": tagging.checked_set(tags)}
        bucket = Bucket(0, name, caller.account, region, self._clock.time(), configurations=configurations)
        acl.of_request(parameters, bucket)
        found = self._buckets.find(name)
        if found is not None and found.account == caller.account and region == found.region == _CLASSIC:
            return {"Location": f"/{name}", "BucketArn": found.arn}  # in us-east-1 alone it may be made again
        if found is not None:
            raise already_there(found, caller.account)
        await self._buckets.create(bucket)
        location = f"/{name}" if region == _CLASSIC else f"{context.endpoint}/{name}"
        return {"Location": location, "BucketArn": bucket.arn}

    async def delete_bucket(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)

        def also(connection: Connection) -> None:
            released = uploads.abort_all(connection, bucket)
            connection.after_commit(lambda: self._contents.release(released))

        await self._buckets.delete(bucket, also)
        return {}

    async def head_bucket(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        return {"BucketRegion": bucket.region, "AccessPointAlias": False, "BucketArn": bucket.arn}

    async def list_buckets(self, context: Context, parameters: Parameters) -> Answer:
        account, most = context.caller.account, parameters.get("MaxBuckets", _MOST_BUCKETS)
        if not 1 <= most <= _MOST_BUCKETS:
            message = f"Argument max-buckets must be an integer between 1 and {_MOST_BUCKETS}."
            raise errors.invalid_argument(message, "max-buckets", str(most))
        prefix, region = parameters.get("Prefix", ""), parameters.get("BucketRegion")
        after = _token(parameters.get("ContinuationToken"))
        fitting = [
            bucket
            for bucket in self._buckets.of_account(account)
            if bucket.name.startswith(prefix) and bucket.name > after and region in (None, bucket.region)
        ]
        page = fitting[:most]
        answer: dict[str, Any] = {
            "Buckets": [_described(bucket) for bucket in page],
            "Owner": {"ID": names.canonical_user(account)},
        }
        if prefix:
            answer["Prefix"] = prefix
        if len(fitting) > most:
            answer["ContinuationToken"] = base64.b64encode(page[-1].name.encode()).decode()
        return answer

    async def get_bucket_location(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        return {} if bucket.region == _CLASSIC else {"LocationConstraint": bucket.region}

    async def get_bucket_versioning(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        return {"Status": bucket.versioning} if bucket.versioning else {}

    async def put_bucket_versioning(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        wanted = parameters["VersioningConfiguration"]
        if wanted.get("MFADelete") == "Enabled":
            raise not_built("MFA delete")
        status = wanted.get("Status")
        if status not in ("Enabled", "Suspended"):
            message = "The Versioning element must be specified"
            raise AwsError("IllegalVersioningConfigurationException", message, status=400)
        await self._buckets.change(bucket.name, lambda current: replace(current, versioning=status))
        return {}


def _region(endpoint: str, constraint: str | None) -> str:
    """Where a bucket comes to lie that is asked for at an endpoint of the region `endpoint`."""
    if constraint == "EU":
        constraint = "eu-west-1"
    if constraint is None:
        if endpoint in (_CLASSIC, "aws-global"):
            return _CLASSIC
        constraint_named = "unspecified"
    elif constraint == _CLASSIC or not _REGION.fullmatch(constraint):
        message = "The specified location-constraint is not valid"
        raise AwsError("InvalidLocationConstraint", message, status=400, LocationConstraint=constraint)
    elif endpoint in (_CLASSIC, constraint):
        return constraint
    else:
        constraint_named = constraint
    message = (
        f"The {constraint_named} location constraint is incompatible for the region specific endpoint this request was"
        " sent to."
    )
    raise AwsError("IllegalLocationConstraintException", message, status=400)


def _token(token: str | None) -> str:
    if token is None:
        return ""
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:
        message = "The continuation token provided is incorrect"
        raise errors.invalid_argument(message, "continuation-token", token) from None


def _described(bucket: Bucket) -> dict[str, Any]:
    created = datetime.fromtimestamp(bucket.created, UTC).replace(microsecond=0)
    return {"Name": bucket.name, "CreationDate": created, "BucketRegion": bucket.region, "BucketArn": bucket.arn}
