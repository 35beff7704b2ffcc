"""What subscription filters and metric filters have in common: both belong to a group, under a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from lambent.services.logs import errors, patterns
from lambent.services.logs.pages import demand, own, page
from lambent.services.logs.records import GroupKey, GroupRecord
from lambent.services.logs.shelf import Shelf
from lambent.services.logs.store import LogStore
from lambent.wire.errors import not_built
from lambent.wire.operations import Caller, Parameters

Filter = Mapping[str, Any]
"""As it is described, without the name of its group."""


class Kind(NamedTuple):
    """Where the filters of a kind lie in a group's record, by their names."""

    of: Callable[[GroupRecord], Mapping[str, Filter]]
    changed: Callable[[GroupRecord, Mapping[str, Filter]], GroupRecord]


SUBSCRIPTIONS = Kind(lambda record: record.subscriptions, lambda record, found: replace(record, subscriptions=found))
METRICS = Kind(lambda record: record.metric_filters, lambda record, found: replace(record, metric_filters=found))


class Filters:
    """The filters of one kind; a group can have `most` of them."""

    def __init__(self, store: LogStore, kind: Kind, most: int) -> None:
        self._store = store
        self._kind = kind
        self._most = most

    async def put(self, caller: Caller, parameters: Parameters, members: Iterable[str]) -> None:
        """Make it, or change it. `members` are those of the parameters that are kept."""
        key, name = own(caller, parameters["logGroupName"]), parameters["filterName"]
        if parameters.get("applyOnTransformedLogs"):
            raise not_built("log transformers, and filters of what they make")
        if "fieldSelectionCriteria" in parameters:
            raise not_built("fieldSelectionCriteria of filters")
        patterns.compile(parameters["filterPattern"])
        now = self._store.now
        found = {
            member: parameters[member] for member in ("filterName", "filterPattern", *members) if member in parameters
        }

        def work(shelf: Shelf) -> None:
            group = demand(shelf, key)
            known = dict(self._kind.of(group.record))
            if name not in known and len(known) >= self._most:
                raise errors.limit("Resource limit exceeded.")
            created = known.get(name, {}).get("creationTime", now)
            group.change(self._kind.changed(group.record, {**known, name: {**found, "creationTime": created}}))

        await self._store.run(work)

    async def delete(self, caller: Caller, parameters: Parameters, missing: str) -> None:
        key, name = own(caller, parameters["logGroupName"]), parameters["filterName"]

        def work(shelf: Shelf) -> None:
            group = demand(shelf, key)
            known = dict(self._kind.of(group.record))
            if known.pop(name, None) is None:
                raise errors.missing(missing)
            group.change(self._kind.changed(group.record, known))

        await self._store.run(work)

    async def describe(
        self, caller: Caller, parameters: Parameters, fits: Callable[[Filter], bool] = lambda one: True
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Of one group, or of all; with `nextToken` when more follow."""
        prefix = parameters.get("filterNamePrefix", "")
        name = parameters.get("logGroupName")

        def work(shelf: Shelf) -> list[tuple[GroupKey, GroupRecord]]:
            if name is not None:
                group = demand(shelf, own(caller, name))
                return [(group.key, group.record)]
            groups = shelf.groups.values()
            return [(one.key, one.record) for one in groups if one.key[:2] == (caller.account, caller.region)]

        found = [
            {**one, "logGroupName": key.name}
            for key, record in await self._store.run(work)
            for one in self._kind.of(record).values()
            if one["filterName"].startswith(prefix) and fits(one)
        ]
        return page(
            found,
            lambda one: [one["logGroupName"], one["filterName"]],
            parameters.get("limit", 50),
            parameters.get("nextToken"),
        )
