"""The engine of a server: the driver, what runs on it, and the jobs that it does for the control plane."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from lambent.app.credentials import Credentials
from lambent.app.state import State
from lambent.app.stores import Stores
from lambent.base.clock import Clock
from lambent.config import Config
from lambent.control.concurrency_store import PROVISION
from lambent.control.records import FunctionKey
from lambent.control.secrets import Secrets
from lambent.control.store import PREPARE
from lambent.engine.doors import Doors
from lambent.engine.drivers.namespaces import NamespaceDriver
from lambent.engine.drivers.network import Network, Opening
from lambent.engine.drivers.oci import Engine as OciEngine
from lambent.engine.drivers.oci import OciDriver
from lambent.engine.drivers.process import ProcessDriver
from lambent.engine.images import ImageLayers
from lambent.engine.invoker import Invoker
from lambent.engine.lease import Leases
from lambent.engine.logs import Logs
from lambent.engine.preparation import Preparer
from lambent.engine.provisioned import Provisioner
from lambent.engine.runtimes import Runtimes
from lambent.engine.sandbox import Driver
from lambent.engine.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class Engine:
    driver: Driver
    runtimes: Runtimes
    invoker: Invoker
    images: ImageLayers
    snapshots: Snapshots
    preparer: Preparer
    provisioner: Provisioner


async def start_driver(config: Config, state: State, closing: AsyncExitStack) -> Driver:
    """Choose how functions are fenced in, and make it ready. SandboxError."""
    driver = _driver(config, state)
    await driver.start()
    closing.push_async_callback(driver.stop)
    return driver


def _network(config: Config, state: State) -> Network:
    openings = [Opening(network, port) for network, port in config.network_allowed]
    return Network(config.network, state.tag, openings)


def _driver(config: Config, state: State) -> Driver:
    places = (state.data / "sandboxes", state.data / "trees")
    match config.isolation:
        case "process":
            return ProcessDriver(*places)
        case "oci" | "gvisor":
            engine = OciEngine.find(config.isolation, config.oci_runtime)
            return OciDriver(
                *places,
                tag=state.tag,
                engine=engine,
                tmp=config.tmp,
                file_systems=config.file_systems,
                door=config.door,
                network=_network(config, state),
            )
        case _:
            return NamespaceDriver(
                *places,
                tag=state.tag,
                stems=config.stems,
                tmp=config.tmp,
                file_systems=config.file_systems,
                door=config.door,
                network=_network(config, state),
            )


async def start_engine(
    config: Config,
    clock: Clock,
    state: State,
    stores: Stores,
    driver: Driver,
    logs: Logs,
    variables: Secrets,
    credentials: Credentials,
    doors: Doors | None,
    closing: AsyncExitStack,
) -> Engine:
    """Everything between the driver and the operations, the handlers of the control plane's jobs bound.

    `doors` lead functions to this server's AWS API; None: they find none.
    """
    runtimes = Runtimes(config.runtimes, config.install_command)
    invoker = Invoker(
        driver,
        runtimes,
        clock,
        logs,
        credentials.issue,
        variables=variables.open,
        budget=config.max_environments,
        idle_seconds=config.idle_timeout,
        leases=Leases(stores.concurrency),
        spares=config.snap_start_spares,
        revoke=credentials.revoke,
        doors=doors,
    )
    await invoker.start()
    closing.push_async_callback(invoker.stop)

    def changed(key: FunctionKey) -> None:
        invoker.retire(key, stores.functions.versions(key).values())

    stores.functions.on_change(changed)
    images = ImageLayers(state.registry_blobs, state.trees, state.remotes)
    closing.push_async_callback(images.stop)
    snapshots = Snapshots(invoker)
    closing.push_async_callback(snapshots.stop)
    preparer = Preparer(stores.functions, state.blobs, state.trees, images, runtimes, driver, snapshots)
    closing.push_async_callback(preparer.stop)
    state.jobs.bind(PREPARE, preparer.prepare)
    provisioner = Provisioner(stores.functions, stores.concurrency, invoker)
    stores.concurrency.on_change(provisioner.changed)
    state.jobs.bind(PROVISION, provisioner.provision)
    return Engine(driver, runtimes, invoker, images, snapshots, preparer, provisioner)
