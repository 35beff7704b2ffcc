"""The operations on log groups: making, listing, retention, tags, deletion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lambent.services.logs import errors
from lambent.services.logs.pages import demand, of_arn, own, page
from lambent.services.logs.records import GroupKey, GroupRecord, GroupView
from lambent.services.logs.shelf import Shelf
from lambent.services.logs.store import LogStore
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Caller, Context, Operations, Parameters

_RETENTIONS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
_MOST_TAGS = 50
_CLASSES = ("STANDARD", "INFREQUENT_ACCESS")

Answer = Mapping[str, Any]


class Groups:
    def __init__(self, store: LogStore) -> None:
        self._store = store

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateLogGroup": self.create,
            "DescribeLogGroups": self.describe,
            "DeleteLogGroup": self.delete,
            "PutLogGroupDeletionProtection": self.protect,
            "PutRetentionPolicy": self.put_retention,
            "DeleteRetentionPolicy": self.delete_retention,
            "TagLogGroup": self.tag_group,
            "UntagLogGroup": self.untag_group,
            "ListTagsLogGroup": self.list_group_tags,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.list_tags,
        }.items():
            operations.register("logs", operation, handler)

    async def create(self, context: Context, parameters: Parameters) -> Answer:
        key, now = own(context.caller, parameters["logGroupName"]), self._store.now
        log_class = parameters.get("logGroupClass", "STANDARD")
        if "kmsKeyId" in parameters:
            raise not_built("log groups that are encrypted with a key of yours")
        if log_class not in _CLASSES:
            raise not_built(f"log groups of the class {log_class}")
        if key.name.startswith("aws/"):
            raise errors.invalid("Log groups starting with AWS/ are reserved for AWS.")
        protected = parameters.get("deletionProtectionEnabled", False)
        record = GroupRecord(now, log_class, protected=protected, tags=dict(parameters.get("tags", {})))

        def work(shelf: Shelf) -> None:
            if key in shelf.groups:
                raise errors.group_exists()
            shelf.make(key, record)

        await self._store.run(work)
        return {}

    async def describe(self, context: Context, parameters: Parameters) -> Answer:
        caller = context.caller
        prefix, pattern = parameters.get("logGroupNamePrefix"), parameters.get("logGroupNamePattern")
        if prefix is not None and pattern is not None:
            raise errors.invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
        log_class = parameters.get("logGroupClass")
        named = _identified(caller, parameters.get("logGroupIdentifiers"))

        def fits(view: GroupView) -> bool:
            key = view.key
            return (
                (key.account, key.region) == (caller.account, caller.region)
                and (prefix is None or key.name.startswith(prefix))
                and (pattern is None or pattern.lower() in key.name.lower())
                and (log_class is None or view.record.log_class == log_class)
                and (named is None or key in named)
            )

        views = await self._store.run(lambda shelf: [group.view for group in shelf.groups.values()])
        found = [view for view in views if fits(view)]
        shown, token = page(found, lambda view: view.key.name, parameters.get("limit", 50), parameters.get("nextToken"))
        return {"logGroups": [_shown(view) for view in shown], **token}

    async def delete(self, context: Context, parameters: Parameters) -> Answer:
        key = own(context.caller, parameters["logGroupName"])

        def work(shelf: Shelf) -> None:
            if demand(shelf, key).record.protected:
                raise AwsError("ValidationException", "The log group is protected from deletion.", status=400)
            shelf.remove(key)

        await self._store.run(work)
        return {}

    async def protect(self, context: Context, parameters: Parameters) -> Answer:
        identifier = parameters["logGroupIdentifier"]
        key = of_arn(identifier) or own(context.caller, identifier)
        await self._change(
            context.caller, key, lambda record: replace(record, protected=parameters["deletionProtectionEnabled"])
        )
        return {}

    async def put_retention(self, context: Context, parameters: Parameters) -> Answer:
        days = parameters["retentionInDays"]
        if days not in _RETENTIONS:
            known = ", ".join(map(str, _RETENTIONS))
            raise errors.invalid(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint:"
                f" Member must satisfy enum value set: [{known}]"
            )
        await self._change_own(context, parameters, lambda record: replace(record, retention=days))
        return {}

    async def delete_retention(self, context: Context, parameters: Parameters) -> Answer:
        await self._change_own(context, parameters, lambda record: replace(record, retention=None))
        return {}

    # Tags

    async def tag_group(self, context: Context, parameters: Parameters) -> Answer:
        await self._change_own(context, parameters, _tagging(parameters["tags"]))
        return {}

    async def untag_group(self, context: Context, parameters: Parameters) -> Answer:
        await self._change_own(context, parameters, _untagging(parameters["tags"]))
        return {}

    async def list_group_tags(self, context: Context, parameters: Parameters) -> Answer:
        return await self._tags(own(context.caller, parameters["logGroupName"]))

    async def tag(self, context: Context, parameters: Parameters) -> Answer:
        await self._change(context.caller, _resource(parameters), _tagging(parameters["tags"]))
        return {}

    async def untag(self, context: Context, parameters: Parameters) -> Answer:
        await self._change(context.caller, _resource(parameters), _untagging(parameters["tagKeys"]))
        return {}

    async def list_tags(self, context: Context, parameters: Parameters) -> Answer:
        key = _resource(parameters)
        _refuse_others(context.caller, key)
        return await self._tags(key)

    async def _tags(self, key: GroupKey) -> Answer:
        return {"tags": await self._store.run(lambda shelf: dict(demand(shelf, key).record.tags))}

    async def _change_own(
        self, context: Context, parameters: Parameters, change: Callable[[GroupRecord], GroupRecord]
    ) -> None:
        await self._change(context.caller, own(context.caller, parameters["logGroupName"]), change)

    async def _change(self, caller: Caller, key: GroupKey, change: Callable[[GroupRecord], GroupRecord]) -> None:
        _refuse_others(caller, key)

        def work(shelf: Shelf) -> None:
            group = demand(shelf, key)
            group.change(change(group.record))

        await self._store.run(work)


def _refuse_others(caller: Caller, key: GroupKey) -> None:
    if (key.account, key.region) != (caller.account, caller.region):
        raise errors.no_group()


def _resource(parameters: Parameters) -> GroupKey:
    key = of_arn(parameters["resourceArn"])
    if key is None:
        raise errors.invalid(f"The resource ARN {parameters['resourceArn']} is not that of a log group.")
    return key


def _identified(caller: Caller, identifiers: list[str] | None) -> frozenset[GroupKey] | None:
    if identifiers is None:
        return None
    return frozenset(of_arn(one) or own(caller, one) for one in identifiers)


def _tagging(tags: Mapping[str, str]) -> Callable[[GroupRecord], GroupRecord]:
    def change(record: GroupRecord) -> GroupRecord:
        merged = {**record.tags, **tags}
        if len(merged) > _MOST_TAGS:
            raise AwsError("TooManyTagsException", f"A log group can have at most {_MOST_TAGS} tags.")
        return replace(record, tags=merged)

    return change


def _untagging(names: list[str]) -> Callable[[GroupRecord], GroupRecord]:
    gone = frozenset(names)
    return lambda record: replace(record, tags={k: v for k, v in record.tags.items() if k not in gone})


def _shown(view: GroupView) -> dict[str, Any]:
    record = view.record
    shown: dict[str, Any] = {
        "logGroupName": view.key.name,
        "creationTime": record.created,
        "metricFilterCount": len(record.metric_filters),
        "arn": f"{view.key.arn}:*",
        "logGroupArn": view.key.arn,
        "storedBytes": view.size,
        "logGroupClass": record.log_class,
        "deletionProtectionEnabled": record.protected,
    }
    if record.retention is not None:
        shown["retentionInDays"] = record.retention
    return shown
