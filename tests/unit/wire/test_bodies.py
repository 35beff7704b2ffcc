from __future__ import annotations

import base64
import gzip
import hashlib
import io
import zlib

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.base.http import Headers
from lambent.wire.bodies import decode_body, is_coded
from lambent.wire.errors import AwsError

LIMIT = 1 << 20
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def headers(**values: str) -> Headers:
    return Headers([(name.replace("_", "-").encode(), value.encode()) for name, value in values.items()])


def decode(body: bytes, *, limit: int = LIMIT, **values: str) -> bytes:
    return decode_body(headers(**values), body, limit=limit)


def refused(body: bytes, *, limit: int = LIMIT, **values: str) -> AwsError:
    with pytest.raises(AwsError) as raised:
        decode(body, limit=limit, **values)
    return raised.value


def frame(pieces: list[bytes], *, signed: bool = False, trailers: dict[str, str] | None = None) -> bytes:
    """An aws-chunked body of `pieces`, none of them empty."""
    out = bytearray()
    for index, piece in enumerate([*pieces, b""]):
        signature = f";chunk-signature={hashlib.sha256(b'%d' % index).hexdigest()}" if signed else ""
        out += f"{len(piece):x}{signature}\r\n".encode() + piece
        if piece:
            out += b"\r\n"
    for name, value in (trailers or {}).items():
        out += f"{name}:{value}\r\n".encode()
    return bytes(out + b"\r\n")


def checksum(name: str, data: bytes) -> str:
    digest = zlib.crc32(data).to_bytes(4, "big") if name == "crc32" else hashlib.new(name, data).digest()
    return base64.b64encode(digest).decode()


PIECES = st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.sampled_from([b"\r\n", b"0\r\n\r\n", b"a" * 300])))


# What is not coded


@pytest.mark.parametrize(
    "given_headers",
    [{}, {"content_encoding": "identity"}, {"content_encoding": ""}, {"x_amz_content_sha256": "UNSIGNED-PAYLOAD"}],
)
def test_a_plain_body_stays_the_same_object(given_headers: dict[str, str]) -> None:
    body = b"0\r\n\r\n"
    assert not is_coded(headers(**given_headers))
    assert decode(body, **given_headers) is body


@pytest.mark.parametrize(
    "given_headers",
    [{"content_encoding": "gzip"}, {"content_encoding": "identity, AWS-chunked"}, {"x_amz_content_sha256": SIGNED}],
)
def test_what_counts_as_coded(given_headers: dict[str, str]) -> None:
    assert is_coded(headers(**given_headers))


# aws-chunked


@given(PIECES, st.booleans(), st.sampled_from([None, "crc32", "sha1", "sha256", "sha512", "md5"]))
def test_framing_round_trip(pieces: list[bytes], signed: bool, algorithm: str | None) -> None:
    data = b"".join(pieces)
    name = f"x-amz-checksum-{algorithm}"
    values = {
        "x_amz_content_sha256": SIGNED if signed else UNSIGNED_TRAILER,
        "x_amz_decoded_content_length": str(len(data)),
    }
    trailers = {}
    if algorithm is not None:
        trailers[name] = checksum(algorithm, data)
        values["x_amz_trailer"] = name
    assert decode(frame(pieces, signed=signed, trailers=trailers), **values) == data


@settings(max_examples=50, deadline=None)
@given(PIECES, st.booleans(), st.booleans())
def test_truncation_anywhere_is_an_error(pieces: list[bytes], signed: bool, trailed: bool) -> None:
    data = b"".join(pieces)
    trailers = {"x-amz-checksum-crc32": checksum("crc32", data)} if trailed else {}
    body = frame(pieces, signed=signed, trailers=trailers)
    for length in range(len(body)):
        error = refused(body[:length], content_encoding="aws-chunked")
        assert (error.code, error.status) == ("InvalidRequestContentException", 400)


@given(PIECES, st.binary(min_size=1, max_size=5))
def test_nothing_may_follow_the_end(pieces: list[bytes], more: bytes) -> None:
    assert refused(frame(pieces) + more, content_encoding="aws-chunked").status == 400


@given(st.binary(max_size=200))
def test_arbitrary_bytes_decode_or_are_refused(body: bytes) -> None:
    for values in ({"content_encoding": "aws-chunked"}, {"content_encoding": "gzip"}, {"x_amz_content_sha256": SIGNED}):
        try:
            decode(body, **values)
        except AwsError as error:
            assert error.status == 400


@given(st.binary(max_size=3000), st.integers(1, 700))
def test_what_botocore_sends(data: bytes, chunk_size: int) -> None:
    wrapper = AwsChunkedWrapper(io.BytesIO(data), Crc32Checksum, "x-amz-checksum-crc32", chunk_size)
    decoded = decode(
        wrapper.read(),
        content_encoding="aws-chunked",
        x_amz_content_sha256=UNSIGNED_TRAILER,
        x_amz_decoded_content_length=str(len(data)),
        x_amz_trailer="x-amz-checksum-crc32",
    )
    assert decoded == data


def test_the_example_of_the_documentation() -> None:
    """The signed upload of 65 KiB that AWS documents, signatures included."""
    signatures = [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]
    sizes = [65536, 1024, 0]
    body = b""
    for size, signature in zip(sizes, signatures, strict=True):
        body += f"{size:x};chunk-signature={signature}\r\n".encode() + b"a" * size + b"\r\n"
    assert len(body) == 66824
    decoded = decode(
        body, content_encoding="aws-chunked", x_amz_content_sha256=SIGNED, x_amz_decoded_content_length="66560"
    )
    assert decoded == b"a" * 66560


def test_a_trailer_signature_is_read_past() -> None:
    trailers = {"x-amz-checksum-crc32": checksum("crc32", b"abc"), "x-amz-trailer-signature": "0" * 64}
    assert decode(frame([b"abc"], signed=True, trailers=trailers), x_amz_content_sha256=SIGNED_TRAILER) == b"abc"


@pytest.mark.parametrize("algorithm", ["crc32", "sha1", "sha256", "sha512", "md5"])
def test_a_wrong_checksum_is_refused(algorithm: str) -> None:
    body = frame([b"abc"], trailers={f"X-Amz-Checksum-{algorithm}": checksum(algorithm, b"abd")})
    error = refused(body, x_amz_content_sha256=UNSIGNED_TRAILER)
    assert (error.code, error.status) == ("BadDigest", 400)
    assert str(error.message) == f"The {algorithm.upper()} you specified did not match the calculated checksum."


@pytest.mark.parametrize("algorithm", ["crc32c", "crc64nvme", "xxhash3"])
def test_checksums_beyond_the_standard_library_are_taken(algorithm: str) -> None:
    body = frame([b"abc"], trailers={f"x-amz-checksum-{algorithm}": "AAAA"})
    assert decode(body, x_amz_content_sha256=UNSIGNED_TRAILER, x_amz_trailer=f"x-amz-checksum-{algorithm}") == b"abc"


def test_an_announced_trailer_must_come() -> None:
    error = refused(frame([b"abc"]), x_amz_content_sha256=UNSIGNED_TRAILER, x_amz_trailer="x-amz-checksum-crc32")
    assert "x-amz-checksum-crc32" in str(error.message)


@pytest.mark.parametrize("declared", ["2", "4", "-3", "three", "", "3.0", "9" * 30])
def test_the_decoded_length_must_match(declared: str) -> None:
    assert refused(frame([b"abc"]), content_encoding="aws-chunked", x_amz_decoded_content_length=declared).status == 400


def test_a_signed_body_needs_its_signatures() -> None:
    assert refused(frame([b"abc"]), x_amz_content_sha256=SIGNED).status == 400
    assert decode(frame([b"abc"], signed=True), x_amz_content_sha256=UNSIGNED_TRAILER) == b"abc"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"3\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3;name=value\r\nabc\r\n0\r\n\r\n",
        b"3;chunk-signature=\r\nabc\r\n0\r\n\r\n",
        b"4\r\nabc\r\n0\r\n\r\n",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\nno colon\r\n\r\n",
        b"3\r\nabc\r\n0\r\n: no name\r\n\r\n",
        b"3\r\nabc\r\n0\r\na b:c\r\n\r\n",
        b"3\r\nabc\r\n0\r\na:b\r\n\r\nc:d\r\n\r\n",
    ],
)
def test_broken_framing(body: bytes) -> None:
    assert refused(body, content_encoding="aws-chunked").code == "InvalidRequestContentException"


# gzip


@given(st.binary(max_size=2000), st.integers(0, 9))
def test_gzip_round_trip(data: bytes, level: int) -> None:
    assert decode(gzip.compress(data, level), content_encoding="GZIP") == data


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=8))
def test_gzip_may_have_several_members(parts: list[bytes]) -> None:
    assert decode(b"".join(map(gzip.compress, parts)), content_encoding="x-gzip") == b"".join(parts)


def test_gzip_longer_than_one_piece() -> None:
    data = bytes(hashlib.shake_256(b"").digest(300_000))
    assert decode(gzip.compress(data) + gzip.compress(data), content_encoding="gzip") == data + data


@settings(max_examples=50)
@given(st.binary(max_size=100))
def test_truncated_gzip_is_an_error(data: bytes) -> None:
    body = gzip.compress(data)
    for length in range(len(body)):
        error = refused(body[:length], content_encoding="gzip")
        assert (error.code, error.status) == ("InvalidRequestContentException", 400)


@pytest.mark.parametrize(
    "body", [b"plain text", gzip.compress(b"a") + b"junk", gzip.compress(b"a") + b"\0", zlib.compress(b"a")]
)
def test_damaged_gzip(body: bytes) -> None:
    assert refused(body, content_encoding="gzip").code == "InvalidRequestContentException"


def test_a_flipped_bit_in_gzip_does_not_pass() -> None:
    body = bytearray(gzip.compress(b"a" * 100))
    body[-6] ^= 1  # in the checksum
    assert refused(bytes(body), content_encoding="gzip").status == 400


@pytest.mark.parametrize("limit", [0, 1, 999, 1000, 1001])
def test_the_limit_is_exact(limit: int) -> None:
    data = b"a" * 1000
    body = gzip.compress(data)
    if limit >= 1000:
        assert decode(body, content_encoding="gzip", limit=limit) == data
    else:
        error = refused(body, content_encoding="gzip", limit=limit)
        assert (error.code, error.status) == ("RequestEntityTooLargeException", 413)


def test_the_limit_counts_all_members() -> None:
    assert refused(gzip.compress(b"a" * 600) * 2, content_encoding="gzip", limit=1000).status == 413


def test_a_bomb_is_stopped_early(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    compressor = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(64)) + compressor.flush()
    real = zlib.decompressobj

    class Counting:
        def __init__(self, wbits: int) -> None:
            self._real = real(wbits=wbits)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal made
            piece = self._real.decompress(data, most)
            made += len(piece)
            return piece

        eof = property(lambda self: self._real.eof)
        unused_data = property(lambda self: self._real.unused_data)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    assert refused(bomb, content_encoding="gzip", limit=100_000).status == 413
    assert made == 100_001


def test_framing_counts_for_the_limit() -> None:
    assert refused(frame([b"abcd"]), content_encoding="aws-chunked", limit=3).status == 413


# Several codings


@given(st.binary(max_size=200))
def test_codings_are_undone_in_reverse(data: bytes) -> None:
    body = frame([gzip.compress(gzip.compress(data))])
    for encoding in ("gzip, gzip, aws-chunked", "aws-chunked,gzip,gzip", "gzip,identity,aws-chunked , gzip"):
        assert decode(body, content_encoding=encoding) == data


def test_codings_in_several_headers() -> None:
    given_headers = Headers([(b"content-encoding", b"gzip"), (b"content-encoding", b"aws-chunked")])
    assert decode_body(given_headers, frame([gzip.compress(b"abc")]), limit=LIMIT) == b"abc"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, zstd", "chunked"])
def test_an_unknown_coding_is_not_supported(encoding: str) -> None:
    error = refused(b"abc", content_encoding=encoding)
    assert (error.code, error.status) == ("UnsupportedMediaTypeException", 415)


def test_too_many_codings_are_refused() -> None:
    body = b"abc"
    for _ in range(4):
        body = gzip.compress(body)
    assert decode(body, content_encoding=",".join(["gzip"] * 4)) == b"abc"
    assert refused(gzip.compress(body), content_encoding=",".join(["gzip"] * 5)).status == 400
