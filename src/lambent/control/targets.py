"""Whether there is what a setting is for: a function, a version of it, or an alias."""

from __future__ import annotations

from lambent.base.db import Connection
from lambent.control import names, rows
from lambent.control.alias_store import AliasStore
from lambent.control.records import LATEST, FunctionKey
from lambent.control.settings import refuse_tenancy


class Targets:
    def __init__(self, aliases: AliasStore) -> None:
        self._aliases = aliases

    def exists(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> bool:
        """Inside a transaction: whether the function exists, and its version or alias `qualifier` when one is given."""
        if names.is_version(qualifier):
            return rows.find(connection, key, qualifier or LATEST) is not None
        return self._aliases.stored(connection, key, str(qualifier)) is not None

    def refuse_tenancy(self, connection: Connection, key: FunctionKey, what: str) -> None:
        """Raises InvalidParameterValueException where `what` cannot name a tenant and the function needs one."""
        row = rows.find(connection, key)
        if row is not None:
            refuse_tenancy(row.document, what)
