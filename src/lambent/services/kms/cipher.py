"""The operations that encrypt and decrypt."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lambent.base.db import Connection
from lambent.services.kms import access, ciphertexts, store
from lambent.services.kms.ciphertexts import Label
from lambent.services.kms.records import Key, Material
from lambent.services.kms.vault import Vault, invalid
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Caller, Context, Operations, Parameters

SYMMETRIC = "SYMMETRIC_DEFAULT"
_DATA_KEYS = {"AES_256": 32, "AES_128": 16}  # bytes
_NOT_YOURS = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not"
    " allowed to access."
)

Answer = Mapping[str, Any]


class Cipher:
    """Handlers of Encrypt, Decrypt and what is made of them."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "Encrypt": self.encrypt,
            "Decrypt": self.decrypt,
            "ReEncrypt": self.re_encrypt,
            "GenerateDataKey": self.generate_data_key,
            "GenerateDataKeyWithoutPlaintext": self.generate_data_key_without_plaintext,
            "GenerateRandom": self.generate_random,
        }.items():
            operations.register("kms", operation, handler)

    async def encrypt(self, context: Context, parameters: Parameters) -> Answer:
        _check(parameters, "EncryptionAlgorithm")
        encryption = parameters.get("EncryptionContext", {})
        key = await self._vault.encrypting(context.caller, parameters["KeyId"], "Encrypt", encryption)
        _stop_dry_run(parameters)
        blob = self._seal(key, parameters["Plaintext"], encryption)
        return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": SYMMETRIC}

    async def decrypt(self, context: Context, parameters: Parameters) -> Answer:
        _check(parameters, "EncryptionAlgorithm")
        encryption = parameters.get("EncryptionContext", {})
        blob = parameters.get("CiphertextBlob", b"")
        key, material = await self._source(context.caller, blob, parameters.get("KeyId"), "Decrypt", encryption)
        plaintext = self._open(key, material, blob, encryption)
        _stop_dry_run(parameters)
        shown = {"KeyId": key.arn, "EncryptionAlgorithm": SYMMETRIC, "KeyMaterialId": material.id}
        return {**shown, "Plaintext": plaintext}

    async def re_encrypt(self, context: Context, parameters: Parameters) -> Answer:
        _check(parameters, "SourceEncryptionAlgorithm", "DestinationEncryptionAlgorithm")
        caller, blob = context.caller, parameters.get("CiphertextBlob", b"")
        old, new = (parameters.get(f"{end}EncryptionContext", {}) for end in ("Source", "Destination"))
        source, material = await self._source(caller, blob, parameters.get("SourceKeyId"), "ReEncryptFrom", old)
        plaintext = self._open(source, material, blob, old)
        target = await self._vault.encrypting(caller, parameters["DestinationKeyId"], "ReEncryptTo", new)
        _stop_dry_run(parameters)
        return {
            "CiphertextBlob": self._seal(target, plaintext, new),
            "SourceKeyId": source.arn,
            "KeyId": target.arn,
            "SourceEncryptionAlgorithm": SYMMETRIC,
            "DestinationEncryptionAlgorithm": SYMMETRIC,
            "SourceKeyMaterialId": material.id,
            "DestinationKeyMaterialId": target.materials[-1].id,
        }

    async def generate_data_key(self, context: Context, parameters: Parameters) -> Answer:
        return await self._data_key(context, parameters, "GenerateDataKey")

    async def generate_data_key_without_plaintext(self, context: Context, parameters: Parameters) -> Answer:
        answer = await self._data_key(context, parameters, "GenerateDataKeyWithoutPlaintext")
        return {name: value for name, value in answer.items() if name != "Plaintext"}

    async def _data_key(self, context: Context, parameters: Parameters, operation: str) -> Answer:
        _check(parameters)
        if ("KeySpec" in parameters) == ("NumberOfBytes" in parameters):
            raise invalid("Please specify either number of bytes or key spec.")
        encryption = parameters.get("EncryptionContext", {})
        key = await self._vault.encrypting(context.caller, parameters["KeyId"], operation, encryption)
        _stop_dry_run(parameters)
        plaintext = os.urandom(parameters.get("NumberOfBytes") or _DATA_KEYS[parameters["KeySpec"]])
        blob = self._seal(key, plaintext, encryption)
        shown = {"KeyId": key.arn, "KeyMaterialId": key.materials[-1].id}
        return {**shown, "CiphertextBlob": blob, "Plaintext": plaintext}

    async def generate_random(self, context: Context, parameters: Parameters) -> Answer:
        _check(parameters)
        if parameters.get("CustomKeyStoreId"):
            raise not_built("custom key stores")
        if "NumberOfBytes" not in parameters:
            raise invalid("NumberOfBytes is required.")
        return {"Plaintext": os.urandom(parameters["NumberOfBytes"])}

    # Blobs

    def _seal(self, key: Key, plaintext: bytes, encryption: access.Encryption) -> bytes:
        material = key.materials[-1]
        label = Label(key.id, material.number)
        return ciphertexts.encrypt(self._vault.secret(key, material), label, plaintext, encryption)

    async def _source(
        self, caller: Caller, blob: bytes, named: str | None, operation: str, encryption: access.Encryption
    ) -> tuple[Key, Material]:
        """The key and the material that a blob was encrypted with, if the caller may use it now."""
        label = ciphertexts.read(blob)
        if label is None:
            raise AwsError("InvalidCiphertextException", None)

        def work(connection: Connection) -> Key:
            now = self._vault.clock.time()
            wanted = access.find(connection, caller, named, now) if named is not None else None
            if wanted is not None and wanted.id != label.key_id:
                message = "The key ID in the request does not identify a CMK that can perform this operation."
                raise AwsError("IncorrectKeyException", message)
            key = store.find_key(connection, label.key_id)
            if key is None or key.region != caller.region or access.is_gone(key, now):
                raise AwsError("AccessDeniedException", _NOT_YOURS, status=400)
            try:
                self._vault.authorize(connection, key, caller, operation, encryption)
            except AwsError:
                if key.account == caller.account:
                    raise
                raise AwsError("AccessDeniedException", _NOT_YOURS, status=400) from None
            return key

        key = await self._vault.db.read(work)
        access.refuse_unusable(key)
        material = key.material(label.material)
        if material is None:
            raise AwsError("InvalidCiphertextException", None)
        return key, material

    def _open(self, key: Key, material: Material, blob: bytes, encryption: access.Encryption) -> bytes:
        try:
            return ciphertexts.decrypt(self._vault.secret(key, material), blob, encryption)
        except ciphertexts.SealBroken:
            raise AwsError("InvalidCiphertextException", None) from None


def _check(parameters: Parameters, *algorithms: str) -> None:
    if parameters.get("Recipient"):
        raise not_built("attested recipients (Recipient)")
    for name in algorithms:
        if parameters.get(name, SYMMETRIC) != SYMMETRIC:
            message = f"The {name} {parameters[name]} cannot be used with a symmetric key."
            raise AwsError("InvalidKeyUsageException", message)


def _stop_dry_run(parameters: Parameters) -> None:
    if parameters.get("DryRun"):
        message = "The request would have succeeded, but the DryRun option is set."
        raise AwsError("DryRunOperationException", message, status=412)
