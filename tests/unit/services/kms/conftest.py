"""KMS on a real database and a fake clock, asked through the in-process client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.base.db import SqliteDatabase, migrate
from lambent.services.kms import store
from lambent.services.kms.service import Kms
from lambent.testing import FakeClock
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Client, Operations

ACCOUNT, OTHER, REGION = "111111111111", "222222222222", "us-east-1"
ROOT_KEY = bytes(range(32))


async def _nothing() -> None:
    """What stops before anything has started."""


class KmsLab:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.db = SqliteDatabase(root / "lambent.db")
        self.stop: Callable[[], Awaitable[None]] = _nothing

    async def start(self, root_key: bytes = ROOT_KEY) -> None:
        await migrate(self.db, store.MIGRATIONS)
        kms = Kms(self.db, self.clock, root_key, every=0.01)
        await self.stop()
        await kms.start()
        self.stop = kms.stop
        self.operations = Operations()
        kms.register(self.operations)
        self.client = Client(self.operations, self.clock)

    async def call(
        self, operation: str, *, account: str = ACCOUNT, region: str = REGION, via: str = "", **members: Any
    ) -> Any:
        return await self.client.call("kms", operation, members, Caller(account, region, via=via))

    async def refusal(self, operation: str, **members: Any) -> AwsError:
        try:
            answer = await self.call(operation, **members)
        except AwsError as error:
            return error
        raise AssertionError(f"no error but {answer}")

    async def key(self, **members: Any) -> str:
        """The id of a new key."""
        return str((await self.call("CreateKey", **members))["KeyMetadata"]["KeyId"])

    async def encrypt(self, key: str, plaintext: bytes = b"secret", **members: Any) -> bytes:
        return bytes((await self.call("Encrypt", KeyId=key, Plaintext=plaintext, **members))["CiphertextBlob"])

    async def decrypt(self, blob: bytes, **members: Any) -> bytes:
        return bytes((await self.call("Decrypt", CiphertextBlob=blob, **members))["Plaintext"])


@pytest.fixture
async def kms(tmp_path: Path) -> AsyncIterator[KmsLab]:
    lab = KmsLab(tmp_path)
    await lab.start()
    yield lab
    await lab.stop()
    await lab.db.close()
