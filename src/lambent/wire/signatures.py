"""Signatures of version 4, verified: in the header, in the query of a presigned URL, and of the chunks of a body.

Nothing here knows users or sessions: `sigv4.Accounts` has whose keys the server has handed out, with their secrets.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import unquote

from lambent.base.clock import Clock
from lambent.base.http import Request
from lambent.wire import canonical
from lambent.wire.errors import AwsError
from lambent.wire.refusals import Kind, Refusal
from lambent.wire.sigv4 import Accounts, Issued, Scope

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
_CHUNK, _TRAILER = ALGORITHM + "-PAYLOAD", ALGORITHM + "-TRAILER"
_STREAMING = "STREAMING-"
_SIGNED_STREAMING = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
_OTHER_STREAMING = ("STREAMING-UNSIGNED-PAYLOAD-TRAILER",)
_EMPTY = hashlib.sha256(b"").hexdigest()
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOMENT = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SKEW, _SKEW_OF_S3 = 300, 900  # seconds
_LONGEST = 604_800  # seconds that a presigned URL may be good for
_KEYS = 4096  # signing keys that are kept
_V4A = "Lambent does not verify SigV4A signatures (AWS4-ECDSA-P256-SHA256) yet: sign with SigV4 for one region."


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a signature says of itself."""

    key: str
    date: str  # "20240229"
    region: str
    service: str
    names: tuple[str, ...]  # of the signed headers
    signature: str
    moment: str  # "20240229T010203Z"
    token: str | None
    expires: int | None = None  # seconds that a presigned URL is good for; None for a header

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


class ChunkVerifier:
    """Checks a body that is signed chunk by chunk, each signature over the one before."""

    def __init__(self, key: bytes, moment: str, scope: str, seed: str) -> None:
        self._key = key
        self._head = f"{moment}\n{scope}"
        self._before = seed

    def chunk(self, signature: str, digest: str) -> None:
        """The next chunk has come whole; `digest` is its sha256, in hexadecimal. Refusal when it was not signed."""
        self._check(signature, f"{_CHUNK}\n{self._head}\n{self._before}\n{_EMPTY}\n{digest}")

    def trailers(self, signature: str | None, section: bytes) -> None:
        """The trailers have come: `section` as it was sent, without the line of the signature."""
        if not section and signature is None:
            return
        lines = section.replace(b"\r\n", b"\n")
        digest = hashlib.sha256(lines).hexdigest()
        self._check(signature or "", f"{_TRAILER}\n{self._head}\n{self._before}\n{digest}")

    def _check(self, signature: str, text: str) -> None:
        expected = _sign(self._key, text)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise Refusal(Kind.SIGNATURE)
        self._before = expected


@dataclass(frozen=True, slots=True)
class Proof:
    """A request whose signature is right, as far as its head goes."""

    issued: Issued
    scope: Scope
    digest: str | None = None  # what the body's sha256 must be; None: it is not signed, or chunk by chunk
    chunks: ChunkVerifier | None = None  # of a body that is signed chunk by chunk

    def check(self, body: bytes) -> None:
        """Raises Refusal unless `body` (as it was sent) is the one that was signed."""
        if self.digest is not None and hashlib.sha256(body).hexdigest() != self.digest:
            raise Refusal(Kind.DIGEST)


class Verifier:
    """Checks who signed. Signing keys and nothing else are remembered."""

    def __init__(self, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock
        self._keys: dict[tuple[str, str, str, str, str], bytes] = {}

    def verify(self, request: Request, body: bytes | None) -> Proof:
        """Whose request it is. `body`: as it was sent, None while it has not come.

        A request that tells no digest of its body is signed over the body itself: without the body it is refused.
        Raises Refusal, and 501 for SigV4A.
        """
        claim = _claim(request)
        s3 = claim.service == "s3"
        issued = self._issued(claim)
        self._check_time(claim, s3)
        declared = request.headers.get("x-amz-content-sha256")
        if declared is None:
            if claim.expires is not None and s3:
                declared = UNSIGNED
            elif body is None:
                raise Refusal(Kind.SIGNATURE)
        payload = declared if declared is not None else hashlib.sha256(body or b"").hexdigest()
        _check_all_signed(request, claim)
        key = self._signing_key(claim, issued)
        if not self._matches(request, claim, payload, key, s3):
            raise Refusal(Kind.SIGNATURE)
        self._accounts.last_used[claim.key] = (self._clock.time(), claim.service, claim.region)
        return _proof(issued, claim, declared, key)

    def _issued(self, claim: _Claim) -> Issued:
        issued = self._accounts.issued(claim.key)
        if issued is None or not issued.secret or not issued.active:
            raise Refusal(Kind.UNKNOWN_KEY, key=claim.key, token=claim.token or "")
        token = claim.token or ""
        if not hmac.compare_digest(token.encode(), issued.token.encode()):
            raise Refusal(Kind.WRONG_TOKEN)
        if issued.expires is not None and issued.expires <= self._clock.time():
            raise Refusal(Kind.EXPIRED_TOKEN)
        return issued

    def _check_time(self, claim: _Claim, s3: bool) -> None:
        if claim.moment[:8] != claim.date:
            raise Refusal(
                Kind.INCOMPLETE,
                f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP:"
                f" '{claim.date}' != '{claim.moment[:8]}', from '{claim.moment}'.",
            )
        signed, now = _seconds(claim.moment), self._clock.time()
        allowed = _SKEW_OF_S3 if s3 else _SKEW
        minutes = allowed // 60
        if signed > now + allowed:
            message = f"Signature not yet current: {claim.moment} is still later than {_moment(now + allowed)}"
            raise Refusal(Kind.SKEWED, f"{message} ({_moment(now)} + {minutes} min.)")
        if claim.expires is not None:
            if now > signed + claim.expires:
                if s3:
                    raise Refusal(Kind.EXPIRED, "Request has expired")
                end = _moment(signed + claim.expires)
                raise Refusal(Kind.EXPIRED, f"Signature expired: {end} is now earlier than {_moment(now)}")
        elif signed < now - allowed:
            message = f"Signature expired: {claim.moment} is now earlier than {_moment(now - allowed)}"
            raise Refusal(Kind.SKEWED, f"{message} ({_moment(now)} - {minutes} min.)")

    def _signing_key(self, claim: _Claim, issued: Issued) -> bytes:
        name = (claim.key, issued.secret, claim.date, claim.region, claim.service)
        key = self._keys.get(name)
        if key is None:
            key = signing_key(issued.secret, claim.date, claim.region, claim.service)
            if len(self._keys) >= _KEYS:
                self._keys.clear()
            self._keys[name] = key
        return key

    def _matches(self, request: Request, claim: _Claim, payload: str, key: bytes, s3: bool) -> bool:
        lines = canonical.headers(request.headers, claim.names)
        if lines is None:
            return False
        given = claim.signature.encode()
        names = ";".join(claim.names)
        path = _path(request.target)
        for where in canonical.paths(path, s3=s3):
            for query in canonical.queries(request.query):
                text = f"{request.method}\n{where}\n{query}\n{lines}\n{names}\n{payload}"
                digest = hashlib.sha256(_bytes(text)).hexdigest()
                expected = _sign(key, f"{ALGORITHM}\n{claim.moment}\n{claim.scope}\n{digest}")
                if hmac.compare_digest(expected.encode(), given):
                    return True
        return False


def _path(target: str) -> str:
    path = target.partition("?")[0]
    if path[:1] != "/":  # in absolute form
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path


def _proof(issued: Issued, claim: _Claim, declared: str | None, key: bytes) -> Proof:
    scope = Scope(claim.key, claim.region, claim.service)
    if declared is None or declared == UNSIGNED or declared in _OTHER_STREAMING:
        return Proof(issued, scope)
    if declared in _SIGNED_STREAMING:
        return Proof(issued, scope, chunks=ChunkVerifier(key, claim.moment, claim.scope, claim.signature))
    if declared.startswith(_STREAMING):
        raise AwsError("NotImplementedException", f"Lambent does not implement {declared} bodies yet.", status=501)
    if not _DIGEST.fullmatch(declared):
        raise Refusal(Kind.DIGEST)
    return Proof(issued, scope, declared)


def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for step in (date, region, service, "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    return key


def _sign(key: bytes, text: str) -> str:
    return hmac.digest(key, _bytes(text), "sha256").hex()


def _bytes(text: str) -> bytes:
    """As it was sent; only what stood percent-encoded in a query can hold more than bytes."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


@lru_cache(maxsize=256)
def _seconds(moment: str) -> int:
    try:
        return calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise Refusal(Kind.INCOMPLETE, f"Date must be in ISO-8601 'basic format'. Got '{moment}'.") from None


def _moment(seconds: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


# What a signature says of itself


def _claim(request: Request) -> _Claim:
    header = request.headers.get("authorization")
    if header is not None:
        return _of_header(request, header)
    if "X-Amz-Algorithm=" in request.query or "X-Amz-Signature=" in request.query:
        return _of_query(request)
    raise Refusal(Kind.MISSING)


def _of_header(request: Request, header: str) -> _Claim:
    algorithm, _, rest = header.partition(" ")
    if algorithm.startswith("AWS4-ECDSA"):
        raise AwsError("NotImplementedException", _V4A, status=501)
    if algorithm != ALGORITHM:
        if algorithm == "AWS":
            message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
            raise Refusal(Kind.INCOMPLETE, message)
        raise Refusal(Kind.MISSING)
    fields = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            message = f"'{part.strip()}' not a valid key=value pair (missing equal-sign) in Authorization header:"
            raise Refusal(Kind.INCOMPLETE, f"{message} '{algorithm}'.")
        fields[name] = value.strip()
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not fields.get(name)]
    if missing:
        wanted = " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        raise Refusal(Kind.INCOMPLETE, f"{wanted} Authorization={algorithm}")
    moment = _date_of(request)
    key, date, region, service = _credential(fields["Credential"])
    names = _signed_names(fields["SignedHeaders"])
    token = request.headers.get("x-amz-security-token")
    return _Claim(key, date, region, service, names, fields["Signature"], moment, token)


def _of_query(request: Request) -> _Claim:
    fields: dict[str, str] = {}
    for part in request.query.split("&"):
        name, _, value = part.partition("=")
        if name.startswith("X-Amz-"):
            if name in fields:
                raise Refusal(Kind.INCOMPLETE, f"The query parameter {name} must come once.")
            fields[name] = unquote(value)
    algorithm = fields.get("X-Amz-Algorithm", "")
    if algorithm.startswith("AWS4-ECDSA"):
        raise AwsError("NotImplementedException", _V4A, status=501)
    if algorithm != ALGORITHM:
        raise Refusal(Kind.INCOMPLETE, f"X-Amz-Algorithm must be {ALGORITHM}.")
    wanted = ("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
    missing = [name for name in wanted if not fields.get(name)]
    if missing:
        text = " ".join(f"AWS query-string parameters must include '{name}'." for name in missing)
        raise Refusal(Kind.INCOMPLETE, f"{text} Re-examine the query-string parameters.")
    key, date, region, service = _credential(fields["X-Amz-Credential"])
    lasts = fields.get("X-Amz-Expires", "" if service == "s3" else "300")
    if not re.fullmatch(r"[0-9]{1,6}", lasts) or not 0 < int(lasts) <= _LONGEST:
        message = f"X-Amz-Expires must be from 1 to {_LONGEST} seconds (a week)."
        raise Refusal(Kind.INCOMPLETE, message)
    names = _signed_names(fields["X-Amz-SignedHeaders"])
    token = fields.get("X-Amz-Security-Token") or request.headers.get("x-amz-security-token")
    moment = _checked(fields["X-Amz-Date"])
    return _Claim(key, date, region, service, names, fields["X-Amz-Signature"], moment, token, int(lasts))


def _credential(text: str) -> tuple[str, str, str, str]:
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or not all(parts):
        wanted = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term"
        raise Refusal(Kind.INCOMPLETE, f"{wanted}, got '{text}'")
    key, date, region, service, term = parts
    if term != "aws4_request":
        message = f"Credential should be scoped with a valid terminator: 'aws4_request', not '{term}'."
        raise Refusal(Kind.SIGNATURE, message)
    return key, date, region, service


def _signed_names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(";"))
    if "host" not in names:
        raise Refusal(Kind.SIGNATURE, "'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if list(names) != sorted(set(names)) or text != text.lower():
        raise Refusal(Kind.SIGNATURE)
    return names


def _date_of(request: Request) -> str:
    moment = request.headers.get("x-amz-date")
    if moment is not None:
        return _checked(moment)
    date = request.headers.get("date")
    if date is None:
        message = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        raise Refusal(Kind.INCOMPLETE, message)
    if _MOMENT.fullmatch(date):
        return date
    try:
        return _moment(parsedate_to_datetime(date).timestamp())
    except (ValueError, TypeError, OverflowError, OSError):
        raise Refusal(Kind.INCOMPLETE, f"Date must be in ISO-8601 'basic format'. Got '{date}'.") from None


def _checked(moment: str) -> str:
    if not _MOMENT.fullmatch(moment):
        raise Refusal(Kind.INCOMPLETE, f"Date must be in ISO-8601 'basic format'. Got '{moment}'.")
    return moment


def _check_all_signed(request: Request, claim: _Claim) -> None:
    """What changes the meaning of a request must be signed: every `x-amz-` header that was sent."""
    left = [
        name
        for name in map(bytes.decode, filter(_is_amz, request.headers.first))
        if name not in claim.names and name != "x-amz-security-token"
    ]
    if left:
        raise Refusal(
            Kind.SIGNATURE, f"There were headers present in the request which were not signed: {', '.join(left)}"
        )


def _is_amz(name: bytes) -> bool:
    return name.startswith(b"x-amz-")
