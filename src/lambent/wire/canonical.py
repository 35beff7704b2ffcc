"""What a signature of version 4 is made over: the canonical request.

Source: "Create a signed AWS API request" of the IAM user guide; "Authenticating Requests (AWS Signature Version 4)" of
the S3 API reference. A client and the server must write the same text from the same request; where clients differ in
how they write the path and the query, every way that is a plain function of the request as it was sent is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote_to_bytes

from lambent.base.http import Headers

_PATH_SAFE, _QUERY_SAFE = "/-_.~", "-_.~"
_PLAIN = re.compile(r"[A-Za-z0-9/_.~-]*")
_SIGNATURE = "X-Amz-Signature"


def paths(path: str, *, s3: bool) -> Iterator[str]:
    """The ways to write a path: of S3 encoded once and not normalised, of others normalised and encoded twice.

    `path` as it was sent, percent-encoded.
    """
    if _PLAIN.fullmatch(path) and "/." not in path and "//" not in path:
        yield path or "/"
        return
    if s3:
        once = _again(path)
        yield once
        if once != path:
            yield path
        return
    seen: list[str] = []
    for base in (_normalized(path), path):
        for way in (quote(base.encode("latin-1"), safe=_PATH_SAFE), quote(_again(base), safe=_PATH_SAFE)):
            if way not in seen:
                seen.append(way)
                yield way


def _again(path: str) -> str:
    """Encoded once in the canonical way, whatever the client left as it was. An encoded slash stays one."""
    return "/".join(_encoded(segment) for segment in path.split("/"))


def _normalized(path: str) -> str:
    """Without empty and dot segments (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    trailing = "/" if path.endswith("/") and kept else ""
    return "/" + "/".join(kept) + trailing


def queries(query: str) -> Iterator[str]:
    """The ways to write a query: decoded and encoded again, or as it was sent; sorted, without the signature itself."""
    if not query:
        yield ""
        return
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    sent = [(name, value) for name, value in pairs if name != _SIGNATURE]
    again = _joined([(_encoded(name), _encoded(value)) for name, value in sent])
    yield again
    as_sent = _joined(sent)
    if as_sent != again:
        yield as_sent
    spaced = _joined(
        [(_encoded(name.replace("+", "%20")), _encoded(value.replace("+", "%20"))) for name, value in sent]
    )
    if spaced not in (again, as_sent):
        yield spaced


def _encoded(text: str) -> str:
    return (
        text if text.isalnum() and text.isascii() else quote(unquote_to_bytes(text.encode("latin-1")), safe=_QUERY_SAFE)
    )


def _joined(pairs: Sequence[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def headers(sent: Headers, signed: Sequence[str]) -> str | None:
    """The lines of the signed headers; None when one of them was not sent."""
    lines = []
    for name in signed:
        first = sent.first.get(name.encode())
        if first is None:
            return None
        value = first.decode("latin-1")
        if sent.repeats:
            value = ",".join(" ".join(one.split()) for one in sent.get_all(name))
        elif "  " in value or value[:1].isspace() or value[-1:].isspace() or "\t" in value:
            value = " ".join(value.split())
        lines.append(f"{name}:{value}\n")
    return "".join(lines)
