"""Signatures: botocore's own signers are the oracle."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.base.http import Headers, Request
from lambent.testing import FakeClock
from lambent.wire.errors import AwsError
from lambent.wire.refusals import Kind, Refusal
from lambent.wire.signatures import ChunkVerifier, Proof, Verifier, signing_key
from lambent.wire.sigv4 import Accounts

HOST = "127.0.0.1:4566"
SIGNERS: dict[str, Any] = {
    "header": SigV4Auth,
    "query": SigV4QueryAuth,
    "s3 header": S3SigV4Auth,
    "s3 query": S3SigV4QueryAuth,
}
PATHS = [
    "/",
    "/2015-03-31/functions/f/invocations",
    "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/invocations",
    "/a%20b/c%2Fd",
    "/bucket/dir//deep/./x",
    "/bucket/%E2%98%83",
    "/with+plus",
]


class Desk:
    """A verifier, its clock, and a key that it knows."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.accounts = Accounts()
        self.accounts.issue("AKID", "111111111111", "arn:aws:iam::111111111111:user/u", secret="secret")
        self.verifier = Verifier(self.accounts, self.clock)

    def sign(
        self,
        kind: str = "header",
        path: str = "/",
        body: bytes = b"",
        *,
        method: str = "POST",
        key: str = "AKID",
        secret: str = "secret",
        token: str | None = None,
        ago: float = 0,
        headers: dict[str, str] | None = None,
        expires: int = 300,
    ) -> Request:
        request = AWSRequest(method, f"http://{HOST}{path}", {"Host": HOST, **(headers or {})}, body)
        service = "s3" if kind.startswith("s3") else "lambda"
        settings = {"expires": expires} if "query" in kind else {}
        signer = SIGNERS[kind](Credentials(key, secret, token), service, "eu-west-1", **settings)
        then = datetime.fromtimestamp(self.clock.time(), UTC) - timedelta(seconds=ago)
        with mock.patch.object(botocore.auth, "get_current_datetime", return_value=then):
            signer.add_auth(request)
        pairs = [(name.lower().encode(), str(value).encode()) for name, value in request.headers.items()]
        return Request(method, request.url.removeprefix(f"http://{HOST}"), Headers(pairs), body)

    def verify(self, request: Request) -> Proof:
        proof = self.verifier.verify(request, request.body)
        proof.check(request.body)
        return proof

    def refuses(self, request: Request) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.verify(request)
        return caught.value


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize("kind", SIGNERS)
@pytest.mark.parametrize("path", [*PATHS, "/f?b=2&a=1&a=%20&empty", "/f?Marker=a%2Bb%2Fc%3D"])
def test_what_botocore_signs_is_accepted(desk: Desk, kind: str, path: str) -> None:
    body = b"" if "query" in kind else b'{"a":1}'
    proof = desk.verify(desk.sign(kind, path, body, headers={"X-Amz-Target": "T.Op"} if kind == "header" else None))
    assert (proof.issued.user, proof.scope.region) == ("u", "eu-west-1")
    assert desk.accounts.last_used["AKID"][2] == "eu-west-1"


@pytest.mark.parametrize("kind", SIGNERS)
def test_another_path_query_method_header_or_body_is_not(desk: Desk, kind: str) -> None:
    method, body = ("GET", b"") if "query" in kind else ("POST", b"body")
    good = desk.sign(kind, "/f/a%2Fb?x=1", body, method=method)
    desk.verify(good)
    path, _, query = good.target.partition("?")
    targets = [f"/f/a/b?{query}", f"{path}x?{query}", f"{path}?{query}&y=2", f"{path}?{query.replace('x=1', 'x=2')}"]
    for target in targets:
        assert desk.refuses(Request(method, target, good.headers, good.body)).kind is Kind.SIGNATURE, target
    assert desk.refuses(Request("PUT", good.target, good.headers, good.body)).kind is Kind.SIGNATURE
    pairs = [(name.encode(), value.encode()) for name, value in good.headers.items()]
    further = Headers([*pairs, (b"x-amz-invocation-type", b"Event")])
    assert "which were not signed" in str(desk.refuses(Request(method, good.target, further, good.body)).message)
    if "query" not in kind:
        changed = Request(method, good.target, good.headers, b"other")
        assert desk.refuses(changed).kind in (Kind.SIGNATURE, Kind.DIGEST)


def test_session_tokens(desk: Desk) -> None:
    given: dict[str, Any] = {"secret": "s", "token": "token", "expires": desk.clock.time() + 60}
    desk.accounts.issue("ASIA", "111111111111", "arn:aws:sts::111111111111:assumed-role/r/s", "role", **given)
    for kind in SIGNERS:
        good = desk.sign(kind, key="ASIA", secret="s", token="token")
        desk.verify(good)
        assert desk.refuses(desk.sign(kind, key="ASIA", secret="s")).kind is Kind.WRONG_TOKEN
        assert desk.refuses(desk.sign(kind, key="ASIA", secret="s", token="other")).kind is Kind.WRONG_TOKEN
        assert desk.refuses(desk.sign(kind, token="token")).kind is Kind.WRONG_TOKEN
    desk.clock.advance(60)
    assert desk.refuses(desk.sign(key="ASIA", secret="s", token="token")).kind is Kind.EXPIRED_TOKEN


@pytest.mark.parametrize(("kind", "minutes"), [("header", 5), ("s3 header", 15)])
def test_time(desk: Desk, kind: str, minutes: int) -> None:
    for ago in (minutes * 60 - 1, -minutes * 60 + 1):
        desk.verify(desk.sign(kind, ago=ago))
    late = desk.refuses(desk.sign(kind, ago=minutes * 60 + 2))
    assert late.kind is Kind.SKEWED
    assert str(late.message).startswith("Signature expired: ")
    assert str(late.message).endswith(f" - {minutes} min.)")
    assert "not yet current" in str(desk.refuses(desk.sign(kind, ago=-minutes * 60 - 2)).message)


@pytest.mark.parametrize("kind", ["query", "s3 query"])
def test_links_expire(desk: Desk, kind: str) -> None:
    link = desk.sign(kind, expires=1000, method="GET")
    desk.clock.advance(999)
    desk.verify(link)
    desk.clock.advance(2)
    assert desk.refuses(link).kind is Kind.EXPIRED
    assert desk.refuses(desk.sign(kind, expires=604_801)).kind is Kind.INCOMPLETE


def test_keys(desk: Desk) -> None:
    assert desk.refuses(desk.sign(key="OTHER")).kind is Kind.UNKNOWN_KEY
    assert desk.refuses(desk.sign(secret="wrong")).kind is Kind.SIGNATURE
    desk.accounts.issue("BARE", "111111111111", "arn")
    assert desk.refuses(desk.sign(key="BARE", secret="")).kind is Kind.UNKNOWN_KEY, "a key without a secret"
    good = desk.sign()
    desk.verify(good)
    desk.accounts.replace("AKID", active=False)
    assert desk.refuses(good).kind is Kind.UNKNOWN_KEY
    desk.accounts.replace("AKID", active=True, secret="another")
    assert desk.refuses(good).kind is Kind.SIGNATURE, "the signing key that is kept was made of the old secret"


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (None, Kind.MISSING),
        ("", Kind.MISSING),
        ("Bearer x", Kind.MISSING),
        ("AWS AKID:signature", Kind.INCOMPLETE),
        ("AWS4-HMAC-SHA256", Kind.INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential=AKID/20240101/r/s/aws4_request", Kind.INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential=AKID, SignedHeaders=host, Signature=x", Kind.INCOMPLETE),
        ("AWS4-HMAC-SHA256 Credential=AKID/20240101/r/s/other, SignedHeaders=host, Signature=x", Kind.SIGNATURE),
        ("AWS4-HMAC-SHA256 Credential=AKID/20240101/r/s/aws4_request, SignedHeaders=date, Signature=x", Kind.SIGNATURE),
    ],
)
def test_headers_that_are_none(desk: Desk, header: str | None, kind: Kind) -> None:
    pairs = [(b"host", HOST.encode()), (b"x-amz-date", b"20240101T000000Z")]
    pairs += [(b"authorization", header.encode())] if header is not None else []
    assert desk.refuses(Request("GET", "/", Headers(pairs))).kind is kind


def test_sigv4a_is_not_built(desk: Desk) -> None:
    headers = Headers([(b"authorization", b"AWS4-ECDSA-P256-SHA256 Credential=x")])
    with pytest.raises(AwsError, match="SigV4A") as caught:
        desk.verifier.verify(Request("GET", "/", headers), b"")
    assert caught.value.status == 501


def test_the_signing_key_of_awss_example() -> None:
    """IAM user guide, "Examples of how to derive a signing key"."""
    key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


def test_chunks_of_awss_example() -> None:
    """S3 API reference, "Signature calculations for the Authorization header: Transferring a payload in chunks"."""
    key = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3")
    seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    scope = "20130524/us-east-1/s3/aws4_request"
    chunks = [
        (b"a" * 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (b"a" * 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ]
    verifier = ChunkVerifier(key, "20130524T000000Z", scope, seed)
    for data, signature in chunks:
        verifier.chunk(signature, hashlib.sha256(data).hexdigest())
    for wrong in ({"data": b"b" * 65536}, {"signature": "0" * 64}):
        verifier = ChunkVerifier(key, "20130524T000000Z", scope, seed)
        data, signature = wrong.get("data", chunks[0][0]), wrong.get("signature", chunks[0][1])
        with pytest.raises(Refusal):
            verifier.chunk(str(signature), hashlib.sha256(bytes(data)).hexdigest())  # type: ignore[arg-type]


def test_trailers_are_signed_over_the_last_chunk() -> None:
    key, moment, scope = b"k" * 32, "20130524T000000Z", "20130524/us-east-1/s3/aws4_request"
    section = b"x-amz-checksum-crc32:AAAAAA==\r\n"
    digest = hashlib.sha256(b"x-amz-checksum-crc32:AAAAAA==\n").hexdigest()
    text = f"AWS4-HMAC-SHA256-TRAILER\n{moment}\n{scope}\nseed\n{digest}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    ChunkVerifier(key, moment, scope, "seed").trailers(signature, section)
    for shown, sent in ((signature, section + b"x:y\r\n"), (None, section), ("0" * 64, section)):
        with pytest.raises(Refusal):
            ChunkVerifier(key, moment, scope, "seed").trailers(shown, sent)


# Whatever is sent, it is refused or it is what was signed

_text = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60)


@given(header=_text, target=_text, date=_text, body=st.binary(max_size=50))
@settings(max_examples=300, deadline=None)
def test_nonsense_is_refused(header: str, target: str, date: str, body: bytes) -> None:
    desk = Desk()
    for authorization in (header, f"AWS4-HMAC-SHA256 {header}", f"AWS4-HMAC-SHA256 Credential=AKID/{header}"):
        pairs = [(b"host", HOST.encode()), (b"authorization", authorization.encode("latin-1"))]
        pairs.append((b"x-amz-date", date.encode("latin-1")))
        for path in ("/" + target, f"/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={target}"):
            with pytest.raises(AwsError):
                desk.verifier.verify(Request("GET", path, Headers(pairs), body), body)
            with pytest.raises(AwsError):
                desk.verifier.verify(Request("GET", path, Headers(pairs[:1]), body), body)


@given(
    kind=st.sampled_from(["header", "s3 header"]),
    path=st.lists(st.sampled_from(["a", "b%2Fc", "..", ".", "", "d%20e", "f+g", "h:i", "%C3%A4", "~"]), max_size=5),
    query=st.lists(st.tuples(st.sampled_from(["a", "b", "c%20d"]), st.sampled_from(["", "1", "x%2By", "z=", "~"]))),
    body=st.binary(max_size=40),
    place=st.integers(0, 10_000),
)
@settings(max_examples=300, deadline=None)
def test_one_changed_byte_is_refused(
    kind: str, path: list[str], query: list[tuple[str, str]], body: bytes, place: int
) -> None:
    desk = Desk()
    text = "/" + "/".join(path) + ("?" + "&".join(f"{n}={v}" for n, v in query) if query else "")
    good = desk.sign(kind, text, body)
    desk.verify(good)
    pairs = [(name.encode(), value.encode()) for name, value in good.headers.items()]
    at = place % len(pairs)
    name, value = pairs[at]
    where = place % len(value)
    other = bytes([value[where] ^ 1])
    if other.isspace() or value[where : where + 1].isspace() or (name == b"authorization" and other in b", ="):
        return
    pairs[at] = (name, value[:where] + other + value[where + 1 :])
    with pytest.raises(AwsError):
        desk.verify(Request(good.method, good.target, Headers(pairs), body))
    with pytest.raises(AwsError):
        desk.verify(Request(good.method, good.target, good.headers, body + b"x"))
