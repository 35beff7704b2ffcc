"""The registry of extensions, alone: calls in any order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent.engine.extensions import (
    INVOKE,
    LIMIT,
    SHUTDOWN,
    TRANSITIONS,
    Event,
    Extension,
    ExtensionState,
    Refused,
    Registry,
)

EVENT = {"eventType": INVOKE}


def refusal(call: object, *arguments: object) -> str:
    with pytest.raises(Refused) as refused:
        call(*arguments)  # type: ignore[operator]
    return refused.value.kind


def test_an_external_extension_is_known_by_its_name() -> None:
    registry = Registry()
    registry.launch("watcher", "id-1")
    assert registry.awaited
    extension = registry.register("watcher", [INVOKE, SHUTDOWN, INVOKE], "unused")
    assert (extension.id, extension.external, extension.events) == ("id-1", True, (INVOKE, SHUTDOWN))
    assert not registry.awaited
    assert registry.busy == 1
    assert refusal(registry.register, "watcher", [], "id-2") == "Extension.InvalidExtensionState"


def test_any_other_name_is_an_internal_one() -> None:
    registry = Registry()
    extension = registry.register("inside", [INVOKE], "id-1")
    assert (extension.id, extension.external) == ("id-1", False)
    assert refusal(registry.register, "inside", [], "id-2") == "Extension.InvalidExtensionState"
    assert refusal(registry.register, "other", [SHUTDOWN], "id-2") == "Extension.InvalidEventType"
    assert refusal(registry.register, "other", ["TEA"], "id-2") == "Extension.InvalidEventType"
    registry.open = False
    assert refusal(registry.register, "other", [], "id-2") == "Extension.RegistrationClosed"


def test_there_are_ten_at_most() -> None:
    registry = Registry()
    for number in range(LIMIT):
        registry.register(f"x{number}", [], str(number))
    assert refusal(registry.register, "one more", [], "id") == "Extension.TooManyExtensions"


def test_events_go_to_those_who_asked_for_them() -> None:
    registry = Registry()
    got: list[tuple[str, Event]] = []
    for name, events in (("a", [INVOKE]), ("b", [])):
        extension = registry.register(name, events, name)
        registry.next(extension, lambda event, name=name: got.append((name, event)))  # type: ignore[misc]
    registry.invoke(EVENT)
    assert got == [("a", EVENT)]
    assert registry.busy == 1
    assert refusal(registry.next, registry.identified("b"), got.append) == "Extension.InvalidExtensionState"
    registry.next(registry.identified("a"), got.append)  # type: ignore[arg-type]
    assert registry.busy == 0


def test_the_shutdown_event_reaches_also_who_asks_later() -> None:
    registry = Registry()
    got: list[Event] = []
    registry.launch("early", "1")
    registry.launch("late", "2")
    registry.launch("deaf", "3")
    registry.next(registry.register("early", [SHUTDOWN], ""), got.append)
    late = registry.register("late", [SHUTDOWN], "")
    registry.next(registry.register("deaf", [INVOKE], ""), got.append)
    farewell = {"eventType": SHUTDOWN}
    assert [extension.name for extension in registry.shutdown(farewell)] == ["early", "late"]
    assert got == [farewell]
    registry.next(late, got.append)
    assert got == [farewell, farewell]


def test_the_first_error_is_the_reason() -> None:
    registry = Registry()
    registry.launch("watcher", "1")
    extension = registry.register("watcher", [INVOKE], "")
    registry.init_error(extension, "Watcher.NoKey")
    registry.init_error(extension, "Watcher.Other")
    assert (extension.error_type, registry.fatal) == ("Watcher.NoKey", "Extension.InitError")
    assert refusal(registry.next, extension, print) == "Extension.InvalidExtensionState"
    assert registry.exited("watcher") is extension
    assert registry.exited("watcher") is None
    assert registry.fatal == "Extension.InitError"


def test_an_end_without_a_word_is_a_crash() -> None:
    registry = Registry()
    registry.launch("watcher", "1")
    assert registry.exited("another") is None
    extension = registry.exited("watcher")
    assert extension is not None
    assert (extension.state, registry.fatal) == (ExtensionState.EXITED, "Extension.Crash")


def test_what_could_not_be_launched() -> None:
    registry = Registry()
    registry.launch("watcher", "1", "PermissionDenied")
    assert not registry.awaited
    assert registry.fatal == "Extension.LaunchError"
    [extension] = registry
    assert (extension.state, extension.error_type) == (ExtensionState.LAUNCH_ERROR, "PermissionDenied")


class AnyOrder(RuleBasedStateMachine):
    """Extensions call whatever they like, in any order: nothing but a refusal may come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.numbers = itertools.count()
        self.handed: dict[str, int] = {}
        for name in ("external-0", "external-1"):
            self.registry.launch(name, f"id-{next(self.numbers)}")

    def extension(self, index: int) -> Extension:
        known = list(self.registry)
        return known[index % len(known)]

    @rule(
        name=st.sampled_from(["external-0", "external-1", "internal-0", "internal-1"]),
        events=st.lists(st.sampled_from([INVOKE, SHUTDOWN, "TEA"]), max_size=3),
    )
    def register(self, name: str, events: list[str]) -> None:
        before = {extension.id: extension.state for extension in self.registry}
        try:
            extension = self.registry.register(name, events, f"id-{next(self.numbers)}")
        except Refused:
            assert before == {extension.id: extension.state for extension in self.registry}
        else:
            assert extension.state is ExtensionState.REGISTERED
            assert self.registry.identified(extension.id) is extension

    @rule(index=st.integers(0, 5))
    def ask(self, index: int) -> None:
        extension = self.extension(index)
        before = extension.state
        try:
            self.registry.next(extension, lambda _event: self.got(extension))
        except Refused:
            assert extension.state is before

    def got(self, extension: Extension) -> None:
        self.handed[extension.id] = self.handed.get(extension.id, 0) + 1

    @rule()
    def invoke(self) -> None:
        ready = [e for e in self.registry if INVOKE in e.events and e.state is ExtensionState.READY]
        before = sum(self.handed.values())
        self.registry.invoke(EVENT)
        assert sum(self.handed.values()) == before + len(ready)

    @rule(index=st.integers(0, 5), kind=st.sampled_from(["init_error", "exit_error"]))
    def fail(self, index: int, kind: str) -> None:
        try:
            getattr(self.registry, kind)(self.extension(index), "X.Y")
        except Refused:
            return
        assert self.registry.fatal

    @rule(name=st.sampled_from(["external-0", "external-1", "internal-0"]))
    def exit(self, name: str) -> None:
        if self.registry.exited(name) is not None:
            assert self.registry.fatal

    @precondition(lambda self: self.registry.open)
    @rule()
    def close(self) -> None:
        self.registry.open = False

    @rule()
    def shut_down(self) -> None:
        for extension in self.registry.shutdown({"eventType": SHUTDOWN}):
            assert extension.external
            assert extension.running

    @invariant()
    def nobody_is_idle_with_an_event(self) -> None:
        assert self.registry.busy >= 0
        at_work = {ExtensionState.REGISTERED, ExtensionState.RUNNING}
        alive = [extension for extension in self.registry if extension.state in at_work]
        assert self.registry.busy >= len(alive)
        for extension in self.registry:
            assert (extension.give is not None) <= (extension.state is ExtensionState.READY)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(ExtensionState)
    assert not TRANSITIONS[ExtensionState.EXITED]
