"""A sandbox whose init has ended before its server has noticed."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from lambent.engine.drivers import cgroups
from lambent.engine.drivers.fenced import Means, NamespaceSandbox
from lambent.engine.sandbox import SandboxError


@pytest.fixture
async def sandbox() -> NamespaceSandbox:
    means = Means(user_namespace=True, groups=cgroups.NoGroups(), disks=None, mounts=None)
    zygote: Any = None
    found = NamespaceSandbox(means, zygote, 1, lambda _sandbox: None)
    found._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    return found


async def test_what_nobody_waits_for_does_no_harm(sandbox: NamespaceSandbox) -> None:
    sandbox.freeze()
    sandbox.thaw()
    assert not sandbox._waiting  # no answer will come


async def test_an_order_says_that_it_has_ended(sandbox: NamespaceSandbox) -> None:
    with pytest.raises(SandboxError, match="has ended"):
        await sandbox.restart()
    with pytest.raises(SandboxError, match="has ended"):
        await sandbox.stop_runtime()
    assert not sandbox._waiting
