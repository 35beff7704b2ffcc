"""Ciphertext blobs: what Encrypt answers and Decrypt takes. Each says which key it needs, and which material of it.

    1 byte     format, 1
    16 bytes   the key's UUID
    4 bytes    number of the material, big-endian, from 1
    16 bytes   salt: the cipher's key is derived from the material anew for each blob
    the rest   nonce and ciphertext of `base.sealing`

All that stands before the nonce, and the encryption context, is authenticated.
"""

from __future__ import annotations

import json
import os
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lambent.base.sealing import KEY_BYTES, SealBroken, seal, unseal

_HEAD = struct.Struct(">B16sI16s")
_FORMAT = 1

Context = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Label:
    """What a blob says of itself."""

    key_id: str
    material: int


def read(blob: bytes) -> Label | None:
    """None for bytes that are no blob of ours."""
    if len(blob) <= _HEAD.size:
        return None
    form, identity, number, _salt = _HEAD.unpack_from(blob)
    return Label(str(uuid.UUID(bytes=identity)), number) if form == _FORMAT else None


def encrypt(material: bytes, label: Label, plaintext: bytes, context: Context) -> bytes:
    salt = os.urandom(16)
    head = _HEAD.pack(_FORMAT, uuid.UUID(label.key_id).bytes, label.material, salt)
    return head + seal(_derive(material, salt), plaintext, head + _canonical(context))


def decrypt(material: bytes, blob: bytes, context: Context) -> bytes:
    """Raises SealBroken for a blob that was changed, or encrypted with another context or material."""
    *_, salt = _HEAD.unpack_from(blob)
    head, sealed = blob[: _HEAD.size], blob[_HEAD.size :]
    return unseal(_derive(material, salt), sealed, head + _canonical(context))


def _derive(material: bytes, salt: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt, b"lambent kms ciphertext").derive(material)


def _canonical(context: Context) -> bytes:
    """The same bytes for the same pairs, in whatever order they came."""
    return json.dumps(sorted(context.items())).encode()


__all__ = ["Label", "SealBroken", "decrypt", "encrypt", "read"]
