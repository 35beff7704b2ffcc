"""Provisioned concurrency: the job that has environments initialised before anybody asks for them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from lambent.base.jobs import Job
from lambent.control.records import Function, FunctionKey, Provision, Provisioned
from lambent.control.store import FunctionStore
from lambent.engine.invoker import Invoker
from lambent.engine.sandbox import SandboxError
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.provisioned")

_SETTLE_SECONDS = 300.0  # a version that is still being made is worth waiting for
INIT_FAILURE = "FUNCTION_ERROR_INIT_FAILURE"


class Concurrency(Protocol):
    """What the control plane knows of provisioned concurrency."""

    def task(self, job: Job) -> Provision: ...
    def provisioned(self, key: FunctionKey) -> Mapping[str, Provisioned]: ...
    async def finish(self, task: Provision, job: Job, status: str, reason: str | None = None) -> bool: ...


class Provisioner:
    """Keeps as many initialised environments of each version as the control plane asks for."""

    def __init__(self, functions: FunctionStore, concurrency: Concurrency, invoker: Invoker) -> None:
        self._functions = functions
        self._concurrency = concurrency
        self._invoker = invoker

    async def provision(self, job: Job) -> None:
        """Bring the environments up; then say READY, or FAILED with the reason. Repeatable at any point."""
        task = self._concurrency.task(job)
        config = self._concurrency.provisioned(task.key).get(task.qualifier)
        if config is None or config.revision != task.revision:
            return  # deleted or changed meanwhile: the job is done
        await self._functions.settled(task.key, _SETTLE_SECONDS, config.version)
        function = self._functions.serving(task.key, config.version)
        reason = await self._hold(function, config.requested) if function is not None else "FUNCTION_NOT_ACTIVE"
        status = "READY" if reason is None else "FAILED"
        if await self._concurrency.finish(task, job, status, reason) and reason is None:
            await self._revise(task.key, config.version)

    async def _hold(self, function: Function, count: int) -> str | None:
        """Why the environments cannot be had, None when they are there."""
        try:
            failure = await self._invoker.held.hold(function, count)
        except (SandboxError, AwsError, OSError) as error:
            _log.error("provisioned concurrency of %s: %s", function.arn, error)
            return error.message if isinstance(error, AwsError) else str(error)
        return None if failure is None else INIT_FAILURE

    async def _revise(self, key: FunctionKey, version: str) -> None:
        """A version whose environments have become ready has a new revision, as on AWS."""
        try:
            await self._functions.amend(key, lambda function: function, version)
        except AwsError:
            return  # it has been deleted meanwhile

    def changed(self, key: FunctionKey) -> None:
        """End the environments that nothing asks for any more, once what replaces them is ready."""
        configs = self._concurrency.provisioned(key).values()
        if any(config.status == "IN_PROGRESS" for config in configs):
            return
        wanted = {config.version: config.requested for config in configs if config.status == "READY"}
        self._invoker.held.release(key, wanted)

    def allocated(self, key: FunctionKey, qualifier: str) -> int:
        """How many environments are ready for a version or an alias, those of an alias's last version included."""
        configs = self._concurrency.provisioned(key)
        others = {config.version for name, config in configs.items() if name != qualifier}
        held = self._invoker.held.counts(key)
        return sum(count for version, count in held.items() if version not in others)
