"""The composition root: the only room that knows every other."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from contextlib import AsyncExitStack

from lambent.app.actions import declare
from lambent.app.credentials import Credentials
from lambent.app.elsewhere import start_neighbours
from lambent.app.engine import Engine, start_driver, start_engine
from lambent.app.explanations import Explanations
from lambent.app.failures import StartError
from lambent.app.figures import Figures
from lambent.app.metrics import Lambda, publisher, start_metrics
from lambent.app.neighbours import lender, start_ecr, start_identity, start_kms, start_logs, start_s3
from lambent.app.state import State, open_state
from lambent.app.stores import Stores, load
from lambent.base.clock import SystemClock
from lambent.base.db import DatabaseError
from lambent.base.http import HttpServer
from lambent.base.lockfile import DirectoryInUse
from lambent.config import Config, ConfigError
from lambent.control.aliases import Aliases
from lambent.control.attachments import Attachments
from lambent.control.code import Code
from lambent.control.code_signing import CodeSigning
from lambent.control.concurrency import Concurrency
from lambent.control.event_invoke import AppliedConfigs
from lambent.control.execution_roles import ExecutionRoles
from lambent.control.file_systems import FileSystems
from lambent.control.functions import Functions
from lambent.control.guards import Guards
from lambent.control.image_reference import own_hosts
from lambent.control.images import Images
from lambent.control.layers import Layers
from lambent.control.links import PREFIX, CodeLinks
from lambent.control.operations import register
from lambent.control.orphans import Orphans
from lambent.control.permissions import Permissions
from lambent.control.plaintext import seal_what_is_readable
from lambent.control.secrets import Revealing, Secrets
from lambent.control.versions import Versions
from lambent.endpoints import Endpoints
from lambent.engine.doors import Doors
from lambent.engine.operations import Invocations
from lambent.engine.runtimes import Missing
from lambent.engine.sandbox import Driver, SandboxError
from lambent.services.iam.gate import IamGate
from lambent.services.kms.root import RootKeyError
from lambent.sources.delivery import Delivery
from lambent.sources.event_queue import EventQueue
from lambent.wire import models
from lambent.wire.doorman import Doorman
from lambent.wire.doorway import Doorway
from lambent.wire.gate import Gate, Open
from lambent.wire.gateway import Gateway
from lambent.wire.operations import Client, Operations
from lambent.wire.signatures import Verifier
from lambent.wire.sigv4 import Accounts

__all__ = ["App", "StartError"]

_STOP_SECONDS = 5.0  # running requests may take this long to end when the server stops


class App:
    """One server: everything between `start` and `stop`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._clock = SystemClock()
        self._accounts = Accounts()
        self.operations = Operations()
        self._closing = AsyncExitStack()  # what has been started, to be stopped in reverse
        self._driver: Driver
        self._port = config.port  # that it listens on

    @property
    def isolation(self) -> str:
        return self._driver.name

    @property
    def weaknesses(self) -> tuple[str, ...]:
        return self._driver.weaknesses

    async def start(self) -> str:
        """Open the data directory, make the engine ready, listen. Returns the endpoint. StartError."""
        try:
            return await self._start()
        except (ConfigError, DirectoryInUse, DatabaseError, RootKeyError, SandboxError) as error:
            raise StartError(str(error)) from error

    async def stop(self) -> None:
        """Stop what was started, last first."""
        await self._closing.aclose()

    async def _start(self) -> str:
        config, clock, operations, closing = self._config, self._clock, self.operations, self._closing
        state = await open_state(config, clock, closing)
        operations.gate = self._gate(state)
        await start_kms(clock, state, operations, closing)
        variables = Secrets(Client(operations, clock))
        await seal_what_is_readable(state.db, variables)
        stores = await load(state, clock)
        metrics = await start_metrics(config, clock, state, operations, closing)
        logs = await start_logs(config, clock, state, publisher(metrics), operations, closing)
        self._driver = await start_driver(config, state, closing)
        lends = lender(clock, state, self._accounts)
        credentials = Credentials(lends)
        doors = Doors() if config.door is not None else None
        engine = await start_engine(
            config, clock, state, stores, self._driver, logs, variables, credentials, doors, closing
        )
        metrics.collect(Lambda(engine.invoker, clock).points)
        iam = await start_identity(clock, state, self._accounts, operations, closing)
        orphans = await self._start_orphans(state, stores, engine)
        roles = ExecutionRoles(iam.trust.allows, lambda: operations.gate.enforces)
        functions = self._control(state, stores, engine, variables, orphans, roles)
        s3 = await start_s3(clock, state, operations, closing)
        await self._start_work(state, stores, engine)
        events = await self._start_events(state, stores, engine)
        Invocations(stores.functions, stores.aliases, engine.invoker, events).register(operations)
        Guards(state.db).stand_at(operations.gate)
        ecr = start_ecr(config, clock, state, stores.functions.digests, operations, self._accounts, closing)
        doorman = (
            Doorman(Verifier(self._accounts, clock), lends.recall, iam.recall) if operations.gate.enforces else None
        )
        gateway = Gateway(operations, clock, self._accounts, config.region, doorman)
        neighbours = start_neighbours(config, clock, state, self._accounts, operations, gateway, doorman, closing)
        gateway.invite(s3.pages)
        gateway.take(s3.forms(operations))
        gateway.host(ecr.registry)  # after them: an API's stage may be called v2, as the registry's paths begin
        gateway.route(PREFIX, lambda request: functions.download(request.path, request.query), open_to_all=True)
        own = (clock, engine.invoker, engine.runtimes, logs, stores.functions, self._driver.name, neighbours)
        Endpoints(*own).mount(gateway)
        gateway.route("/_lambent/metrics", Figures(engine.invoker, events, metrics.flush).page)
        if isinstance(operations.gate, IamGate):
            Explanations(operations.gate, config.region).mount(gateway)
        declare(operations)
        endpoint = await self._listen(gateway)
        neighbours.embedded.configure(endpoint=endpoint, native=sorted(operations.services()))
        if doors is not None:
            doors.lead_to(Doorway(gateway, open_to_all=[PREFIX]), endpoint)
        self._warm(stores, engine)
        return endpoint

    def _gate(self, state: State) -> Gate:
        """Who says what callers may do."""
        if self._config.auth == "off":
            return Open()
        return IamGate(state.db, self._clock, self._accounts, self._config.organizations)

    async def _start_orphans(self, state: State, stores: Stores, engine: Engine) -> Orphans:
        """What gives the disk back that no function, layer or environment needs any more."""
        orphans = Orphans((stores.functions, stores.layers), state.blobs, state.trees, engine.invoker.digests)
        engine.invoker.on_end(orphans.look_again)
        images = stores.functions.images()
        await orphans.start({digest for image in images for digest in image.digests})
        await engine.images.restore(images)
        self._closing.push_async_callback(orphans.stop)
        return orphans

    def _control(
        self,
        state: State,
        stores: Stores,
        engine: Engine,
        variables: Secrets,
        orphans: Orphans,
        roles: ExecutionRoles,
    ) -> Functions:
        """Lambda's operations but those that run functions, registered."""
        config, clock, operations, db = self._config, self._clock, self.operations, state.db
        store, aliases = stores.functions, stores.aliases
        code = Code(state.blobs, state.trees, orphans, Client(operations, clock))
        means = (code, CodeLinks(state.blobs, clock, state.signing_key), clock)
        layers = Layers(stores.layers, *means, store.code_size, config.organizations)
        attachments = Attachments(layers, stores.layers, orphans, state.trees)
        signing = CodeSigning(db, store, clock)
        own = own_hosts(lambda: self._port)
        images = Images(Client(operations, clock), state.registry_blobs, state.remotes, own)
        shares = FileSystems(config.file_systems, engine.driver.no_file_systems)
        functions = Functions(
            store, aliases, stores.concurrency, attachments, signing, variables, images, shares, roles, *means
        )
        revealing = Revealing(operations, variables)
        functions.register(revealing)
        Versions(store).register(revealing)
        layers.register(operations)
        register(operations, db, store, aliases, stores.layers, signing, clock)
        Aliases(store, aliases, clock).register(operations)
        Permissions(db, store, aliases).register(operations)
        Concurrency(store, aliases, stores.concurrency, clock, stores.code_size, engine.provisioner.allocated).register(
            operations
        )
        return functions

    async def _start_work(self, state: State, stores: Stores, engine: Engine) -> None:
        """Go on with the jobs of the last run, and make anew what does not outlive a server."""
        await state.jobs.start()
        self._closing.push_async_callback(state.jobs.stop)
        await stores.concurrency.renew()
        engine.snapshots.renew(stores.functions.every_version())

    async def _start_events(self, state: State, stores: Stores, engine: Engine) -> EventQueue:
        configs = AppliedConfigs(state.db)
        invoker = engine.invoker
        note = invoker.meters.note
        delivery = Delivery(
            state.db, stores.functions, stores.aliases, configs, stores.concurrency, invoker.invoke, self._clock, note
        )
        events = EventQueue(state.db, delivery, stores.concurrency, self._clock, note=note)
        stores.functions.on_remove(events.let_go)
        await events.start()
        self._closing.push_async_callback(events.stop)
        return events

    async def _listen(self, gateway: Gateway) -> str:
        config = self._config
        server = HttpServer(gateway)
        self._closing.push_async_callback(server.stop, _STOP_SECONDS)
        try:
            await server.start(config.host, config.port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartError(
                f"cannot listen on {config.host}:{config.port}: {reason}. Choose another port with --port"
            ) from error
        self._port = server.port
        if config.host == "127.0.0.1":  # some clients resolve localhost to ::1 first
            with contextlib.suppress(OSError):
                await server.start("::1", server.port)
        host = f"[{config.host}]" if ":" in config.host else config.host
        return f"http://{host}:{server.port}"

    def _warm(self, stores: Stores, engine: Engine) -> None:
        """Get ready for the functions that are there, and load models before the first request needs them."""

        async def warm() -> None:
            for service in ("lambda", "kms"):  # KMS opens the environment variables of the first functions that run
                await asyncio.to_thread(models.service, service)
            for name in stores.functions.runtimes():
                runtime = await asyncio.to_thread(engine.runtimes.find, name)
                if not isinstance(runtime, Missing):
                    engine.preparer.warm(runtime)
            # What is there by now stays: a full collection that looks at it stops every request for 15 ms and more.
            gc.freeze()

        task = asyncio.get_running_loop().create_task(warm())
        self._closing.push_async_callback(_cancelled, task)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
