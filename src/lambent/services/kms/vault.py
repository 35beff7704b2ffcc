"""Keys as operations use them: found, allowed, changed in one transaction, and their secrets taken out."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.base.sealing import KEY_BYTES
from lambent.services.kms import access, store
from lambent.services.kms.access import Encryption
from lambent.services.kms.records import AWS, Alias, Key, Material
from lambent.services.kms.root import RootKey
from lambent.wire.errors import AwsError
from lambent.wire.gate import Access, Gate, Guarded, Open
from lambent.wire.operations import Caller

_MANAGED = {  # the services whose keys AWS makes when they are first needed, and what such a key says it is for
    "alias/aws/lambda": "Default key that protects my Lambda functions when no other key is defined",
}


class Vault:
    """Everything that the operations of KMS share."""

    def __init__(self, db: Database, clock: Clock, root: RootKey, gate: Gate | None = None) -> None:
        self._gate = gate or Open()
        self._gate.guard("kms", self._guarded, ("kms_keys", "kms_aliases", "kms_grants"))
        self.db = db
        self.clock = clock
        self._root = root

    async def start(self) -> None:
        """Make sure of the root key, and let go of the keys whose day has come. Raises RootKeyError."""
        await self._root.check(self.db)
        await self.remove_overdue()

    async def remove_overdue(self) -> None:
        """The material of keys whose day has come must not lie in the database any longer."""
        overdue = await self.db.read(lambda connection: store.overdue(connection, self.clock.time()))
        if overdue:
            await self.db.write(self._remove_overdue)

    def _remove_overdue(self, connection: Connection) -> None:
        for key in store.overdue(connection, self.clock.time()):
            store.remove_key(connection, key)

    async def look(
        self,
        caller: Caller,
        identifier: str,
        operation: str,
        *,
        aliases: bool = False,
        encryption: Encryption | None = None,
    ) -> Key:
        """The key that is named, if the caller may do `operation` with it. An alias names one where `aliases` may."""

        def work(connection: Connection) -> Key:
            return self._allowed(connection, caller, identifier, operation, aliases, encryption)

        return await self.db.read(work)

    async def change(
        self, caller: Caller, identifier: str, operation: str, change: Callable[[Connection, Key], Key | None]
    ) -> Key:
        """Put what `change` makes of the key in its place, if the caller may do `operation` with it; None leaves it.

        Keys that AWS manages are changed by nobody. What `change` raises comes out here, and nothing has changed.
        """

        def work(connection: Connection) -> Key:
            key = self._allowed(connection, caller, identifier, operation, False, None)
            access.refuse_managed(key, caller, operation)
            changed = change(connection, key)
            return key if changed is None else store.put_key(connection, changed)

        return await self.db.write(work)

    def _allowed(
        self,
        connection: Connection,
        caller: Caller,
        identifier: str,
        operation: str,
        aliases: bool,
        encryption: Encryption | None,
    ) -> Key:
        key = access.find(connection, caller, identifier, self.clock.time(), aliases=aliases)
        self.authorize(connection, key, caller, operation, encryption)
        return key

    def authorize(
        self,
        connection: Connection,
        key: Key,
        caller: Caller,
        operation: str,
        encryption: Encryption | None = None,
    ) -> None:
        """Raises AccessDeniedException unless the caller may do `operation` ("Decrypt") with the key."""
        grants, bound = store.grants(connection, key.id), encryption or {}
        if not caller.proven:  # nobody has asked them who they are, or a service asks in its own name
            access.authorize(key, caller, operation, grants, bound)
            return
        wanted = access.accesses(key, caller, operation, bound)
        self._gate.decide(connection, caller, wanted, access.guarded(key, operation, grants, bound))

    def authorize_retiring(self, connection: Connection, key: Key, caller: Caller, named: Sequence[str]) -> None:
        """A grant is ended by those whom it names, and by whom the key's policy lets. AccessDeniedException."""
        guarded = replace(access.guarded(key, "RetireGrant", (), {}), grantees=tuple(named))
        self._gate.decide(connection, caller, access.accesses(key, caller, "RetireGrant", {}), guarded)

    def _guarded(self, connection: Connection, wanted: Access) -> Guarded | None:
        """For operations of others that need a key: CreateFunction with a KMSKeyArn."""
        found = access.by_arn(connection, wanted.resource, self.clock.time())
        if found is None:
            return None
        operation = wanted.action.partition(":")[2]
        return replace(access.guarded(found, operation, store.grants(connection, found.id), {}), arn=found.arn)

    # For encryption

    async def encrypting(self, caller: Caller, identifier: str, operation: str, encryption: Encryption) -> Key:
        """A key that can encrypt now, with fresh material when its rotation is due."""
        if caller.via and identifier in _MANAGED:
            await self._provide(caller, identifier)
        key = await self.look(caller, identifier, operation, aliases=True, encryption=encryption)
        access.refuse_unusable(key)
        due = key.next_rotation
        return key if due is None or due > self.clock.time() else await self.db.write(lambda c: self._rotate(c, key.id))

    def _rotate(self, connection: Connection, key_id: str) -> Key:
        key = store.find_key(connection, key_id)
        if key is None:
            raise AwsError("NotFoundException", f"Invalid keyId '{key_id}'")  # its day came a moment ago
        due, now = key.next_rotation, self.clock.time()
        if due is None or due > now:
            return key
        return store.put_key(connection, replace(self.rotated(key, "AUTOMATIC"), rotation_since=now))

    async def _provide(self, caller: Caller, name: str) -> None:
        """Make the account's own key of a service, unless it has one."""

        def work(connection: Connection) -> None:
            if store.find_alias(connection, caller.account, caller.region, name) is None:
                key = store.put_key(connection, self.new_key(caller, _MANAGED[name], manager=AWS))
                now = self.clock.time()
                store.put_alias(connection, Alias(caller.account, caller.region, name, key.id, now, now))

        def there(connection: Connection) -> bool:
            return store.find_alias(connection, caller.account, caller.region, name) is not None

        if not await self.db.read(there):
            await self.db.write(work)

    # Material

    def new_key(self, caller: Caller, description: str, *, manager: str, policy: str | None = None) -> Key:
        now = self.clock.time()
        key = Key(
            account=caller.account,
            region=caller.region,
            id=self.clock.uuid(),
            created=now,
            policy=policy or (_service_policy(caller) if manager == AWS else default_policy(caller)),
            materials=(),
            description=description,
            manager=manager,
        )
        return self.rotated(key, "")

    def rotated(self, key: Key, reason: str) -> Key:
        """The key with one more secret, which encrypts from now on."""
        number = len(key.materials) + 1
        wrapped = self._root.wrap(secrets.token_bytes(KEY_BYTES), f"{key.id} {number}")
        material = Material(number, secrets.token_hex(32), wrapped.hex(), self.clock.time(), reason)
        return replace(key, materials=(*key.materials, material))

    def secret(self, key: Key, material: Material) -> bytes:
        return self._root.unwrap(bytes.fromhex(material.wrapped), f"{key.id} {material.number}")


def default_policy(caller: Caller) -> str:
    """What AWS gives a key whose maker says nothing else: the account hands out its use."""
    return _policy(
        "key-default-1",
        {
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": {"AWS": access.root_of(caller)},
            "Action": "kms:*",
            "Resource": "*",
        },
    )


def _service_policy(caller: Caller) -> str:
    """Of Lambda's own key: whoever of the account uses it does so through Lambda, and may look at it otherwise."""
    through = {"kms:CallerAccount": caller.account, "kms:ViaService": f"lambda.{caller.region}.amazonaws.com"}
    use = ("Encrypt", "Decrypt", "ReEncrypt*", "GenerateDataKey*", "CreateGrant", "DescribeKey")
    return _policy(
        "auto-awslambda",
        {
            "Sid": "Allow access through AWS Lambda for all principals in the account that are authorized to use it",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [f"kms:{action}" for action in use],
            "Resource": "*",
            "Condition": {"StringEquals": through},
        },
        {
            "Sid": "Allow direct access to key metadata to the account",
            "Effect": "Allow",
            "Principal": {"AWS": access.root_of(caller)},
            "Action": [f"kms:{action}" for action in ("Describe*", "Get*", "List*", "RevokeGrant")],
            "Resource": "*",
        },
    )


def _policy(name: str, *statements: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Id": name, "Statement": statements}, indent=2)


def page(items: Sequence[Mapping[str, Any]], name: str, places: Sequence[str], most: int) -> dict[str, Any]:
    """A page as KMS answers it: `items` may be one more than `most`; `places` is where each stands."""
    if len(items) <= most:
        return {name: list(items), "Truncated": False}
    return {name: list(items[:most]), "Truncated": True, "NextMarker": places[most - 1]}


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message, status=400)
