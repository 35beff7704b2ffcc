"""KMS as a whole."""

from __future__ import annotations

import asyncio
import logging

from lambent.base.clock import Clock
from lambent.base.db import Database
from lambent.services.kms.aliases import Aliases
from lambent.services.kms.cipher import Cipher
from lambent.services.kms.grants import Grants
from lambent.services.kms.keys import Keys
from lambent.services.kms.root import RootKey
from lambent.services.kms.vault import Vault
from lambent.wire.gate import Gate
from lambent.wire.operations import Operations

_log = logging.getLogger("lambent.kms")


class Kms:
    """The key management service of all accounts and regions.

    Between `start` and `stop` it removes the keys whose day has come.
    """

    def __init__(
        self, db: Database, clock: Clock, root_key: bytes, gate: Gate | None = None, *, every: float = 600
    ) -> None:
        """`root_key` is 32 bytes under which all keys lie sealed in the database, the same after every start.

        `every` so many seconds it looks for keys to remove.
        """
        self._vault = Vault(db, clock, RootKey(root_key), gate)
        self._every = every
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """After `migrate`. Raises RootKeyError when the root key is not the one of the database."""
        await self._vault.start()
        self._task = asyncio.get_running_loop().create_task(self._keep_house())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_house(self) -> None:
        """Nothing needs a key in the very second of its end: from then on no operation finds it anyway."""
        while True:
            await asyncio.sleep(self._every)
            try:
                await self._vault.remove_overdue()
            except Exception:
                _log.exception("keys whose day has come could not be removed")

    def register(self, operations: Operations) -> None:
        for part in (Keys, Aliases, Cipher, Grants):
            part(self._vault).register(operations)
