"""The root key: everything that KMS keeps secret is sealed under it. It never leaves this process."""

from __future__ import annotations

import secrets
from pathlib import Path

from lambent.base.db import Connection, Database
from lambent.base.files import write_durably
from lambent.base.sealing import KEY_BYTES, SealBroken, seal, unseal

_CHECK = b"lambent root key"


class RootKeyError(Exception):
    """The root key is missing, unreadable, or not the one of this data directory. The message says what to do."""


def from_file(path: Path) -> bytes:
    """The key in `path`; made there at the first start, readable by its owner only. Blocks. Raises RootKeyError."""
    try:
        if not path.exists():
            write_durably(path, secrets.token_bytes(KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise RootKeyError(f"cannot read the root key {path}: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise RootKeyError(f"the root key {path} is not {KEY_BYTES} bytes long. Put back a copy of it")
    return key


class RootKey:
    """Seals key material for the database."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def wrap(self, material: bytes, name: str) -> bytes:
        """`name` tells what it is the material of; it cannot be unwrapped as another's."""
        return seal(self._key, material, name.encode())

    def unwrap(self, wrapped: bytes, name: str) -> bytes:
        """Raises SealBroken."""
        return unseal(self._key, wrapped, name.encode())

    async def check(self, db: Database) -> None:
        """Make sure that this is the key of the database; a new database takes it. Raises RootKeyError."""

        def work(connection: Connection) -> bytes:
            rows = connection.execute("SELECT sealed FROM kms_root")
            if rows:
                return bytes(rows[0][0])
            sealed = self.wrap(_CHECK, "check")
            connection.execute("INSERT INTO kms_root (sealed) VALUES (?)", (sealed,))
            return sealed

        sealed = await db.write(work)
        try:
            self.unwrap(sealed, "check")
        except SealBroken:
            raise RootKeyError(
                "the root key is not the one that this data directory was made with, and without it its keys and"
                " environment variables cannot be read. See the setting root_key"
            ) from None
