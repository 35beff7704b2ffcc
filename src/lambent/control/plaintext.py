"""Environment variables that an older Lambent kept readable: sealed at the first start, and no trace of them left."""

from __future__ import annotations

import logging
from typing import Any

import orjson

from lambent.base.db import Connection, Database, Migration
from lambent.control.records import FunctionKey
from lambent.control.secrets import Secrets
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.secrets")

MIGRATIONS = (
    Migration(
        "secrets",
        1,
        "sealed environment variables",
        # a row once no variable is readable any more and the database has been written anew
        ("CREATE TABLE plaintext_gone (finished INTEGER NOT NULL)",),
    ),
)

_FINISHED = "SELECT finished FROM plaintext_gone"
_ROWS = "SELECT account, region, name, version, document, serving FROM functions"
_UPDATE = "UPDATE functions SET document = ?, serving = ? WHERE account = ? AND region = ? AND name = ? AND version = ?"


async def seal_what_is_readable(db: Database, secrets: Secrets) -> None:
    """After `migrate` and before anything reads functions. Does its work once; a crash in between starts it again."""
    if await db.read(lambda connection: connection.execute(_FINISHED)):
        return
    rows = await db.read(lambda connection: connection.execute(_ROWS))
    for account, region, name, version, document, serving in rows:
        key = FunctionKey(account, region, name)
        sealed = [await _seal(secrets, key, text) for text in (document, serving)]
        if sealed != [document, serving]:
            values = (*sealed, account, region, name, version)
            await db.write(lambda connection, values=values: connection.execute(_UPDATE, values))  # type: ignore[misc]
    if rows:
        await db.scrub()

    def finish(connection: Connection) -> None:
        connection.execute("INSERT INTO plaintext_gone (finished) VALUES (1)")

    await db.write(finish)


async def _seal(secrets: Secrets, key: FunctionKey, document: str | None) -> str | None:
    if document is None:
        return None
    members: dict[str, Any] = orjson.loads(document)
    variables = members["environment"]
    if variables is None or isinstance(variables.get("format"), int):
        return document
    kms_key = members["extras"].get("KMSKeyArn")
    try:
        sealed = await secrets.seal(key, variables, kms_key)
    except AwsError:  # keys were not looked for before there was a KMS
        _log.warning("the variables of %s are sealed with the account's own key: %s is not there", key.arn(), kms_key)
        sealed = await secrets.seal(key, variables, None)
    return orjson.dumps(members | {"environment": sealed}).decode()
