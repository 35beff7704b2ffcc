"""The extensions of one execution environment: who has registered, for what, and who is still at work.

Knows nothing of HTTP, processes or time. Source: the Extensions API (2020-01-01) as the runtime interface emulator
implements it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LIMIT = 10  # extensions of one environment, external and internal together
INVOKE, SHUTDOWN = "INVOKE", "SHUTDOWN"

Event = Mapping[str, Any]
Give = Callable[[Event], None]


class ExtensionState(StrEnum):
    """Named as the log and `platform.extension` name them."""

    STARTED = "Started"  # its process runs; it has not registered
    REGISTERED = "Registered"  # it has not asked for an event yet
    READY = "Ready"  # its request for the next event is parked
    RUNNING = "Running"  # it has an event
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"
    LAUNCH_ERROR = "LaunchError"
    EXITED = "Exited"


S = ExtensionState
TRANSITIONS: Mapping[ExtensionState, frozenset[ExtensionState]] = {
    S.STARTED: frozenset({S.REGISTERED, S.LAUNCH_ERROR, S.EXITED}),
    S.REGISTERED: frozenset({S.READY, S.INIT_ERROR, S.EXIT_ERROR, S.EXITED}),
    S.READY: frozenset({S.RUNNING, S.EXIT_ERROR, S.EXITED}),
    S.RUNNING: frozenset({S.READY, S.EXIT_ERROR, S.EXITED}),
    S.INIT_ERROR: frozenset({S.EXITED}),
    S.EXIT_ERROR: frozenset({S.EXITED}),
    S.LAUNCH_ERROR: frozenset(),
    S.EXITED: frozenset(),
}


class Refused(Exception):
    """A call of an extension that AWS answers with HTTP 403 and this error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(slots=True)
class Extension:
    """One extension. Only `Registry` changes it."""

    name: str
    external: bool
    id: str
    state: ExtensionState = S.STARTED
    events: tuple[str, ...] = ()
    error_type: str | None = None
    running: bool = True  # an external one's process has not ended
    give: Give | None = None
    """Answers its parked request."""

    def enter(self, state: ExtensionState) -> None:
        """The only way to another state. Refused when there is no such way."""
        if state not in TRANSITIONS[self.state]:
            reason = "Error: State transition is not allowed"
            message = f"State transition from {self.state} to {state} failed for extension {self.id}. {reason}"
            raise Refused("Extension.InvalidExtensionState", message)
        self.state = state


class Registry:
    """All extensions of one generation of an environment: a reset begins with a new one."""

    def __init__(self) -> None:
        self.open = True
        """Whether extensions may still register: until the runtime asks for its first event."""
        self.fatal: str | None = None
        """The first error that an extension has reported: why the environment failed, whatever exits first."""
        self.members: dict[str, Extension] = {}  # by identifier
        self.busy = 0
        """How many have yet to ask for their first event, or for the next one."""
        self._farewell: Event | None = None  # the SHUTDOWN event, once there is one

    def __iter__(self) -> Iterator[Extension]:
        return iter(list(self.members.values()))

    @property
    def external(self) -> list[Extension]:
        return [extension for extension in self.members.values() if extension.external]

    @property
    def awaited(self) -> bool:
        """Whether an external extension has been started and has not registered yet."""
        return any(extension.state is S.STARTED for extension in self.members.values())

    def named(self, name: str) -> Extension | None:
        return next((extension for extension in self.members.values() if extension.name == name), None)

    # Coming

    def launch(self, name: str, identifier: str, error: str | None = None) -> None:
        """Note an external extension: its process has been started, or could not be for the reason `error`."""
        extension = Extension(name, True, identifier)
        self.members[identifier] = extension
        if error is not None:
            extension.enter(S.LAUNCH_ERROR)
            extension.error_type = error
            extension.running = False
            self.fatal = self.fatal or "Extension.LaunchError"

    def register(self, name: str, events: Iterable[str], identifier: str) -> Extension:
        """Register the external extension called `name`, or an internal one under the new `identifier`."""
        extension = self.named(name)
        wanted = tuple(dict.fromkeys(events))
        external = extension is not None and extension.external
        for event in wanted:
            if event not in (INVOKE, SHUTDOWN):
                raise Refused("Extension.InvalidEventType", f"{event}: ErrorInvalidEventType")
            if event == SHUTDOWN and not external:
                reason = "ShutdownEventNotSupportedForInternalExtension"
                raise Refused("Extension.InvalidEventType", f"{event}: {reason}")
        if not external:
            self._admit(extension)
            extension = self.members[identifier] = Extension(name, False, identifier)
        assert extension is not None
        extension.enter(S.REGISTERED)
        extension.events = wanted
        self.busy += 1
        return extension

    def _admit(self, same: Extension | None) -> None:
        if not self.open:
            raise Refused("Extension.RegistrationClosed", "Extension registration closed already")
        if len(self.members) >= LIMIT:
            raise Refused("Extension.TooManyExtensions", f"Extension limit ({LIMIT}) reached")
        if same is not None:
            raise Refused("Extension.InvalidExtensionState", "Extension with this name already registered")

    def identified(self, identifier: str) -> Extension:
        extension = self.members.get(identifier)
        if extension is None:
            raise Refused("Extension.UnknownExtensionIdentifier", f"Unknown extension {identifier}")
        return extension

    # At work

    def next(self, extension: Extension, give: Give) -> None:
        """It asks for its next event, which `give` will hand over."""
        extension.enter(S.READY)
        self.busy -= 1
        extension.give = give
        if self._farewell is not None and SHUTDOWN in extension.events:
            self._hand(extension, self._farewell)

    def invoke(self, event: Event) -> None:
        """Hand an INVOKE event to all that want one."""
        for extension in self.members.values():
            if INVOKE in extension.events and extension.state is S.READY:
                self._hand(extension, event)

    def shutdown(self, event: Event) -> list[Extension]:
        """Hand the SHUTDOWN event to all that want it, now or when they ask: those that are to end by themselves."""
        self._farewell = event
        leaving = [extension for extension in self.external if extension.running and SHUTDOWN in extension.events]
        for extension in leaving:
            if extension.state is S.READY:
                self._hand(extension, event)
        return leaving

    def _hand(self, extension: Extension, event: Event) -> None:
        give, extension.give = extension.give, None
        extension.enter(S.RUNNING)
        self.busy += 1
        if give is not None:
            give(event)

    # Going

    def init_error(self, extension: Extension, kind: str) -> None:
        self._failed(extension, S.INIT_ERROR, kind, "Extension.InitError")

    def exit_error(self, extension: Extension, kind: str) -> None:
        self._failed(extension, S.EXIT_ERROR, kind, "Extension.ExitError")

    def _failed(self, extension: Extension, state: ExtensionState, kind: str, fatal: str) -> None:
        """Only the first error counts; saying it again does no harm. That its process ends will be the end."""
        if extension.state is state:
            return
        working = extension.state in (S.REGISTERED, S.RUNNING)
        extension.enter(state)
        if not working:
            self.busy += 1  # it will never be idle again
        extension.give = None
        extension.error_type = kind
        self.fatal = self.fatal or fatal

    def exited(self, name: str) -> Extension | None:
        """The process of an external extension has ended."""
        extension = self.named(name)
        if extension is None or not extension.external or not extension.running:
            return None
        extension.running = False
        extension.give = None
        if extension.state not in (S.INIT_ERROR, S.EXIT_ERROR):
            extension.enter(S.EXITED)
        self.fatal = self.fatal or "Extension.Crash"
        return extension
