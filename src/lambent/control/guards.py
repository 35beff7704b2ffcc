"""What Lambda's resources have to say about who may use them: policies, tags, and the function of a mapping."""

from __future__ import annotations

import re

from lambent.base.db import Connection, Database
from lambent.control import layer_store, layers, rows
from lambent.control.records import LATEST, FunctionKey
from lambent.control.resources import Place, Resources
from lambent.wire.gate import Access, Gate, Guarded

_ARN = re.compile(
    r"arn:aws[\w-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<kind>[a-z-]+):(?P<rest>[^/]+)", re.ASCII
)
_TABLES = ("functions", "resources", "layers", "layer_versions")


class Guards:
    """Reads them inside the gate's transactions."""

    def __init__(self, db: Database) -> None:
        self._policies = Resources(db, "policy")
        self._mappings = Resources(db, "event-source-mapping")
        self._signing = Resources(db, "code-signing-config")

    def stand_at(self, gate: Gate) -> None:
        gate.guard("lambda", self.find, _TABLES)

    def find(self, connection: Connection, access: Access) -> Guarded | None:
        match = _ARN.fullmatch(access.resource)
        if match is None:
            return None
        home, rest = Place(match["account"], match["region"]), match["rest"]
        match match["kind"]:
            case "function":
                return self._function(connection, home, rest)
            case "layer":
                return _layer(connection, access.resource)
            case "event-source-mapping":
                return self._mapping(connection, home, rest)
            case "code-signing-config":
                document = self._signing.find(connection, home, rest)
                return Guarded(tags=document.get("Tags") or {}) if document is not None else None
        return None

    def _function(self, connection: Connection, home: Place, rest: str) -> Guarded | None:
        name, _, qualifier = rest.partition(":")
        key = FunctionKey(home.account, home.region, name)
        row = rows.find(connection, key)
        if row is None:
            return None
        stored = self._policies.find(connection, key, f"{name}:{qualifier or LATEST}")
        return Guarded(stored["policy"] if stored is not None else None, row.document.tags)

    def _mapping(self, connection: Connection, home: Place, name: str) -> Guarded | None:
        document = self._mappings.find(connection, home, name)
        if document is None:
            return None
        function = document.get("FunctionArn")
        context = {"lambda:functionarn": (function,)} if function else {}
        return Guarded(tags=document.get("Tags") or {}, context=context)


def _layer(connection: Connection, arn: str) -> Guarded | None:
    parsed = layers.parse(arn)
    if parsed is None:
        return None
    found = layer_store.find(connection, *parsed)
    if found is None or not found.policy.statements:
        return None
    return Guarded(found.policy.document())
