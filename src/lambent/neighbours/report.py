"""Where each service is and what becomes of its data, as status pages say it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lambent.neighbours.embedded import State
from lambent.neighbours.routes import EMBEDDED, NATIVE, NONE, Choice, Routes

OTHERS = "(others)"


def status(routes: Routes, embedded: State, asked: Collection[str], data: Path) -> dict[str, Any]:
    """{"services": [{"service", "mode", "where", "durable"}], "embedded": {"state", "pid", "starts", "note"}}.

    `durable` is None for an upstream: that is not ours to know.
    """
    rows = [_row(row.service, row.choice, row.durable, embedded, data) for row in routes.rows(asked)]
    rows.append(_row(OTHERS, routes.default, False, embedded, data))
    return {"services": rows, "embedded": asdict(embedded)}


def _row(service: str, choice: Choice, durable: bool | None, embedded: State, data: Path) -> dict[str, Any]:
    return {"service": service, "mode": choice.mode, "where": _where(choice, embedded, data), "durable": durable}


def _where(choice: Choice, embedded: State, data: Path) -> str:
    if choice.mode == NATIVE:
        return str(data)
    if choice.mode == EMBEDDED:
        return "memory of " + (f"process {embedded.pid}" if embedded.pid else f"moto ({embedded.state})")
    return "nowhere" if choice.mode == NONE else choice.url


def localstack(routes: Routes, embedded: State, asked: Collection[str], version: str) -> Mapping[str, Any]:
    """What LocalStack answers at `/_localstack/health`, for tools that wait for it or list its services."""
    words = {NATIVE: "running", NONE: "disabled"}
    services = {row.service: words.get(row.choice.mode, "available") for row in routes.rows(asked)}
    if embedded.state == "running":
        for name in asked:
            if routes.of(name).mode == EMBEDDED:
                services[name] = "running"
    return {"services": services, "edition": "lambent", "version": version}
