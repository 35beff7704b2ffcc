"""The way from sandboxes to the internet: the server's end of its router, and what that lets through.

Nothing of the machine is reached, nothing private beside it, and no other sandbox, unless the setting allows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import logging
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambent.base import machine
from lambent.engine.drivers.zygote import Zygote
from lambent.engine.sandbox import SandboxError

_log = logging.getLogger("lambent.network")

# Of 198.18.0.0/15, which is for tests of network devices and belongs to nobody.
GATEWAY = "198.18.0.1"
_FIRST = (198 << 24) + (18 << 16) + 2  # the address of the first sandbox
_MOST = 60_000  # sandboxes
_UPLINKS = (198 << 24) + (19 << 16)  # 16,384 networks of four addresses, one for each server of a machine
_CONNECTIONS = 1024  # of one sandbox at a time: the machine keeps a table of all of them
_LEAVING = 5.0  # seconds
_UPLINK = "uplink"  # the router's device towards the machine
BLOCKED = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Opening:
    """An address beside the internet that functions may reach."""

    network: str  # "10.0.0.5" or "10.0.0.0/8"
    port: int | None = None  # None: all

    def rules(self) -> Iterable[str]:
        if self.port is None:
            return (f"ip daddr {self.network} accept",)
        return (f"ip daddr {self.network} {kind} dport {self.port} accept" for kind in ("tcp", "udp"))


def router_rules(openings: Sequence[Opening], servers: Sequence[str]) -> str:
    """For nft, in the router's namespace."""
    return f"""
table inet router {{
  set busy {{
    type ipv4_addr
    size 65535
    flags dynamic
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop
    ct state established,related accept
    ct state new add @busy {{ ip saddr ct count over {_CONNECTIONS} }} reject with icmpx type no-route
    oifname != "{_UPLINK}" reject with icmpx type no-route
    {_lines(_allowed(openings, servers))}
    ip daddr {{ {", ".join(BLOCKED)} }} reject with icmpx type no-route
    meta nfproto ipv4 accept
  }}
  chain input {{
    type filter hook input priority filter; policy drop
    ct state established,related accept
    meta nfproto ipv4 reject with icmpx type no-route
  }}
  chain source {{
    type nat hook postrouting priority srcnat
    oifname "{_UPLINK}" masquerade
  }}
}}
"""


def machine_rules(table: str, link: str, openings: Sequence[Opening], servers: Sequence[str]) -> str:
    """For nft, on the machine: what comes from the router reaches no port of the machine, whatever its address.

    NETWORK stands for the addresses between the two.
    """
    allowed = _lines(_allowed(openings, servers))
    return f"""
table ip {table} {{
  chain input {{
    type filter hook input priority filter
    iifname "{link}" jump functions
  }}
  chain functions {{
    ct state established,related accept
    {allowed}
    reject with icmp type net-unreachable
  }}
  chain forward {{
    type filter hook forward priority filter
    iifname "{link}" ct state new jump onwards
  }}
  chain onwards {{
    {allowed}
    ip daddr {{ {", ".join(BLOCKED)} }} reject with icmp type net-unreachable
  }}
  chain source {{
    type nat hook postrouting priority srcnat
    ip saddr NETWORK oifname != "{link}" masquerade
  }}
}}
"""


def _allowed(openings: Sequence[Opening], servers: Sequence[str]) -> Iterable[str]:
    for server in servers:
        yield f"ip daddr {server} udp dport 53 accept"
        yield f"ip daddr {server} tcp dport 53 accept"
    yield "ip daddr 169.254.0.0/16 reject with icmp type net-unreachable"  # metadata of clouds, whatever is allowed
    for opening in openings:
        yield from opening.rules()


def _lines(rules: Iterable[str]) -> str:
    return "\n    ".join(rules)


class Router(Zygote):
    what = "the router of the sandboxes"
    launcher = Path(__file__).parent.parent / "guest" / "router.py"

    async def leave(self) -> None:
        """Let it tidy up and end."""
        self._disconnect()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _LEAVING)
        self.stop()


class Network:
    """Connects sandboxes. The router is a process of its own, so that nothing of it outlives the server."""

    def __init__(self, wanted: str = "none", tag: str = "", openings: Sequence[Opening] = ()) -> None:
        """`wanted` is "internet", "none", or "auto" for the internet where it can be had.

        `tag` tells servers of one machine apart.
        """
        self._wanted = wanted
        self._tag = tag
        self._openings = openings
        self._resolver, self._servers = machine.name_servers() if wanted != "none" else ("", ())
        self._dropped = False  # whether another firewall is in the way
        self._obstacle = "it is switched off" if wanted == "none" else ""  # why nothing outside is reached
        self._router: Router | None = None
        self._starting: asyncio.Task[None] | None = None
        self._booting = asyncio.Lock()
        self._free: list[int] = []  # numbers that have been used, a heap
        self._next = 0
        self._detaching: set[asyncio.Task[None]] = set()

    @property
    def link(self) -> str:
        """The device of the machine that leads to the router."""
        return f"lambent{self._tag[:8]}"

    @property
    def resolv_conf(self) -> str:
        """The file of every sandbox."""
        return "" if self._obstacle else self._resolver

    @property
    def weaknesses(self) -> tuple[str, ...]:
        if self._wanted == "auto" and self._obstacle:
            return (f"functions do not reach the internet: {self._obstacle}",)
        if not self._obstacle and self._dropped:
            return (f"functions do not reach the internet: {machine.DROPPED}. `lambent doctor` says how to mend it",)
        if not self._obstacle and not self._servers:
            return ("functions find no names in the internet: this machine's name servers listen on its loopback only",)
        return ()

    async def start(self) -> None:
        """SandboxError when the internet is wanted in any case and this machine will not do."""
        if self._wanted == "none":
            return
        self._dropped = await asyncio.to_thread(machine.drops_forwarded)
        if obstacle := await asyncio.to_thread(machine.no_router):
            self._obstacle = obstacle[0]
        else:
            self._starting = asyncio.get_running_loop().create_task(self._try())
            if self._wanted == "internet":
                await self._starting
        if self._obstacle and self._wanted == "internet":
            raise SandboxError(f"functions cannot reach the internet: {self._obstacle}. Use --network auto or none")

    async def _try(self) -> None:
        """Have the router there; the first sandboxes wait for it."""
        try:
            await self._boot()
        except SandboxError as error:
            self._obstacle = str(error)
            _log.warning("functions do not reach the internet: %s", error)

    async def _boot(self) -> Router:
        async with self._booting:
            if self._router is None or not self._router.alive:
                router = Router()
                await router.boot(self._plan())
                self._router = router
            return self._router

    def _plan(self) -> dict[str, Any]:
        table = f"lambent_{self._tag[:8]}"
        first = int(hashlib.sha256(self._tag.encode()).hexdigest(), 16) % 16_384
        return {
            "link": self.link,
            "uplink": _UPLINK,
            "uplinks": [_UPLINKS + 4 * ((first + step) % 16_384) for step in range(64)],
            "gateway": GATEWAY,
            "table": table,
            "rules": router_rules(self._openings, self._servers),
            "machine_rules": machine_rules(table, self.link, self._openings, self._servers),
        }

    async def attach(self, namespace: int) -> int | None:
        """Connect the network namespace behind a descriptor, its own or a process's, if there is anything to reach.

        The number is for `detach`.
        """
        if self._starting is not None and not self._starting.done():
            await self._starting
        if self._obstacle:
            return None
        number = self._take()
        try:
            router = self._router
            if router is None or not router.alive:
                _log.error("the router of the sandboxes is gone; another takes its place")
                router = await self._boot()
            await router.ask({"op": "attach", "number": number, "address": _address(number)}, [namespace])
        except BaseException:
            self.detach(number)
            raise
        return number

    def _take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        if self._next >= _MOST:
            raise SandboxError(f"no more than {_MOST} sandboxes can be connected")
        self._next += 1
        return self._next - 1

    def detach(self, number: int) -> None:
        """Its sandbox has ended."""
        task = asyncio.get_running_loop().create_task(self._detach(number))
        self._detaching.add(task)
        task.add_done_callback(self._detaching.discard)

    async def _detach(self, number: int) -> None:
        try:
            if self._router is not None and self._router.alive:
                await self._router.ask({"op": "detach", "number": number})
        except SandboxError as error:
            _log.warning("a sandbox could not be disconnected: %s", error)
        heapq.heappush(self._free, number)

    async def stop(self) -> None:
        if self._starting is not None:
            await self._starting
        await asyncio.gather(*self._detaching, return_exceptions=True)
        if self._router is not None:
            await self._router.leave()


def _address(number: int) -> str:
    value = _FIRST + number
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
