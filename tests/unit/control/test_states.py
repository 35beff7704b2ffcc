"""The table in `states`, row by row."""

from __future__ import annotations

import pytest

from lambent.control import states
from lambent.wire.errors import AwsError

from .test_store import function

ACTIVE = {"state": "Active", "last_update_status": "Successful"}
PENDING = {"state": "Pending", "last_update_status": None}
MENDING = {"state": "Pending", "last_update_status": "InProgress"}
UPDATING = {"state": "Active", "last_update_status": "InProgress"}
FAILED = {"state": "Failed", "last_update_status": "Failed"}
STALE = {"state": "Active", "last_update_status": "Failed"}

EVENTS = {
    "created": states.created,
    "updating": lambda f: states.updating(f, "next"),
    "ready": lambda f: states.ready(f, "next"),
    "failed": lambda f: states.failed(f, "next", "InvalidRuntime", "why"),
    "amended": lambda f: states.amended(f, "next"),
}


@pytest.mark.parametrize(
    ("event", "before", "after"),
    [
        ("created", PENDING, PENDING),
        ("updating", ACTIVE, UPDATING),
        ("updating", STALE, UPDATING),
        ("updating", FAILED, MENDING),
        ("ready", PENDING, ACTIVE),
        ("ready", UPDATING, ACTIVE),
        ("ready", MENDING, ACTIVE),
        ("failed", PENDING, FAILED),
        ("failed", MENDING, FAILED),
        ("failed", UPDATING, STALE),
        ("amended", UPDATING, UPDATING),
    ],
)
def test_each_event(event, before, after):
    changed = EVENTS[event](function(**before))
    assert {name: getattr(changed, name) for name in after} == after
    assert changed.revision_id == ("first-f" if event == "created" else "next")
    reasons = {"Pending": "Creating", "Failed": "InvalidRuntime", "Active": None}
    updates = {None: None, "InProgress": "Creating", "Successful": None, "Failed": "InvalidRuntime"}
    if event != "amended":
        assert changed.state_reason_code == reasons[changed.state]
        assert changed.last_update_status_reason_code == updates[changed.last_update_status]


@pytest.mark.parametrize("values", [PENDING, MENDING, UPDATING])
def test_a_busy_function_is_refused(values):
    busy = function(**values)
    assert states.is_busy(busy)
    with pytest.raises(AwsError) as caught:
        states.refuse_busy(busy)
    assert caught.value.code == "ResourceConflictException"


@pytest.mark.parametrize("values", [ACTIVE, FAILED, STALE])
def test_a_settled_one_is_not(values):
    assert not states.is_busy(function(**values))
    states.refuse_busy(function(**values))
