"""What is counted of invocations: plain numbers in memory. It is on every invocation's path: no lock, no file, no scan.

Counted by the name that was invoked and the version that ran, for the minute in which the invocation began, as
CloudWatch wants it. `take` hands over what is new; the totals since the start of the server stay for Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lambent.base.clock import Clock
from lambent.base.sketch import Sketch
from lambent.control.records import FunctionKey
from lambent.engine.invocation import Invocation, Outcome

_MOST_TOTALS = 10_000  # versions that totals are kept of; those that were new first go first


@dataclass(slots=True)
class Tally:
    """Counts of one version."""

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    provisioned: int = 0  # that ran in provisioned environments
    spilled: int = 0  # that found all provisioned environments busy
    duration: Sketch = field(default_factory=Sketch)  # milliseconds
    others: dict[str, Sketch] = field(default_factory=dict)  # by metric: what happens to asynchronous events

    def merge(self, other: Tally) -> None:
        self.invocations += other.invocations
        self.errors += other.errors
        self.throttles += other.throttles
        self.provisioned += other.provisioned
        self.spilled += other.spilled
        self.duration.merge(other.duration)
        for name, values in other.others.items():
            self.others.setdefault(name, Sketch()).merge(values)


@dataclass(slots=True)
class Level:
    """How many invocations run at once."""

    now: int = 0
    most: int = 0  # since it was last taken


Levels = tuple[Level, ...]
"""Of the function, of its account, and of what the account's functions without a reservation share."""


@dataclass(frozen=True, slots=True)
class Count:
    """What is new of one version under one name."""

    key: FunctionKey
    resource: str  # "name" or "name:qualifier", as it was invoked
    version: str  # that ran
    minute: int  # since the epoch
    tally: Tally


_Tallies = dict[tuple[str, str], tuple[FunctionKey, Tally]]  # by the ARN that was invoked and the version


class Meters:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._time = clock.time
        self._minute = int(clock.time() // 60)
        self._tallies: _Tallies = {}
        self._earlier: dict[int, _Tallies] = {}
        self._levels: dict[tuple[FunctionKey, bool], Levels] = {}
        self._by_name: dict[tuple[str, ...], Level] = {}
        self.totals: dict[tuple[FunctionKey, str], Tally] = {}
        """By function and version, since the start of the server: what has been taken."""
        self.cold_starts: dict[tuple[FunctionKey, str], Sketch] = {}
        """Seconds of the init phases that have succeeded, likewise."""

    def began(self, invocation: Invocation, unreserved: bool) -> Levels:
        """Count it among those that run; the result is for `ended`."""
        key = invocation.function.key
        levels = self._levels.get((key, unreserved))
        if levels is None:
            levels = self._levels[key, unreserved] = self._new_levels(key, unreserved)
        for level in levels:
            level.now += 1
            if level.now > level.most:
                level.most = level.now
        return levels

    def _new_levels(self, key: FunctionKey, unreserved: bool) -> Levels:
        place = (key.account, key.region)
        wanted: list[tuple[str, ...]] = [("function", *place, key.name), ("all", *place)]
        if unreserved:
            wanted.append(("unreserved", *place))
        return tuple(self._by_name.setdefault(name, Level()) for name in wanted)

    def ended(
        self, invocation: Invocation, levels: Levels, outcome: Outcome | None, provisioned: bool, spilled: bool
    ) -> None:
        """Count what came of it; no `outcome`: its caller has left, or no environment could be had."""
        for level in levels:
            level.now -= 1
        if not invocation.started:
            return
        took = max(0.0, invocation.answered - invocation.started)
        function = invocation.function
        tally = self._tally(function.key, invocation.invoked_arn, function.version, took)
        tally.invocations += 1
        if provisioned:
            tally.provisioned += 1
        elif spilled:
            tally.spilled += 1
        if outcome is not None:
            tally.duration.add(took * 1000)
            if outcome.function_error is not None:
                tally.errors += 1

    def throttled(self, invocation: Invocation) -> None:
        function = invocation.function
        self._tally(function.key, invocation.invoked_arn, function.version).throttles += 1

    def note(self, key: FunctionKey, qualifier: str | None, metric: str, value: float = 1.0) -> None:
        """Of an asynchronous event, whose version is not known."""
        others = self._tally(key, key.arn(qualifier), "").others
        if metric not in others:
            others[metric] = Sketch()
        others[metric].add(value)

    def initialised(self, key: FunctionKey, version: str, seconds: float) -> None:
        self.cold_starts.setdefault((key, version), Sketch()).add(seconds)
        _bound(self.cold_starts)

    def _tally(self, key: FunctionKey, invoked: str, version: str, took: float = 0.0) -> Tally:
        minute = int((self._time() - took) // 60)
        tallies = self._tallies
        if minute != self._minute:
            if minute > self._minute:
                self._earlier[self._minute] = tallies
                tallies = self._tallies = self._earlier.pop(minute, {})
                self._minute = minute
            else:
                tallies = self._earlier.setdefault(minute, {})
        found = tallies.get((invoked, version))
        if found is None:
            found = tallies[invoked, version] = (key, Tally())
        return found[1]

    # For who keeps them

    def take(self) -> Iterator[Count]:
        """What has been counted since the last time."""
        taken = {**self._earlier, self._minute: self._tallies}
        self._earlier, self._tallies = {}, {}
        for minute, tallies in taken.items():
            for (invoked, version), (key, tally) in tallies.items():
                total = self.totals.setdefault((key, version), Tally())
                total.merge(tally)
                yield Count(key, invoked.split(":function:")[1], version, minute, tally)
        _bound(self.totals)

    def running(self) -> dict[tuple[str, ...], int]:
        """How many invocations run: by ("function", account, region, name), ("all", …), ("unreserved", …)."""
        return {name: level.now for name, level in self._by_name.items()}

    def peaks(self) -> dict[tuple[str, ...], int]:
        """The most that have run at once since the last time, by the same names."""
        found = {name: level.most for name, level in self._by_name.items() if level.most}
        for level in self._by_name.values():
            level.most = level.now
        if len(self._by_name) > _MOST_TOTALS and not any(level.now for level in self._by_name.values()):
            self._by_name.clear()
            self._levels.clear()
        return found


def _bound(totals: dict[tuple[FunctionKey, str], Tally] | dict[tuple[FunctionKey, str], Sketch]) -> None:
    while len(totals) > _MOST_TOTALS:
        del totals[next(iter(totals))]
