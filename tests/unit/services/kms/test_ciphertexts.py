"""Ciphertext blobs: what they say, and that nothing of them can be changed."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.kms import ciphertexts
from lambent.services.kms.ciphertexts import Label, SealBroken

MATERIAL = bytes(32)
contexts = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)


@given(st.uuids(), st.integers(1, 2**32 - 1), st.binary(max_size=64), contexts)
def test_a_blob_opens_with_its_material_and_context_only(
    key_id: uuid.UUID, number: int, plaintext: bytes, context: dict[str, str]
) -> None:
    label = Label(str(key_id), number)
    blob = ciphertexts.encrypt(MATERIAL, label, plaintext, context)
    assert ciphertexts.read(blob) == label
    assert ciphertexts.decrypt(MATERIAL, blob, dict(reversed(context.items()))) == plaintext
    assert ciphertexts.encrypt(MATERIAL, label, plaintext, context) != blob
    for material, other in ((bytes(31) + b"\1", context), (MATERIAL, context | {"more": ""})):
        with pytest.raises(SealBroken):
            ciphertexts.decrypt(material, blob, other)


@given(st.data())
def test_no_bit_can_be_changed(data: st.DataObject) -> None:
    blob = ciphertexts.encrypt(MATERIAL, Label(str(uuid.UUID(int=1)), 1), b"secret", {"a": "b"})
    at = data.draw(st.integers(0, len(blob) * 8 - 1))
    changed = bytearray(blob)
    changed[at // 8] ^= 1 << at % 8
    if ciphertexts.read(bytes(changed)) is not None:
        with pytest.raises(SealBroken):
            ciphertexts.decrypt(MATERIAL, bytes(changed), {"a": "b"})


@given(st.binary(max_size=80))
def test_any_bytes_are_read(junk: bytes) -> None:
    label = ciphertexts.read(junk)
    if label is not None:
        with pytest.raises(SealBroken):
            ciphertexts.decrypt(MATERIAL, junk, {})


def test_pairs_cannot_be_read_as_other_pairs() -> None:
    blob = ciphertexts.encrypt(MATERIAL, Label(str(uuid.UUID(int=1)), 1), b"", {"a": 'b", "c'})
    with pytest.raises(SealBroken):
        ciphertexts.decrypt(MATERIAL, blob, {"a": "b", "c": ""})
