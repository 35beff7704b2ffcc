"""Authenticated encryption: AES-256-GCM, the only cipher in the house."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12


class SealBroken(Exception):
    """What was sealed has been changed, was sealed with another key, or is about something else."""


def seal(key: bytes, plaintext: bytes, about: bytes) -> bytes:
    """Encrypt under a fresh nonce, which comes first; `about` is bound to it and needed again, but not in it.

    Nonces are random, so a key may seal 2**32 things.
    """
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, about)


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """The plaintext of what `seal` has made with the same key and `about`. Raises SealBroken."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)
    except (InvalidTag, ValueError):
        raise SealBroken from None
