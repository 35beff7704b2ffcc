"""Event notifications: which events a bucket tells of, to whom, and how they get there.

What is to be told is committed with the change that it tells of, as a job for each configuration that fits. So a crash
loses nothing; a target may be told twice, as AWS's may.
"""

from __future__ import annotations

import json
import logging
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection
from lambent.base.jobs import Job, Jobs
from lambent.services.s3.buckets import Buckets
from lambent.services.s3.records import Bucket, Version
from lambent.wire import s3_answers
from lambent.wire.callers import Caller
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Client, Context, Operations, Parameters

_log = logging.getLogger("lambent.s3")

NOTIFY = "s3.notify"
_KIND = "notification"
_SERVICE = "s3.amazonaws.com"
_TARGETS = {
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
    "QueueConfigurations": "QueueArn",
    "TopicConfigurations": "TopicArn",
}
_SERVICES = {"LambdaFunctionConfigurations": "lambda", "QueueConfigurations": "sqs", "TopicConfigurations": "sns"}
_KNOWN = re.compile(r"s3:[A-Za-z]+(:(\*|[A-Za-z:]+))?")
_ARN = re.compile(r"arn:aws[a-z-]*:(lambda|sqs|sns):([a-z0-9-]+):(\d{12}):(.+)")
_ATTEMPTS = 4  # tries of this process, after which an event that its target refuses is given up

Answer = Mapping[str, Any]


class Notifications:
    """Handlers of the configuration, and the deliverer of what is to be told."""

    def __init__(self, buckets: Buckets, jobs: Jobs, client: Client, clock: Clock) -> None:
        """`client` reaches the targets."""
        self._buckets = buckets
        self._jobs = jobs
        self._client = client
        self._clock = clock
        jobs.bind(NOTIFY, self.deliver)

    def register(self, operations: Operations) -> None:
        operations.register("s3", "PutBucketNotificationConfiguration", self.put_bucket_notification_configuration)
        operations.register("s3", "GetBucketNotificationConfiguration", self.get_bucket_notification_configuration)

    # The configuration

    async def put_bucket_notification_configuration(self, context: Context, parameters: Parameters) -> Answer:
        """Replaces the whole. InvalidArgument for what cannot be, or targets that are not there."""
        bucket = self._buckets.named(context, parameters)
        configuration = parameters["NotificationConfiguration"]
        if "EventBridgeConfiguration" in configuration:
            raise not_built("notifications to EventBridge")
        kept = {
            kind: [self._checked(one, target, bucket) for one in configuration[kind]]
            for kind, target in _TARGETS.items()
            if configuration.get(kind)
        }
        _refuse_overlaps([one for ones in kept.values() for one in ones])
        if not parameters.get("SkipDestinationValidation"):
            for kind, ones in kept.items():
                for one in ones:
                    await self._check_target(_SERVICES[kind], one[_TARGETS[kind]], bucket)
        await self._buckets.configure(bucket.name, _KIND, kept or None)
        return {}

    async def get_bucket_notification_configuration(self, context: Context, parameters: Parameters) -> Answer:
        found: Answer = self._buckets.named(context, parameters).configurations.get(_KIND, {})
        return found

    def _checked(self, one: Mapping[str, Any], target: str, bucket: Bucket) -> dict[str, Any]:
        arn = _ARN.fullmatch(one[target])
        if arn is None or arn[2] != bucket.region:
            raise _invalid("The ARN could not be parsed", target, one[target])
        for event in one["Events"]:
            if not _KNOWN.fullmatch(event):
                raise _invalid("The event is not supported for notifications", "Event", event)
        for rule in one.get("Filter", {}).get("Key", {}).get("FilterRules", ()):
            if rule.get("Name", "").lower() not in ("prefix", "suffix"):
                raise _invalid(
                    "filter rule name must be either prefix or suffix", "FilterRule.Name", rule.get("Name", "")
                )
        return {"Id": self._clock.uuid(), **one}

    async def _check_target(self, service: str, arn: str, bucket: Bucket) -> None:
        """A function must be there. What queues and topics there are, their own service says when it is told."""
        if service != "lambda":
            return
        caller = Caller(bucket.account, bucket.region, via=_SERVICE)
        try:
            await self._client.call("lambda", "GetFunctionConfiguration", {"FunctionName": arn}, caller)
        except AwsError:
            message = "Unable to validate the following destination configurations"
            raise _invalid(message, arn, "The destination Lambda does not exist") from None

    # Telling

    def changed(self, connection: Connection, bucket: Bucket, event: str, version: Version, context: Context) -> None:
        """Inside the transaction of a change: a job for each configuration that wants to know."""
        configuration = bucket.configurations.get(_KIND)
        if not configuration:
            return
        for kind, target in _TARGETS.items():
            for one in configuration.get(kind, ()):
                if wants(one, event, version.name):
                    record = self._record(bucket, event, version, context, one["Id"])
                    told = {"service": _SERVICES[kind], "arn": one[target], "bucket": bucket.name, "record": record}
                    told |= {"account": bucket.account, "region": bucket.region}
                    self._jobs.enqueue(connection, NOTIFY, told)

    def _record(self, bucket: Bucket, event: str, version: Version, context: Context, identity: str) -> dict[str, Any]:
        """As AWS documents it, version 2.1."""
        now = self._clock.time()
        shown: dict[str, Any] = {"key": urllib.parse.quote_plus(version.name, safe="/")}
        if not event.startswith("ObjectRemoved:"):
            shown |= {"size": version.size, "eTag": version.etag}
        if bucket.versioning:
            shown["versionId"] = version.id
        shown["sequencer"] = f"{int(now * 1_000_000):018X}"
        principal = context.caller.access_key_id or "ANONYMOUS"
        return {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": bucket.region,
            "eventTime": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "eventName": event,
            "userIdentity": {"principalId": f"AWS:{principal}"},
            "requestParameters": {"sourceIPAddress": context.caller.source or "127.0.0.1"},
            "responseElements": {
                "x-amz-request-id": context.request_id,
                "x-amz-id-2": s3_answers.host_id(context.request_id),
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": identity,
                "bucket": {"name": bucket.name, "ownerIdentity": {"principalId": bucket.account}, "arn": bucket.arn},
                "object": shown,
            },
        }

    async def deliver(self, job: Job) -> None:
        """Tell one target. What it refuses for good is logged and given up."""
        told = job.payload
        message = json.dumps({"Records": [told["record"]]}, separators=(",", ":"))
        caller = Caller(told["account"], told["region"], via=_SERVICE)
        try:
            await self._send(told["service"], told["arn"], message, caller)
        except AwsError as error:
            if job.attempt < _ATTEMPTS and (error.status != 501 or told["service"] == "lambda"):
                raise
            _log.error("an event of the bucket %s was not told to %s: %s", told["bucket"], told["arn"], error)

    async def _send(self, service: str, arn: str, message: str, caller: Caller) -> None:
        if service == "lambda":
            wanted = {"FunctionName": arn, "InvocationType": "Event", "Payload": message.encode()}
            await self._client.call("lambda", "Invoke", wanted, caller)
        elif service == "sqs":
            name = await self._client.call("sqs", "GetQueueUrl", _queue(arn), caller)
            await self._client.call(
                "sqs", "SendMessage", {"QueueUrl": name["QueueUrl"], "MessageBody": message}, caller
            )
        else:
            topic = {"TopicArn": arn, "Message": message, "Subject": "Amazon S3 Notification"}
            await self._client.call("sns", "Publish", topic, caller)


def wants(configuration: Mapping[str, Any], event: str, key: str) -> bool:
    """Whether a configuration is for this event of this key."""
    name = f"s3:{event}"
    if not any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in configuration["Events"]):
        return False
    for rule in configuration.get("Filter", {}).get("Key", {}).get("FilterRules", ()):
        value = rule.get("Value", "")
        fits = key.startswith(value) if rule["Name"].lower() == "prefix" else key.endswith(value)
        if not fits:
            return False
    return True


def _refuse_overlaps(configurations: Iterable[Mapping[str, Any]]) -> None:
    """InvalidArgument where the same event of the same key would be told twice."""
    seen: list[Mapping[str, Any]] = []
    for one in configurations:
        for other in seen:
            if _events_meet(one["Events"], other["Events"]) and _filters_meet(one, other):
                message = "Configurations overlap. Configurations on the same bucket cannot share a common event type."
                raise AwsError("InvalidArgument", message, status=400)
        seen.append(one)


def _events_meet(some: list[str], others: list[str]) -> bool:
    def meets(one: str, other: str) -> bool:
        return one == other or (one.endswith("*") and other.startswith(one[:-1]))

    return any(meets(one, other) or meets(other, one) for one in some for other in others)


def _filters_meet(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a key can fit both."""
    prefix, suffix = _filter(one)
    prefix2, suffix2 = _filter(other)
    prefixes = prefix.startswith(prefix2) or prefix2.startswith(prefix)
    return prefixes and (suffix.endswith(suffix2) or suffix2.endswith(suffix))


def _filter(configuration: Mapping[str, Any]) -> tuple[str, str]:
    rules = configuration.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    values = {rule["Name"].lower(): rule.get("Value", "") for rule in rules}
    return values.get("prefix", ""), values.get("suffix", "")


def _queue(arn: str) -> dict[str, str]:
    _, _, _, _, account, name = arn.split(":", 5)
    return {"QueueName": name, "QueueOwnerAWSAccountId": account}


def _invalid(message: str, name: str, value: str) -> AwsError:
    return AwsError("InvalidArgument", message, status=400, ArgumentName=name, ArgumentValue=value)
