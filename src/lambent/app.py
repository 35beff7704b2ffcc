"""The composition root: the only file that knows every room."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import logging
import os
import secrets
import string
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from lambent.base import jobs as jobs_module
from lambent.base.blobs import LocalBlobs
from lambent.base.clock import SystemClock
from lambent.base.db import DatabaseError, SqliteDatabase, migrate
from lambent.base.files import write_durably
from lambent.base.http import HttpServer
from lambent.base.jobs import Jobs
from lambent.base.lockfile import DirectoryInUse, DirectoryLock
from lambent.base.trees import Trees
from lambent.config import Config, ConfigError, root_key
from lambent.control import alias_store, concurrency_store, layer_store, plaintext
from lambent.control import resources as resources_module
from lambent.control import store as store_module
from lambent.control.alias_store import AliasStore
from lambent.control.aliases import Aliases
from lambent.control.attachments import Attachments
from lambent.control.code_signing import CodeSigning
from lambent.control.concurrency import Concurrency
from lambent.control.concurrency_store import PROVISION, ConcurrencyStore
from lambent.control.event_invoke import AppliedConfigs
from lambent.control.file_systems import FileSystems
from lambent.control.functions import Functions
from lambent.control.images import Images
from lambent.control.layer_store import LayerStore
from lambent.control.layers import Layers
from lambent.control.links import PREFIX
from lambent.control.operations import register
from lambent.control.orphans import Orphans
from lambent.control.permissions import Permissions
from lambent.control.plaintext import seal_what_is_readable
from lambent.control.records import Function, FunctionKey
from lambent.control.secrets import Revealing, Secrets
from lambent.control.store import PREPARE, FunctionStore
from lambent.control.versions import Versions
from lambent.endpoints import Endpoints
from lambent.engine.drivers.namespaces import NamespaceDriver
from lambent.engine.drivers.oci import Engine, OciDriver
from lambent.engine.drivers.process import ProcessDriver
from lambent.engine.images import ImageLayers
from lambent.engine.invoker import Invoker
from lambent.engine.lease import Leases
from lambent.engine.operations import Invocations
from lambent.engine.preparation import Preparer
from lambent.engine.provisioned import Provisioner
from lambent.engine.runtimes import Missing, Runtimes
from lambent.engine.sandbox import Driver, SandboxError
from lambent.engine.snapshots import Snapshots
from lambent.services.ecr.names import Registry
from lambent.services.ecr.service import Ecr
from lambent.services.ecr.store import MIGRATIONS as ECR_MIGRATIONS
from lambent.services.iam import store as iam_store
from lambent.services.iam.service import Iam
from lambent.services.kms import store as kms_store
from lambent.services.kms.root import RootKeyError, from_file
from lambent.services.kms.service import Kms
from lambent.services.logs import service as logs_service
from lambent.services.logs.store import LogStore
from lambent.services.sts import sessions as sts_store
from lambent.services.sts.service import Sts
from lambent.services.sts.sessions import Sessions
from lambent.sources import event_store
from lambent.sources.delivery import Delivery
from lambent.sources.event_queue import EventQueue
from lambent.wire import models
from lambent.wire.gateway import Gateway
from lambent.wire.operations import Client, Operations
from lambent.wire.sigv4 import DEFAULT_ACCOUNT, Accounts

_log = logging.getLogger("lambent")
_KEY_LETTERS = string.ascii_uppercase + string.digits
_STOP_SECONDS = 5.0  # running requests may take this long to end when the server stops


class StartError(Exception):
    """The server cannot start. The message says what to do."""


class App:
    """One server: everything between `start` and `stop`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._clock = SystemClock()
        self._accounts = Accounts()
        self._closing: list[Callable[[], Awaitable[None]]] = []  # what has been started, to be stopped in reverse
        self._driver: Driver

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
        while self._closing:
            await self._closing.pop()()

    async def _start(self) -> str:
        config = self._config
        data = _open_directory(config.data_dir)
        lock = DirectoryLock(data)
        self._on_stop(lambda: _call(lock.release))
        db = SqliteDatabase(data / "lambent.db")
        self._on_stop(db.close)
        stores = (store_module, resources_module, layer_store, alias_store, concurrency_store, event_store)
        modules = (jobs_module, *stores, kms_store, iam_store, sts_store, plaintext)
        await migrate(db, [*(step for module in modules for step in module.MIGRATIONS), *ECR_MIGRATIONS])
        blobs = LocalBlobs(data / "blobs")
        trees = await asyncio.to_thread(Trees, data / "trees")
        self._on_stop(trees.close)
        operations = Operations()
        root = await asyncio.to_thread(_root_key, config, data / "root.key")
        kms = Kms(db, self._clock, root)
        await kms.start()
        self._on_stop(kms.stop)
        kms.register(operations)
        variables = Secrets(Client(operations, self._clock))
        await seal_what_is_readable(db, variables)
        jobs = Jobs(db, self._clock)
        store = FunctionStore(db, jobs, self._clock)
        await store.load()
        layer_versions = LayerStore(db)
        await layer_versions.load()
        aliases = AliasStore(db, self._clock)
        await aliases.load()
        store.on_remove(aliases.let_go)
        permissions = Permissions(db, store, aliases)
        concurrency = ConcurrencyStore(db, jobs, self._clock)
        await concurrency.load()
        store.on_remove(concurrency.let_go)
        aliases.on_move(concurrency.alias_moved)

        logs = LogStore(data / "logs", self._clock, config.logs_size << 20)
        try:
            await logs.start()
        except OSError as error:
            raise StartError(f"cannot use {data / 'logs'}: {error.strerror or error}") from error
        self._on_stop(logs.stop)
        logs_service.register(logs, operations)
        self._driver = self._choose_driver(data)
        await self._driver.start()
        self._on_stop(self._driver.stop)
        runtimes = Runtimes(config.runtimes, config.install_command)
        invoker = Invoker(
            self._driver,
            runtimes,
            self._clock,
            logs,
            self._credentials,
            variables=variables.open,
            budget=config.max_environments,
            idle_seconds=config.idle_timeout,
            leases=Leases(concurrency),
            spares=config.snap_start_spares,
            revoke=lambda credentials: self._accounts.forget(credentials["AWS_ACCESS_KEY_ID"]),
        )
        await invoker.start()
        self._on_stop(invoker.stop)

        def changed(key: FunctionKey) -> None:
            invoker.retire(key, store.versions(key).values())

        store.on_change(changed)
        registry_blobs = LocalBlobs(data / "registry")
        layers_of_images = ImageLayers(registry_blobs, trees)
        snapshots = Snapshots(invoker)
        self._on_stop(snapshots.stop)
        preparer = Preparer(store, blobs, trees, layers_of_images, runtimes, self._driver, snapshots)
        self._on_stop(preparer.stop)
        jobs.bind(PREPARE, preparer.prepare)
        provisioner = Provisioner(store, concurrency, invoker)
        concurrency.on_change(provisioner.changed)
        jobs.bind(PROVISION, provisioner.provision)
        orphans = Orphans((store, layer_versions), blobs, trees, invoker.digests)
        invoker.on_end(orphans.look_again)
        images = store.images()
        await orphans.start({digest for image in images for digest in image.digests})
        await layers_of_images.restore(images)
        self._on_stop(orphans.stop)
        key = await asyncio.to_thread(_signing_key, data / "presign.key")
        means = (blobs, trees, orphans, self._clock, key)
        layers = Layers(layer_versions, *means, store.code_size, config.organizations)
        attachments = Attachments(layers, layer_versions, orphans, trees)
        signing = CodeSigning(db, store, self._clock)
        registered = Images(Client(operations, self._clock), registry_blobs)
        shares = FileSystems(config.file_systems, self._driver.no_file_systems)
        functions = Functions(store, aliases, concurrency, attachments, signing, variables, registered, shares, *means)
        await jobs.start()
        self._on_stop(jobs.stop)
        await concurrency.renew()
        snapshots.renew(store.every_version())

        def code_size(account: str, region: str) -> int:
            return store.code_size(account, region) + layer_versions.code_size(account, region)

        delivery = Delivery(db, store, aliases, AppliedConfigs(db), concurrency, invoker.invoke, self._clock)
        events = EventQueue(db, delivery, concurrency, self._clock)
        store.on_remove(events.let_go)
        await events.start()
        self._on_stop(events.stop)

        revealing = Revealing(operations, variables)
        functions.register(revealing)
        layers.register(operations)
        register(operations, db, store, aliases, layer_versions, signing, self._clock)
        iam = Iam(db, self._clock, self._accounts, root)
        await iam.start()
        iam.register(operations)
        sessions = Sessions(db, self._clock, self._accounts, root)
        await sessions.start()
        Sts(iam.directory, self._accounts, sessions).register(operations)
        registry = Registry(DEFAULT_ACCOUNT, config.region)
        ecr = Ecr(db, registry_blobs, self._clock, key, registry, keep=store.digests)
        ecr.register(operations)
        ecr.start()
        self._on_stop(ecr.stop)
        Versions(store).register(revealing)
        Aliases(store, aliases, self._clock).register(operations)
        permissions.register(operations)
        Concurrency(store, aliases, concurrency, self._clock, code_size, provisioner.allocated).register(operations)
        Invocations(store, aliases, invoker, events).register(operations)
        gateway = Gateway(operations, self._clock, self._accounts, config.region)
        own = Endpoints(self._clock, invoker, runtimes, logs, store, self._driver.name)
        own.mount(gateway)
        gateway.host(ecr.registry)
        gateway.route(PREFIX, lambda request: functions.download(request.path, request.query))
        endpoint = await self._listen(gateway)
        self._warm(store, preparer, runtimes)
        return endpoint

    def _on_stop(self, action: Callable[[], Awaitable[None]]) -> None:
        self._closing.append(action)

    def _choose_driver(self, data: Path) -> Driver:
        config = self._config
        if config.isolation == "process":
            return ProcessDriver(data / "sandboxes", data / "trees")
        tag = _tag(data)
        if config.isolation in ("oci", "gvisor"):
            engine = Engine.find(config.isolation, config.oci_runtime)
            return OciDriver(data / "sandboxes", data / "trees", tag=tag, engine=engine, tmp=config.tmp)
        return NamespaceDriver(
            data / "sandboxes",
            data / "trees",
            tag=tag,
            stems=config.stems,
            tmp=config.tmp,
            file_systems=config.file_systems,
        )

    def _credentials(self, function: Function) -> Mapping[str, str]:
        """Temporary keys of the shape that AWS gives; the server knows whose they are."""
        key = "ASIA" + "".join(secrets.choice(_KEY_LETTERS) for _ in range(16))
        account, role = function.key.account, function.role.rpartition("/")[2]
        session = f"arn:aws:sts::{account}:assumed-role/{role}/{function.key.name}"
        self._accounts.issue(key, account, session, function.role)
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
            "AWS_SESSION_TOKEN": secrets.token_urlsafe(96),
        }

    async def _listen(self, gateway: Gateway) -> str:
        config = self._config
        server = HttpServer(gateway)
        self._on_stop(lambda: server.stop(_STOP_SECONDS))
        try:
            await server.start(config.host, config.port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartError(
                f"cannot listen on {config.host}:{config.port}: {reason}. Choose another port with --port"
            ) from error
        if config.host == "127.0.0.1":  # some clients resolve localhost to ::1 first
            with contextlib.suppress(OSError):
                await server.start("::1", server.port)
        host = f"[{config.host}]" if ":" in config.host else config.host
        return f"http://{host}:{server.port}"

    def _warm(self, store: FunctionStore, preparer: Preparer, runtimes: Runtimes) -> None:
        """Get ready for the functions that are there, and load models before the first request needs them."""

        async def warm() -> None:
            for service in ("lambda", "kms"):  # KMS opens the environment variables of the first functions that run
                await asyncio.to_thread(models.service, service)
            for name in store.runtimes():
                runtime = await asyncio.to_thread(runtimes.find, name)
                if not isinstance(runtime, Missing):
                    preparer.warm(runtime)
            # What is there by now stays: a full collection that looks at it stops every request for 15 ms and more.
            gc.freeze()

        task = asyncio.get_running_loop().create_task(warm())
        self._on_stop(lambda: _cancelled(task))


def _open_directory(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(path, 0o700)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(f"cannot use the data directory {path}: {reason}. Choose another with --data-dir") from error
    return path


def _signing_key(path: Path) -> bytes:
    """The key behind the links to function code; made at the first start, readable by its owner only."""
    if not path.exists():
        write_durably(path, secrets.token_bytes(32))
    return path.read_bytes()


def _root_key(config: Config, path: Path) -> bytes:
    """The key that everything secret in the data directory lies under."""
    return root_key(config.root_key) or from_file(path)


def _tag(data: Path) -> str:
    """Tells what belongs to this data directory's server from other servers' of the machine."""
    return hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:12]


async def _call(action: Callable[[], None]) -> None:
    action()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
