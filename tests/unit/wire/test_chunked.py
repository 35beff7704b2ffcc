"""The framing of bodies, undone in whatever pieces they come."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.base.http import Headers
from lambent.wire.chunked import Unframer
from lambent.wire.errors import AwsError

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"


def headers(**values: str) -> Headers:
    return Headers([(name.replace("_", "-").encode(), value.encode()) for name, value in values.items()])


def framed(pieces: list[bytes], trailers: bytes = b"") -> bytes:
    out = b""
    for number, piece in enumerate([*pieces, b""]):
        out += b"%x;chunk-signature=%064x\r\n%b" % (len(piece), number, piece) + (b"\r\n" if piece else b"")
    return out + trailers + b"\r\n"


class Checks:
    def __init__(self) -> None:
        self.chunks: list[tuple[str, str]] = []
        self.ends: list[tuple[str | None, bytes]] = []

    def chunk(self, signature: str, digest: str) -> None:
        self.chunks.append((signature, digest))

    def trailers(self, signature: str | None, section: bytes) -> None:
        self.ends.append((signature, section))


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.lists(st.integers(1, 50), max_size=30))
def test_pieces_of_any_size_give_the_same(pieces: list[bytes], sizes: list[int]) -> None:
    trailers = b"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:abc\r\n"
    body, checks = framed(pieces, trailers), Checks()
    unframer = Unframer(headers(x_amz_content_sha256=SIGNED, x_amz_trailer="x-amz-checksum-crc32"), checks)
    found, at = b"", 0
    for size in [*sizes, len(body)]:
        found += b"".join(unframer.feed(body[at : at + size]))
        at += size
    unframer.finish()
    assert found == b"".join(pieces)
    assert unframer.trailers["x-amz-checksum-crc32"] == "AAAAAA=="
    assert checks.chunks == [
        (f"{number:064x}", hashlib.sha256(piece).hexdigest()) for number, piece in enumerate([*pieces, b""])
    ]
    assert checks.ends == [("abc", b"x-amz-checksum-crc32:AAAAAA==\r\n")]


def test_what_a_verifier_refuses_goes_no_further() -> None:
    class Refuses(Checks):
        def chunk(self, signature: str, digest: str) -> None:
            raise AwsError("SignatureDoesNotMatch", "wrong", status=403)

    unframer = Unframer(headers(x_amz_content_sha256=SIGNED), Refuses())
    with pytest.raises(AwsError, match="SignatureDoesNotMatch"):
        unframer.feed(framed([b"content"]))


@pytest.mark.parametrize(
    "body",
    [b"5\r\nabc", b"zz\r\n", b"3\r\nabcX\r\n", b"1" * 600, b"0\r\n" + b"a:b\r\n" * 5000, b"0\r\nno trailer\r\n\r\n"],
)
def test_malformed_bodies_are_refused_and_never_held(body: bytes) -> None:
    unframer = Unframer(headers())
    with pytest.raises(AwsError):
        for at in range(0, len(body), 7):
            unframer.feed(body[at : at + 7])
        unframer.finish()
