"""The server's end of the process that keeps its containers (`guest/keeper.py`)."""

from __future__ import annotations

import socket
from pathlib import Path

from lambent.engine.drivers.zygote import Zygote


class Keeper(Zygote):
    """One for all containers of a server, whatever their runtime."""

    what = "the keeper of the containers"
    launcher = Path(__file__).parent.parent / "guest" / "keeper.py"

    async def run(self, sandbox: str, channel: socket.socket, output: int) -> tuple[int, int]:
        """(pid, pidfd) of the init of a new container made from the bundle of `sandbox`."""
        answer, [pidfd] = await self.ask({"op": "run", "sandbox": sandbox}, [channel.fileno(), output])
        return answer["pid"], pidfd

    def forget(self, pid: int) -> None:
        """Nothing of a container is forgotten before its sandbox is closed."""
