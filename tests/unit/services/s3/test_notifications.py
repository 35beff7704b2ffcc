"""Which events are told, to whom, and what they look like."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambent.services.s3.notifications import wants
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Parameters
from unit.services.s3.lab import REGION, S3Lab

FUNCTION = f"arn:aws:lambda:{REGION}:111111111111:function:f"


class Told:
    """Stands for Lambda: notes what it is told, after `failures` refusals."""

    def __init__(self, s3: S3Lab, failures: int = 0) -> None:
        self.records: list[dict[str, Any]] = []
        self.callers: list[Any] = []
        self.failures = failures
        s3.operations.register("lambda", "Invoke", self.invoke)
        s3.operations.register("lambda", "GetFunctionConfiguration", self.get)

    async def invoke(self, context: Context, parameters: Parameters) -> dict[str, Any]:
        if self.failures:
            self.failures -= 1
            raise AwsError("TooManyRequestsException", "later", status=429)
        assert (parameters["InvocationType"], parameters["FunctionName"]) == ("Event", FUNCTION)
        self.callers.append(context.caller)
        self.records += json.loads(parameters["Payload"])["Records"]
        return {"StatusCode": 202}

    async def get(self, context: Context, parameters: Parameters) -> dict[str, Any]:
        if parameters["FunctionName"] != FUNCTION:
            raise AwsError("ResourceNotFoundException", "none")
        return {}

    @property
    def names(self) -> list[tuple[str, str]]:
        return [(record["eventName"], record["s3"]["object"]["key"]) for record in self.records]


async def notify(s3: S3Lab, *events: str, rules: dict[str, str] | None = None, arn: str = FUNCTION) -> None:
    one: dict[str, Any] = {"LambdaFunctionArn": arn, "Events": list(events)}
    if rules:
        one["Filter"] = {"Key": {"FilterRules": [{"Name": name, "Value": value} for name, value in rules.items()]}}
    wanted = {"LambdaFunctionConfigurations": [one]}
    await s3.call("PutBucketNotificationConfiguration", Bucket="bucket", NotificationConfiguration=wanted)


async def test_what_happens_is_told(s3: S3Lab) -> None:
    told = Told(s3)
    await s3.bucket()
    await notify(s3, "s3:ObjectCreated:*", "s3:ObjectRemoved:*")
    await s3.put("a b/é", b"content")
    await s3.call("CopyObject", Bucket="bucket", Key="copy", CopySource="bucket/a b/é")
    await s3.upload("parts", b"x")
    await s3.call("DeleteObject", Bucket="bucket", Key="copy")
    await s3.call("DeleteObject", Bucket="bucket", Key="never was")
    await s3.jobs_done()
    assert sorted(told.names) == [
        ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectCreated:Put", "a+b/%C3%A9"),
        ("ObjectRemoved:Delete", "copy"),
    ]
    record = next(one for one in told.records if one["eventName"] == "ObjectCreated:Put")
    assert (record["eventVersion"], record["eventSource"], record["awsRegion"]) == ("2.1", "aws:s3", REGION)
    assert record["s3"]["bucket"] == {
        "name": "bucket",
        "ownerIdentity": {"principalId": "111111111111"},
        "arn": "arn:aws:s3:::bucket",
    }
    assert record["s3"]["object"]["size"] == 7
    assert record["s3"]["object"]["eTag"] == "9a0364b9e99bb480dd25e1f0284c8555"
    assert {caller.via for caller in told.callers} == {"s3.amazonaws.com"}


async def test_a_delete_marker_is_told_as_one(s3: S3Lab) -> None:
    told = Told(s3)
    await s3.bucket(versioning="Enabled")
    await s3.put("k", b"x")
    await notify(s3, "s3:ObjectRemoved:DeleteMarkerCreated")
    version = (await s3.call("DeleteObject", Bucket="bucket", Key="k"))["VersionId"]
    await s3.jobs_done()
    (record,) = told.records
    assert record["s3"]["object"]["versionId"] == version
    assert not {"size", "eTag"} & record["s3"]["object"].keys()


async def test_what_is_committed_is_told_after_a_restart(s3: S3Lab) -> None:
    """The process ends between the commit and the telling."""
    Told(s3)
    await s3.bucket()
    await notify(s3, "s3:ObjectCreated:Put")
    await s3.jobs.stop()
    await s3.put("k", b"x")
    await s3.restart()
    told = Told(s3)
    await s3.jobs_done()
    assert told.names == [("ObjectCreated:Put", "k")]


async def test_a_request_that_fails_is_not_told(s3: S3Lab) -> None:
    told = Told(s3)
    await s3.bucket()
    await notify(s3, "s3:ObjectCreated:*")
    await s3.put("k", b"x")
    await s3.refusal("PutObject", Bucket="bucket", Key="k", IfNoneMatch="*")
    await s3.jobs_done()
    assert told.names == [("ObjectCreated:Put", "k")]


async def test_a_target_that_refuses_is_tried_again(s3: S3Lab) -> None:
    told = Told(s3, failures=2)
    await s3.bucket()
    await notify(s3, "s3:ObjectCreated:*")
    await s3.put("k")
    await s3.jobs_done()
    assert told.names == [("ObjectCreated:Put", "k")]


async def test_the_configuration_is_kept_and_replaced(s3: S3Lab) -> None:
    Told(s3)
    await s3.bucket()
    assert await s3.call("GetBucketNotificationConfiguration", Bucket="bucket") == {}
    await notify(s3, "s3:ObjectCreated:*", rules={"prefix": "in/"})
    await s3.restart()
    found = await s3.call("GetBucketNotificationConfiguration", Bucket="bucket")
    (one,) = found["LambdaFunctionConfigurations"]
    assert (one["LambdaFunctionArn"], one["Events"]) == (FUNCTION, ["s3:ObjectCreated:*"])
    assert one["Id"]
    await s3.call("PutBucketNotificationConfiguration", Bucket="bucket", NotificationConfiguration={})
    assert await s3.call("GetBucketNotificationConfiguration", Bucket="bucket") == {}


@pytest.mark.parametrize(
    ("configuration", "status"),
    [
        (
            {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": FUNCTION + "2", "Events": ["s3:ObjectCreated:*"]}]},
            400,
        ),
        ({"LambdaFunctionConfigurations": [{"LambdaFunctionArn": "f", "Events": ["s3:ObjectCreated:*"]}]}, 400),
        ({"LambdaFunctionConfigurations": [{"LambdaFunctionArn": FUNCTION, "Events": ["everything"]}]}, 400),
        (
            {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": FUNCTION, "Events": ["s3:ObjectCreated:*"]}] * 2},
            400,
        ),
        ({"EventBridgeConfiguration": {}}, 501),
    ],
)
async def test_configurations_that_are_refused(s3: S3Lab, configuration: dict[str, Any], status: int) -> None:
    Told(s3)
    await s3.bucket()
    members = {"Bucket": "bucket", "NotificationConfiguration": configuration}
    error = await s3.refusal("PutBucketNotificationConfiguration", **members)
    assert error.status == status
    assert await s3.call("GetBucketNotificationConfiguration", Bucket="bucket") == {}


@pytest.mark.parametrize(
    ("events", "rules", "fits"),
    [
        (["s3:ObjectCreated:*"], {}, True),
        (["s3:ObjectCreated:Put"], {}, True),
        (["s3:ObjectCreated:Copy", "s3:ObjectRemoved:*"], {}, False),
        (["s3:ObjectCreated:*"], {"prefix": "in/"}, True),
        (["s3:ObjectCreated:*"], {"Prefix": "out/"}, False),
        (["s3:ObjectCreated:*"], {"suffix": ".zip"}, True),
        (["s3:ObjectCreated:*"], {"prefix": "in/", "Suffix": ".png"}, False),
    ],
)
def test_which_events_a_configuration_wants(events: list[str], rules: dict[str, str], fits: bool) -> None:
    configuration = {
        "Events": events,
        "Filter": {"Key": {"FilterRules": [{"Name": name, "Value": value} for name, value in rules.items()]}},
    }
    assert wants(configuration, "ObjectCreated:Put", "in/a.zip") is fits
