"""The server's end of the router. What it lets through is tried in `tests/security/test_network.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from lambent.base import machine
from lambent.engine.drivers import network
from lambent.engine.drivers.network import BLOCKED, Network, Opening, machine_rules, router_rules
from lambent.engine.sandbox import SandboxError


class FakeRouter:
    """Does what it is told, and notes it."""

    made: list[FakeRouter]
    broken = ""

    def __init__(self) -> None:
        self.made.append(self)
        self.plan: dict[str, Any] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.alive = True

    async def boot(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        if self.broken:
            raise SandboxError(self.broken)

    async def ask(self, order: dict[str, Any], fds: Sequence[int] = ()) -> None:
        self.asked.append((order["op"], order["number"], *([order["address"]] if "address" in order else [])))
        if self.broken:
            raise SandboxError(self.broken)

    async def leave(self) -> None:
        self.alive = False


@pytest.fixture(autouse=True)
def routers(monkeypatch: pytest.MonkeyPatch) -> type[FakeRouter]:
    fake = type("Fresh", (FakeRouter,), {"made": []})
    monkeypatch.setattr(network, "Router", fake)
    monkeypatch.setattr(machine, "no_router", lambda: None)
    monkeypatch.setattr(machine, "drops_forwarded", lambda: False)
    monkeypatch.setattr(machine, "name_servers", lambda: ("nameserver 192.0.2.53\n", ("192.0.2.53",)))
    return fake


async def test_addresses_are_used_again_once_they_are_free(routers: type[FakeRouter]) -> None:
    found = Network("internet", "0123456789ab")
    await found.start()
    assert [await found.attach(0) for _ in range(3)] == [0, 1, 2]
    found.detach(1)
    found.detach(0)
    await asyncio.gather(*found._detaching)
    assert [await found.attach(0) for _ in range(3)] == [0, 1, 3]
    (router,) = routers.made
    assert router.asked[:3] == [("attach", 0, "198.18.0.2"), ("attach", 1, "198.18.0.3"), ("attach", 2, "198.18.0.4")]
    assert ("detach", 1) in router.asked
    assert network._address(300) == "198.18.1.46"


async def test_without_a_network_nothing_is_attached(routers: type[FakeRouter]) -> None:
    found = Network("none")
    await found.start()
    assert await found.attach(0) is None
    assert (found.resolv_conf, found.weaknesses) == ("", ())
    await found.stop()
    assert routers.made == []


async def test_what_cannot_be_had_is_said_or_refused(
    routers: type[FakeRouter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "no_router", lambda: ("the command nft is missing", "install it"))
    found = Network("auto")
    await found.start()
    assert found.weaknesses == ("functions do not reach the internet: the command nft is missing",)
    assert found.resolv_conf == ""
    assert await found.attach(0) is None
    with pytest.raises(SandboxError, match=r"cannot reach the internet: the command nft is missing\. Use --network"):
        await Network("internet").start()


async def test_another_firewall_in_the_way_is_named(routers: type[FakeRouter], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "drops_forwarded", lambda: True)
    found = Network("auto")
    await found.start()
    assert "another firewall drops" in found.weaknesses[0]
    await found.stop()


async def test_a_router_that_does_not_start(routers: type[FakeRouter]) -> None:
    routers.broken = "nft says no"
    found = Network("auto")
    await found.start()
    assert await found.attach(0) is None, "the first sandbox waits for it, and does without"
    assert found.weaknesses == ("functions do not reach the internet: nft says no",)
    with pytest.raises(SandboxError, match="nft says no"):
        await Network("internet").start()


async def test_a_router_that_is_gone_is_replaced_and_a_failed_attachment_gives_its_number_back(
    routers: type[FakeRouter],
) -> None:
    found = Network("internet")
    await found.start()
    assert await found.attach(0) == 0
    routers.made[0].alive = False
    assert await found.attach(0) == 1
    assert len(routers.made) == 2
    routers.broken = "no memory"
    with pytest.raises(SandboxError, match="no memory"):
        await found.attach(0)
    routers.broken = ""
    await found.stop()
    assert await found.attach(0) == 2


def test_two_servers_of_a_machine_share_nothing(routers: type[FakeRouter]) -> None:
    one, other = (Network("internet", tag)._plan() for tag in ("0123456789ab", "ba9876543210"))
    for member in ("link", "table"):
        assert one[member] != other[member]
    assert one["uplinks"][0] != other["uplinks"][0]
    assert len(one["link"]) <= 15, "IFNAMSIZ"


@pytest.mark.parametrize("rules", [router_rules, lambda *given: machine_rules("t", "l", *given)])
def test_what_is_allowed_comes_before_what_is_refused(rules: Any) -> None:
    lines = [line.strip() for line in rules([Opening("10.0.0.5/32", 5432)], ["10.1.1.1"]).splitlines()]
    blocked = (
        lines.index(f"ip daddr {{ {', '.join(BLOCKED)} }} reject with icmpx type no-route")
        if (rules is router_rules)
        else lines.index("reject with icmp type net-unreachable")
    )
    metadata = lines.index("ip daddr 169.254.0.0/16 reject with icmp type net-unreachable")
    allowed = [lines.index(f"ip daddr 10.0.0.5/32 {kind} dport 5432 accept") for kind in ("tcp", "udp")]
    assert lines.index("ip daddr 10.1.1.1 udp dport 53 accept") < metadata < min(allowed) < max(allowed) < blocked


def test_an_opening_for_all_ports() -> None:
    assert list(Opening("10.0.0.0/8").rules()) == ["ip daddr 10.0.0.0/8 accept"]
