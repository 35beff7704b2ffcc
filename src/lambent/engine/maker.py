"""Makes execution environments: a sandbox of the runtime, the function's variables, its credentials, its log stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from lambent.base.clock import Clock
from lambent.control.records import Function
from lambent.engine.doors import Doors
from lambent.engine.environment import Changed, Environment
from lambent.engine.logs import Logs
from lambent.engine.runtimes import Missing, Runtime, Runtimes
from lambent.engine.sandbox import Driver
from lambent.engine.states import State
from lambent.engine.telemetry import KEPT_ALL
from lambent.engine.telemetry_buffer import Allowance
from lambent.wire.errors import AwsError

Credentials = Callable[[Function], Mapping[str, str]]
Variables = Callable[[Function], Awaitable[Mapping[str, str]]]
"""Opens a function's own environment variables. Raises AwsError, which then answers the invocation."""


async def no_variables(function: Function) -> Mapping[str, str]:
    return {}


class Maker:
    def __init__(
        self,
        driver: Driver,
        runtimes: Runtimes,
        clock: Clock,
        logs: Logs,
        credentials: Credentials,
        variables: Variables,
        revoke: Callable[[Mapping[str, str]], None],
        doors: Doors | None,
    ) -> None:
        """`credentials` gives each environment its keys, which are given to `revoke` when it has ended.

        `doors` lead functions to this server's AWS API.
        """
        self._driver = driver
        self._runtimes = runtimes
        self._clock = clock
        self._logs = logs
        self._credentials = credentials
        self._variables = variables
        self._revoke = revoke
        self._doors = doors
        self._found: dict[str, Runtime] = {}
        self._telemetry = Allowance(KEPT_ALL)

    async def make(
        self,
        function: Function,
        initialization: str,
        *,
        acquired: Callable[[], None],
        changed: Changed,
        template: Environment | None = None,
        forks: bool = False,
    ) -> Environment:
        """One that has not been started. `acquired` is called once its sandbox is there, or cannot be had.

        It goes on from where the `template` stands, if there is one; `forks`: it is to be a template, if it can.
        """
        try:
            runtime = await self._runtime(function.runtime)
            variables = await self._variables(function)
            sandbox = await (self._driver.acquire(runtime) if template is None else template.fork())
        finally:
            acquired()
        stream = f"{self._clock.now():%Y/%m/%d}/[{function.version}]{self._clock.token(16)}"
        key = function.key
        issued: list[Mapping[str, str]] = []

        def issue() -> Mapping[str, str]:
            issued.append(self._credentials(function))
            return issued[-1]

        def told(environment: Environment) -> None:
            if environment.state is State.DEAD:
                for credentials in issued:
                    self._revoke(credentials)
            changed(environment)

        writer = self._logs.writer(key.account, key.region, function.logging.log_group, stream)
        return Environment(
            function,
            runtime,
            sandbox,
            self._clock,
            log_stream=stream,
            write_log=writer,
            write_lines=writer.many,
            variables=variables,
            credentials=issue(),
            initialization=initialization,
            renew=issue,
            template=template,
            forks=forks,
            changed=told,
            allowance=self._telemetry,
            doors=self._doors,
        )

    async def _runtime(self, name: str) -> Runtime:
        if name not in self._found:
            runtime = await asyncio.to_thread(self._runtimes.find, name)
            if isinstance(runtime, Missing):
                reason = f"The runtime {name} is not available: {runtime.reason}"
                raise AwsError("InvalidRuntimeException", reason)
            self._found[name] = runtime
        return self._found[name]
