"""The page that Prometheus reads: what functions do, and how the engine stands."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from lambent.base.exposition import CONTENT_TYPE, Family, text
from lambent.base.http import Request, Response
from lambent.control.records import FunctionKey
from lambent.engine.environment import Environment
from lambent.engine.invoker import Invoker
from lambent.sources.event_queue import EventQueue

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
_EVENTS = {
    "AsyncEventsReceived": ("lambent_async_events_received_total", "Asynchronous events taken into the queue."),
    "AsyncEventsDropped": ("lambent_async_events_dropped_total", "Asynchronous events given up."),
    "DeadLetterErrors": ("lambent_dead_letter_errors_total", "Events that could not be sent to a dead-letter queue."),
    "DestinationDeliveryFailures": (
        "lambent_destination_delivery_failures_total",
        "Records that could not be sent to a destination.",
    ),
}


class Figures:
    def __init__(self, invoker: Invoker, events: EventQueue, refresh: Callable[[], Awaitable[None]]) -> None:
        """`refresh` brings the totals of the invoker's meters up to date."""
        self._invoker = invoker
        self._events = events
        self._refresh = refresh

    async def page(self, request: Request) -> Response:
        await self._refresh()
        families = [*self._functions(), *self._asynchronous(), *self._engine()]
        environments = [
            (environment, _labels(environment.function.key)) for environment in self._invoker.environments()
        ]
        families += await asyncio.to_thread(_memory, environments)
        return Response(200, (("Content-Type", CONTENT_TYPE),), text(families))

    def _functions(self) -> list[Family]:
        counters = [
            Family("lambent_invocations_total", "counter", "Invocations that have run."),
            Family("lambent_errors_total", "counter", "Invocations that ended in an error of the function."),
            Family("lambent_throttles_total", "counter", "Invocations that were refused for want of concurrency."),
        ]
        duration = Family("lambent_duration_seconds", "histogram", "From the event to the answer.")
        cold = Family("lambent_init_duration_seconds", "histogram", "Init phases that have succeeded: cold starts.")
        meters = self._invoker.meters
        for (key, version), tally in meters.totals.items():
            if not version:
                continue  # of asynchronous events
            labels = _labels(key) | {"version": version}
            for family, value in zip(counters, (tally.invocations, tally.errors, tally.throttles), strict=True):
                family.add(value, **labels)
            duration.spread(tally.duration, _SECONDS, 1000.0, **labels)
        for (key, version), values in meters.cold_starts.items():
            cold.spread(values, _SECONDS, **_labels(key), version=version)
        running = Family("lambent_running_invocations", "gauge", "Invocations that run at this moment.")
        for (kind, account, region, *name), value in meters.running().items():
            if kind == "function":
                running.add(value, account=account, region=region, function=name[0])
        return [*counters, duration, cold, running]

    def _asynchronous(self) -> list[Family]:
        found = []
        for metric, (name, about) in _EVENTS.items():
            family = Family(name, "counter", about)
            for (key, _version), tally in self._invoker.meters.totals.items():
                if metric in tally.others:
                    family.add(tally.others[metric].sum, **_labels(key))
            found.append(family)
        under_way = Family("lambent_async_events_under_way", "gauge", "Asynchronous events that are with a function.")
        under_way.add(self._events.under_way)
        return [*found, under_way]

    def _engine(self) -> list[Family]:
        waiting = Family("lambent_waiting_invocations", "gauge", "Invocations that wait for an environment.")
        for key, count in self._invoker.waiting().items():
            waiting.add(count, **_labels(key))
        states = Counter("frozen" if one.frozen else str(one.state) for one in self._invoker.environments())
        environments = Family("lambent_environments", "gauge", "Execution environments, by state.")
        for state, count in sorted(states.items()):
            environments.add(count, state=state)
        most = Family("lambent_environments_limit", "gauge", "The most execution environments at once.")
        most.add(self._invoker.budget)
        kept = Family("lambent_provisioned_environments", "gauge", "Environments kept by provisioned concurrency.")
        busy = Family("lambent_provisioned_environments_busy", "gauge", "Of these, those at work.")
        for function, taken, count in self._invoker.held.use():
            labels = _labels(function.key) | {"version": function.version}
            kept.add(count, **labels)
            busy.add(taken, **labels)
        return [waiting, environments, most, kept, busy]


def _memory(environments: list[tuple[Environment, dict[str, str]]]) -> list[Family]:
    """Blocks: one file for each environment."""
    peaks: Counter[tuple[tuple[str, str], ...]] = Counter()
    for environment, labels in environments:
        peaks[tuple(labels.items())] += environment.peak_memory()
    family = Family(
        "lambent_environments_peak_memory_bytes", "gauge", "The most memory that the environments have used, added up."
    )
    for pairs, size in peaks.items():
        family.add(size, **dict(pairs))
    resident = Family("process_resident_memory_bytes", "gauge", "Memory of the server's process.")
    resident.add(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    files = Family("process_open_fds", "gauge", "Open file descriptors of the server's process.")
    files.add(len(os.listdir("/proc/self/fd")))
    return [family, resident, files]


def _labels(key: FunctionKey) -> dict[str, str]:
    return {"account": key.account, "region": key.region, "function": key.name}
