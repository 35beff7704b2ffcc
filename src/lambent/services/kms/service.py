"""KMS as a whole."""

from __future__ import annotations

from lambent.base.clock import Clock
from lambent.base.db import Database
from lambent.services.kms.aliases import Aliases
from lambent.services.kms.cipher import Cipher
from lambent.services.kms.grants import Grants
from lambent.services.kms.keys import Keys
from lambent.services.kms.root import RootKey
from lambent.services.kms.vault import Vault
from lambent.wire.operations import Operations


class Kms:
    """The key management service of all accounts and regions."""

    def __init__(self, db: Database, clock: Clock, root_key: bytes) -> None:
        """`root_key` is 32 bytes under which all keys lie sealed in the database, the same after every start."""
        self._vault = Vault(db, clock, RootKey(root_key))

    async def start(self) -> None:
        """After `migrate`. Raises RootKeyError when the root key is not the one of the database."""
        await self._vault.start()

    def register(self, operations: Operations) -> None:
        for part in (Keys, Aliases, Cipher, Grants):
            part(self._vault).register(operations)
