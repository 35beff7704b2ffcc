"""Lambent's own paths beside the AWS API: health, status, runtimes and logs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import orjson

from lambent import __version__
from lambent.base.clock import Clock
from lambent.base.http import Request, Response
from lambent.engine.invoker import Invoker
from lambent.engine.runtimes import Runtimes
from lambent.wire.gateway import Gateway

_JSON = ("Content-Type", "application/json")
_MIB = 1 << 20
_ACCOUNT = re.compile(r"[0-9]{12}")


class Functions(Protocol):
    """What the status page asks of the control plane."""

    def count(self) -> int: ...


class Logs(Protocol):
    """What `lambent logs` asks of the log service."""

    async def read(
        self, account: str, region: str, group: str, after: int = 0, limit: int = 1000
    ) -> Sequence[LogEvent]: ...


class Neighbours(Protocol):
    """What the status pages ask of the services that are not Lambda."""

    def status(self) -> Mapping[str, Any]: ...
    def localstack(self, version: str) -> Mapping[str, Any]: ...


class LogEvent(Protocol):
    @property
    def sequence(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def stream(self) -> str: ...
    @property
    def message(self) -> str: ...


def _answer(body: Mapping[str, Any], status: int = 200) -> Response:
    return Response(status, (_JSON,), orjson.dumps(body))


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, "")
    return min(int(text), most) if re.fullmatch(r"[0-9]{1,18}", text) else default


class Endpoints:
    """Handlers for `/_lambent/…`."""

    def __init__(
        self,
        clock: Clock,
        invoker: Invoker,
        runtimes: Runtimes,
        logs: Logs,
        functions: Functions,
        isolation: str,
        neighbours: Neighbours,
    ) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._invoker = invoker
        self._runtimes = runtimes
        self._logs = logs
        self._functions = functions
        self._isolation = isolation
        self._neighbours = neighbours

    def mount(self, gateway: Gateway) -> None:
        gateway.route("/_lambent/health", self.health, open_to_all=True)
        gateway.route("/_lambent/status", self.status)
        gateway.route("/_lambent/runtimes", self.list_runtimes)
        gateway.route("/_lambent/logs/", self.logs)
        for path in ("/_localstack/health", "/health"):  # what LocalStack's tools, and those made for it, wait for
            gateway.route(path, self.localstack_health, open_to_all=True)
        gateway.route("/_localstack/info", self.localstack_info)

    async def health(self, request: Request) -> Response:
        return _answer({"status": "ok", "version": __version__})

    async def localstack_health(self, request: Request) -> Response:
        """LocalStack's shape, so that its tools understand it; `edition` says who it is."""
        return _answer(self._neighbours.localstack(__version__))

    async def localstack_info(self, request: Request) -> Response:
        return _answer(
            {
                "version": __version__,
                "edition": "lambent",
                "is_license_activated": False,
                "system": sys.platform,
                "uptime": int(self._clock.monotonic() - self._started),
            }
        )

    async def status(self, request: Request) -> Response:
        environments = [
            {
                "id": environment.id,
                "function": environment.function.arn,
                "version": environment.function.version,
                "state": "frozen" if environment.frozen else str(environment.state),
                "invocations": environment.invocations,
                "memory_mb": -(-environment.peak_memory() // _MIB),
            }
            for environment in self._invoker.environments()
        ]
        return _answer(
            {
                "version": __version__,
                "pid": os.getpid(),
                "uptime_seconds": round(self._clock.monotonic() - self._started, 1),
                "isolation": self._isolation,
                "functions": self._functions.count(),
                "environments": environments,
                **self._neighbours.status(),
            }
        )

    async def list_runtimes(self, request: Request) -> Response:
        rows = await asyncio.to_thread(self._runtimes.rows)
        return _answer({"runtimes": [asdict(row) for row in rows]})

    async def logs(self, request: Request) -> Response:
        """`/_lambent/logs/NAME?region=&account=&after=&limit=`."""
        name = urllib.parse.unquote(request.path.rsplit("/", 1)[1])
        query = dict(urllib.parse.parse_qsl(request.query))
        account = query.get("account", "000000000000")
        if not name or not _ACCOUNT.fullmatch(account):
            return _answer({"message": "ask for /_lambent/logs/FUNCTION-NAME?region=…&account=<12 digits>"}, 400)
        after, limit = _number(query, "after", 0, 1 << 62), _number(query, "limit", 1000, 10_000)
        group = query.get("group") or f"/aws/lambda/{name}"
        events = await self._logs.read(account, query.get("region", "us-east-1"), group, after, limit)
        listed = [
            {"sequence": e.sequence, "timestamp": e.timestamp, "stream": e.stream, "message": e.message} for e in events
        ]
        return _answer({"events": listed, "next": events[-1].sequence if events else after})
