"""Requests and responses of HTTP, and how a response looks on the wire."""

from __future__ import annotations

import http
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from lambent.base.http_streams import Sink

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in http.HTTPStatus if s >= 200}
BODILESS = (204, 304)
# The server's own business: an application that copies headers from elsewhere must not break the framing.
_FRAMING = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
_FRAMING_LENGTHS = frozenset(map(len, _FRAMING))


class Headers:
    """Headers in the order they came; names in lower case, values as latin-1."""

    __slots__ = ("_pairs", "first")

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """`pairs` have their names in lower case already."""
        self._pairs = pairs
        first = dict(pairs)
        self.first = first if len(first) == len(pairs) else dict(reversed(pairs))  # each name's first value, as sent

    @property
    def repeats(self) -> bool:
        """Whether any name comes twice."""
        return len(self.first) != len(self._pairs)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of `name`, in any case."""
        value = self.first.get(_key(name))
        return default if value is None else value.strip().decode("latin-1")

    def get_all(self, name: str) -> list[str]:
        wanted = name.lower().encode()
        return [value.strip().decode("latin-1") for key, value in self._pairs if key == wanted]

    def items(self) -> Iterator[tuple[str, str]]:
        return ((key.decode("latin-1"), value.strip().decode("latin-1")) for key, value in self._pairs)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower().encode() in self.first


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return name.lower().encode()


_NO_HEADERS = Headers([])


class Request:
    """One request. `body` and `trailers` are complete when `Application.handle` sees it."""

    __slots__ = ("body", "body_limit", "headers", "method", "path", "peer", "query", "sink", "target", "trailers")

    def __init__(self, method: str, target: str, headers: Headers, body: bytes = b"") -> None:
        path, _, query = target.partition("?")
        self.method = method
        self.target = target  # as it was sent
        self.path = path if path[:1] == "/" else _path_of(path)  # still percent-encoded
        self.query = query  # what follows "?", or ""
        self.headers = headers
        self.body = body
        self.peer = ""  # the address of the client, where it has one
        self.body_limit: int | None = None  # bytes; set by Application.admit
        self.sink: Sink | None = None  # takes the body instead of `body`; set by Application.admit
        self.trailers = _NO_HEADERS  # headers sent behind a chunked body


def _path_of(target: str) -> str:
    """The path of a target in absolute form (`http://host/path`); other forms (`*`) have none and stay."""
    scheme, separator, rest = target.partition("://")
    if not separator or "/" in scheme:
        return target
    _, slash, path = rest.partition("/")
    return slash + path or "/"


class Response(NamedTuple):
    """An answer. The server adds Content-Length and Connection; names and values must not hold line breaks."""

    status: int  # 200 to 999
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


def plain(status: int, text: str) -> Response:
    """A short answer of the server itself."""
    return Response(status, (("Content-Type", "text/plain"),), f"{text}\n".encode())


def encode_head(response: Response, connection: str, head_only: bool, streamed: bool = False) -> bytes:
    """The response up to its body. `connection`: "" or whole header lines; `head_only`: the request was a HEAD.

    `streamed`: the body has no length yet, and `connection` says how its end is told. The answer to a HEAD may give
    the Content-Length that a GET would have. Raises ValueError for a line break in a header and for a status that
    ends no exchange.
    """
    status, headers, body = response
    head = _STATUS_LINES.get(status) or _status_line(status)
    length, lines = len(body), 1
    for name, value in headers:
        if len(name) in _FRAMING_LENGTHS and (lowered := name.lower()) in _FRAMING:
            if head_only and lowered == "content-length":
                length = int(value)
            continue
        head += f"{name}: {value}\r\n"
        lines += 1
    if head.count("\n") != lines or head.count("\r") != lines:
        raise ValueError("a header of the response holds a line break")
    if streamed or status in BODILESS:
        head += f"{connection}\r\n"
    else:
        head += f"Content-Length: {length}\r\n{connection}\r\n"
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        return b"\r\n".join(map(_encode_line, head.split("\r\n")))


def _status_line(status: int) -> str:
    if not 200 <= status <= 999:
        raise ValueError(f"{status} is no status of a response")
    return f"HTTP/1.1 {status} \r\n"


def _encode_line(line: str) -> bytes:
    """Latin-1, so that what came in goes out unchanged; UTF-8 where that cannot be."""
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode()
