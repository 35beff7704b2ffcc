"""The operations on keys: made, shown, switched off, deleted, rotated; their policies and tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lambent.base.db import Connection
from lambent.services.iam import documents
from lambent.services.kms import access, store
from lambent.services.kms.records import CUSTOMER, DAY, DISABLED, ENABLED, PENDING_DELETION, Key
from lambent.services.kms.vault import Vault, invalid, page
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Context, Operations, Parameters

_SYMMETRIC = "SYMMETRIC_DEFAULT"
_ONLY = {  # what else AWS's keys can be
    "KeyUsage": "ENCRYPT_DECRYPT",
    "KeySpec": _SYMMETRIC,
    "CustomerMasterKeySpec": _SYMMETRIC,
    "Origin": "AWS_KMS",
    "MultiRegion": False,
    "CustomKeyStoreId": None,
    "XksKeyId": None,
}
_MOST_TAGS, _POLICY_BYTES = 50, 32_768
_ROTATION_DAYS = 365
_ROTATIONS_ON_DEMAND = 10

Answer = Mapping[str, Any]


class Keys:
    """Handlers of the operations on keys."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateKey": self.create_key,
            "DescribeKey": self.describe_key,
            "ListKeys": self.list_keys,
            "EnableKey": self.enable_key,
            "DisableKey": self.disable_key,
            "ScheduleKeyDeletion": self.schedule_key_deletion,
            "CancelKeyDeletion": self.cancel_key_deletion,
            "UpdateKeyDescription": self.update_key_description,
            "GetKeyPolicy": self.get_key_policy,
            "PutKeyPolicy": self.put_key_policy,
            "ListKeyPolicies": self.list_key_policies,
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
            "ListResourceTags": self.list_resource_tags,
            "EnableKeyRotation": self.enable_key_rotation,
            "DisableKeyRotation": self.disable_key_rotation,
            "GetKeyRotationStatus": self.get_key_rotation_status,
            "RotateKeyOnDemand": self.rotate_key_on_demand,
            "ListKeyRotations": self.list_key_rotations,
        }.items():
            operations.register("kms", operation, handler)

    async def create_key(self, context: Context, parameters: Parameters) -> Answer:
        for name, only in _ONLY.items():
            if parameters.get(name, only) != only:
                raise not_built(f"KMS keys that are not symmetric and its own ({name}={parameters[name]})")
        policy, caller = parameters.get("Policy"), context.caller
        if policy is not None:
            _check_policy(policy)
        description = parameters.get("Description", "")
        key = self._vault.new_key(caller, description, manager=CUSTOMER, policy=policy)
        key = _tagged(key, parameters.get("Tags", ()))
        return {"KeyMetadata": _describe(await self._vault.db.write(lambda c: store.put_key(c, key)))}

    async def describe_key(self, context: Context, parameters: Parameters) -> Answer:
        key = await self._vault.look(context.caller, parameters["KeyId"], "DescribeKey", aliases=True)
        return {"KeyMetadata": _describe(key)}

    async def list_keys(self, context: Context, parameters: Parameters) -> Answer:
        caller, most, after = context.caller, parameters.get("Limit", 100), parameters.get("Marker", "")
        keys = await self._vault.db.read(lambda c: store.keys(c, caller.account, caller.region, after, most + 1))
        answer = page([{"KeyId": key.id, "KeyArn": key.arn} for key in keys], "Keys", [key.id for key in keys], most)
        gone = {key.id for key in keys if access.is_gone(key, self._vault.clock.time())}
        return {**answer, "Keys": [key for key in answer["Keys"] if key["KeyId"] not in gone]}

    # Their states

    async def enable_key(self, context: Context, parameters: Parameters) -> Answer:
        return await self._set(context, parameters, "EnableKey", lambda key: replace(key, state=ENABLED))

    async def disable_key(self, context: Context, parameters: Parameters) -> Answer:
        return await self._set(context, parameters, "DisableKey", lambda key: replace(key, state=DISABLED))

    async def schedule_key_deletion(self, context: Context, parameters: Parameters) -> Answer:
        days = parameters.get("PendingWindowInDays", 30)
        if not 7 <= days <= 30:
            than = "greater than or equal to 7" if days < 7 else "less than or equal to 30"
            constraint = f"failed to satisfy constraint: Member must have value {than}"
            raise invalid(f"1 validation error detected: Value '{days}' at 'pendingWindowInDays' {constraint}")
        day = self._vault.clock.time() + days * DAY

        def change(_: Connection, key: Key) -> Key:
            access.refuse_pending(key)
            return replace(key, state=PENDING_DELETION, deletion=day)

        key = await self._vault.change(context.caller, parameters["KeyId"], "ScheduleKeyDeletion", change)
        shown = {"KeyId": key.arn, "DeletionDate": _date(day), "KeyState": key.state}
        return {**shown, "PendingWindowInDays": days}

    async def cancel_key_deletion(self, context: Context, parameters: Parameters) -> Answer:
        def change(_: Connection, key: Key) -> Key:
            if key.state != PENDING_DELETION:
                raise AwsError("KMSInvalidStateException", f"{key.arn} is not pending deletion.")
            return replace(key, state=DISABLED, deletion=None)

        key = await self._vault.change(context.caller, parameters["KeyId"], "CancelKeyDeletion", change)
        return {"KeyId": key.arn}

    async def update_key_description(self, context: Context, parameters: Parameters) -> Answer:
        description = parameters["Description"]
        operation = "UpdateKeyDescription"
        return await self._set(context, parameters, operation, lambda key: replace(key, description=description))

    async def _set(
        self, context: Context, parameters: Parameters, operation: str, change: Callable[[Key], Key]
    ) -> Answer:
        """Change a key that is not pending deletion."""

        def work(_: Connection, key: Key) -> Key:
            access.refuse_pending(key)
            return change(key)

        await self._vault.change(context.caller, parameters["KeyId"], operation, work)
        return {}

    # Their policies

    async def get_key_policy(self, context: Context, parameters: Parameters) -> Answer:
        _check_policy_name(parameters)
        key = await self._vault.look(context.caller, parameters["KeyId"], "GetKeyPolicy")
        return {"Policy": key.policy, "PolicyName": "default"}

    async def put_key_policy(self, context: Context, parameters: Parameters) -> Answer:
        _check_policy_name(parameters)
        _check_policy(parameters["Policy"])
        policy = parameters["Policy"]
        return await self._set(context, parameters, "PutKeyPolicy", lambda key: replace(key, policy=policy))

    async def list_key_policies(self, context: Context, parameters: Parameters) -> Answer:
        await self._vault.look(context.caller, parameters["KeyId"], "ListKeyPolicies")
        return {"PolicyNames": ["default"], "Truncated": False}

    # Their tags

    async def tag_resource(self, context: Context, parameters: Parameters) -> Answer:
        return await self._set(context, parameters, "TagResource", lambda key: _tagged(key, parameters["Tags"]))

    async def untag_resource(self, context: Context, parameters: Parameters) -> Answer:
        names = set(parameters["TagKeys"])

        def without(key: Key) -> Key:
            return replace(key, tags=tuple((name, value) for name, value in key.tags if name not in names))

        return await self._set(context, parameters, "UntagResource", without)

    async def list_resource_tags(self, context: Context, parameters: Parameters) -> Answer:
        key = await self._vault.look(context.caller, parameters["KeyId"], "ListResourceTags")
        most, after = parameters.get("Limit", 50), parameters.get("Marker", "")
        tags = [(name, value) for name, value in sorted(key.tags) if name > after]
        shown = [{"TagKey": name, "TagValue": value} for name, value in tags]
        return page(shown, "Tags", [name for name, _ in tags], most)

    # Their rotation

    async def enable_key_rotation(self, context: Context, parameters: Parameters) -> Answer:
        days, now = parameters.get("RotationPeriodInDays", _ROTATION_DAYS), self._vault.clock.time()

        def change(_: Connection, key: Key) -> Key:
            access.refuse_unusable(key)
            since = key.rotation_since if key.rotation_days is not None else now
            return replace(key, rotation_days=days, rotation_since=since)

        await self._vault.change(context.caller, parameters["KeyId"], "EnableKeyRotation", change)
        return {}

    async def disable_key_rotation(self, context: Context, parameters: Parameters) -> Answer:
        def change(_: Connection, key: Key) -> Key:
            access.refuse_unusable(key)
            return replace(key, rotation_days=None, rotation_since=None)

        await self._vault.change(context.caller, parameters["KeyId"], "DisableKeyRotation", change)
        return {}

    async def get_key_rotation_status(self, context: Context, parameters: Parameters) -> Answer:
        key = await self._vault.look(context.caller, parameters["KeyId"], "GetKeyRotationStatus")
        shown: dict[str, Any] = {"KeyId": key.arn, "KeyRotationEnabled": key.rotation_days is not None}
        if key.next_rotation is not None and key.state == ENABLED:
            shown |= {"RotationPeriodInDays": key.rotation_days, "NextRotationDate": _date(key.next_rotation)}
        return shown

    async def rotate_key_on_demand(self, context: Context, parameters: Parameters) -> Answer:
        def change(_: Connection, key: Key) -> Key:
            access.refuse_unusable(key)
            if sum(material.reason == "ON_DEMAND" for material in key.materials) >= _ROTATIONS_ON_DEMAND:
                message = f"{key.arn} has been rotated on demand {_ROTATIONS_ON_DEMAND} times, which is the most."
                raise AwsError("LimitExceededException", message)
            return self._vault.rotated(key, "ON_DEMAND")

        key = await self._vault.change(context.caller, parameters["KeyId"], "RotateKeyOnDemand", change)
        return {"KeyId": key.arn}

    async def list_key_rotations(self, context: Context, parameters: Parameters) -> Answer:
        key = await self._vault.look(context.caller, parameters["KeyId"], "ListKeyRotations")
        most, marker = parameters.get("Limit", 100), parameters.get("Marker", "0")
        after = int(marker) if marker.isdecimal() else 0
        wanted = parameters.get("IncludeKeyMaterial", "ROTATIONS_ONLY") == "ALL_KEY_MATERIAL"
        materials = [one for one in key.materials if one.number > after and (wanted or one.reason)]
        shown = [
            {
                "KeyId": key.arn,
                "KeyMaterialId": one.id,
                "KeyMaterialState": "CURRENT" if one is key.materials[-1] else "NON_CURRENT",
                **({"RotationDate": _date(one.created), "RotationType": one.reason} if one.reason else {}),
            }
            for one in materials
        ]
        return page(shown, "Rotations", [str(one.number) for one in materials], most)


def _describe(key: Key) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "AWSAccountId": key.account,
        "KeyId": key.id,
        "Arn": key.arn,
        "CreationDate": _date(key.created),
        "Enabled": key.state == ENABLED,
        "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": key.state,
        "Origin": "AWS_KMS",
        "KeyManager": key.manager,
        "CustomerMasterKeySpec": _SYMMETRIC,
        "KeySpec": _SYMMETRIC,
        "EncryptionAlgorithms": [_SYMMETRIC],
        "MultiRegion": False,
        "CurrentKeyMaterialId": key.materials[-1].id,
    }
    return shown | ({"DeletionDate": _date(key.deletion)} if key.deletion is not None else {})


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _tagged(key: Key, given: list[Mapping[str, str]] | tuple[()]) -> Key:
    tags = dict(key.tags) | {tag["TagKey"]: tag["TagValue"] for tag in given}
    if any(name.lower().startswith("aws:") for name in tags):
        raise AwsError("TagException", "Tags beginning with aws: are reserved")
    if len(tags) > _MOST_TAGS:
        raise AwsError("LimitExceededException", "Too many tags")
    return replace(key, tags=tuple(sorted(tags.items())))


def _check_policy_name(parameters: Parameters) -> None:
    if parameters.get("PolicyName", "default") != "default":
        raise AwsError("NotFoundException", "No such policy exists")


def _check_policy(text: str) -> None:
    if len(text.encode()) > _POLICY_BYTES:
        raise AwsError("LimitExceededException", f"The key policy is larger than {_POLICY_BYTES} bytes.")
    try:
        documents.parse(text, documents.Kind.RESOURCE)
    except documents.MalformedPolicy as problem:
        raise AwsError("MalformedPolicyDocumentException", str(problem)) from None
