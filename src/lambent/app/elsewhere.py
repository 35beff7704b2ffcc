"""The services that are not native: the table of who answers for them, and the ways there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambent import config as settings
from lambent.app.failures import StartError
from lambent.app.state import State
from lambent.base.clock import Clock
from lambent.config import Config
from lambent.neighbours import report
from lambent.neighbours.embedded import Embedded
from lambent.neighbours.permission import Permission
from lambent.neighbours.proxy import Neighbours
from lambent.neighbours.routes import Choice, Routes, UnusableChoice
from lambent.neighbours.signing import Signer
from lambent.wire.doorman import Doorman
from lambent.wire.gateway import Gateway
from lambent.wire.operations import Operations
from lambent.wire.sigv4 import Accounts


@dataclass(frozen=True, slots=True)
class Elsewhere:
    routes: Routes
    embedded: Embedded
    proxy: Neighbours
    data: Path

    def status(self) -> Mapping[str, Any]:
        """For `lambent status`."""
        return report.status(self.routes, self.embedded.state, self.proxy.asked, self.data)

    def localstack(self, version: str) -> Mapping[str, Any]:
        """For tools of LocalStack."""
        return report.localstack(self.routes, self.embedded.state, self.proxy.asked, version)


def start_neighbours(
    config: Config,
    clock: Clock,
    state: State,
    accounts: Accounts,
    operations: Operations,
    gateway: Gateway,
    doorman: Doorman | None,
    closing: AsyncExitStack,
) -> Elsewhere:
    """Once every native service is registered. Nothing runs yet: the first request starts what it needs."""
    try:
        routes = Routes({name: Choice(**choice) for name, choice in config.services.items()}, operations.services)
        routes.check()
    except UnusableChoice as error:
        raise StartError(str(error)) from None
    embedded = Embedded(state.data, clock)
    closing.push_async_callback(embedded.stop)

    def is_built(service: str, operation: str) -> bool:
        return operations.find(service, operation) is not None

    permission = Permission(doorman, operations.gate) if doorman is not None else None
    proxy = Neighbours(
        routes, embedded, Signer(settings.variable), accounts, clock, config.region, permission, is_built
    )
    gateway.host(proxy)
    operations.elsewhere = proxy
    return Elsewhere(routes, embedded, proxy, state.data)
