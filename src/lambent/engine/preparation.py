"""The job behind CreateFunction and updates: makes sure that the function can run, then says so."""

from __future__ import annotations

import asyncio
import logging

from lambent.base.archives import ArchiveError
from lambent.base.blobs import BlobDamaged, BlobMissing, Blobs
from lambent.base.image_layers import LayerError
from lambent.base.jobs import Job
from lambent.base.remote_registry import Damaged, Denied, NotThere, RegistryError
from lambent.base.trees import Trees
from lambent.control.records import Function
from lambent.control.store import FunctionStore, Preparation
from lambent.engine.images import ImageLayers
from lambent.engine.runtimes import Missing, Runtime, Runtimes
from lambent.engine.sandbox import Driver, SandboxError
from lambent.engine.snapshots import Snapshots
from lambent.engine.spares import snap_started

_log = logging.getLogger("lambent.preparation")


class Preparer:
    """Handles jobs of the kind that the function store enqueues. Repeatable at any point."""

    def __init__(
        self,
        store: FunctionStore,
        blobs: Blobs,
        trees: Trees,
        layers: ImageLayers,
        runtimes: Runtimes,
        driver: Driver,
        snapshots: Snapshots,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._trees = trees
        self._layers = layers
        self._runtimes = runtimes
        self._driver = driver
        self._snapshots = snapshots
        self._warming: set[asyncio.Task[None]] = set()

    async def prepare(self, job: Job) -> None:
        """Unpack code and layers unless they are there, look for the runtime, mark the function Active or Failed."""
        task = Preparation.of(job)
        function = await self._store.get(task.key, task.version)
        if function is None:
            return  # deleted meanwhile: the job is done
        runtime = await asyncio.to_thread(self._runtimes.find, function.runtime)
        if isinstance(runtime, Missing):
            advice = f"To add it: {runtime.remedy}" if runtime.remedy else "`lambent runtimes` lists what is here."
            reason = f"{runtime.reason}. {advice}"
            await self._fail(task, job, "InvalidRuntime", reason)
            return
        if (function.image is not None or runtime.layers) and self._driver.no_images:
            code = "InvalidImage" if function.image is not None else "InvalidRuntime"
            await self._fail(task, job, code, self._driver.no_images)
            return
        if (failure := await self._make_trees(function)) is not None:
            await self._fail(task, job, *failure)
            return
        snapshot = snap_started(function)
        if snapshot and (problem := await self._snapshots.make(function)) is not None:
            await self._fail(task, job, "FunctionError", problem)
            return
        served = await self._store.finish(task.key, task.revision, version=task.version, job=job)
        if snapshot:
            self._snapshots.served(function, served)
        self.warm(runtime)

    async def _make_trees(self, function: Function) -> tuple[str, str] | None:
        """Unpack what the function is made of; (reason code, reason) when that cannot be done."""
        try:
            if function.image is not None:
                await self._layers.unpack(function.image)
            else:
                for digest in function.digests:
                    await self._unpack(digest)
        except BlobMissing as error:
            return ("InvalidZipFileException", str(error)) if function.image is None else ("ImageDeleted", str(error))
        except (ArchiveError, BlobDamaged) as error:
            return "InvalidZipFileException", str(error)
        except (LayerError, Damaged) as error:
            return "InvalidImage", f"The image cannot be used: {error}"
        except Denied as error:
            return "ImageAccessDenied", f"Lambda does not have permission to access the image: {error}"
        except NotThere as error:
            return "ImageDeleted", f"The image is not in its registry any more: {error}"
        except RegistryError as error:
            return "InternalError", f"The image could not be fetched: {error}"
        return None

    async def _fail(self, task: Preparation, job: Job, code: str, reason: str) -> None:
        await self._store.finish(
            task.key, task.revision, version=task.version, job=job, reason_code=code, reason=reason
        )

    async def _unpack(self, digest: str) -> None:
        if not self._trees.exists(digest):
            await self._trees.unpack(digest, await self._blobs.get(digest))

    def warm(self, runtime: Runtime) -> None:
        """Have a sandbox wait for the first invocation; nobody waits for this."""
        task = asyncio.get_running_loop().create_task(self._warm(runtime))
        self._warming.add(task)
        task.add_done_callback(self._warming.discard)

    async def _warm(self, runtime: Runtime) -> None:
        try:
            await self._driver.warm(runtime)
        except (SandboxError, OSError) as error:
            _log.error("no sandbox of %s can be made ready: %s", runtime.name, error)

    async def stop(self) -> None:
        for task in self._warming:
            task.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)
