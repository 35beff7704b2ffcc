"""Which web pages may ask a bucket: its CORS configuration, applied."""

from __future__ import annotations

import fnmatch
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from lambent.base.http import Request
from lambent.services.s3.buckets import Buckets
from lambent.wire import buckets

Rule = Mapping[str, Any]
Headers = list[tuple[str, str]]


class Cors:
    """A `lambent.wire.gateway.Pages`."""

    def __init__(self, known: Buckets) -> None:
        self._known = known

    def granted(self, request: Request) -> Headers | None:
        """What goes with the answer to a page that may ask; None where the bucket does not say that it may."""
        origin = request.headers.get("origin") or ""
        method = request.headers.get("access-control-request-method") or request.method
        names = (request.headers.get("access-control-request-headers") or "").lower().split(",")
        asked = [name.strip() for name in names if name.strip()]
        for rule in self._rules(request):
            if _allows(rule, origin, method, asked):
                return _headers(rule, origin, asked)
        return None

    def _rules(self, request: Request) -> Sequence[Rule]:
        name = urllib.parse.unquote(buckets.path_of(request)).lstrip("/").partition("/")[0]
        bucket = self._known.find(name)
        rules: Sequence[Rule] = () if bucket is None else bucket.configurations.get("cors", {}).get("CORSRules", ())
        return rules


def _allows(rule: Rule, origin: str, method: str, asked: Sequence[str]) -> bool:
    return (
        method in rule["AllowedMethods"]
        and any(_fits(pattern, origin) for pattern in rule["AllowedOrigins"])
        and all(any(_fits(one.lower(), name) for one in rule.get("AllowedHeaders", ())) for name in asked)
    )


def _fits(pattern: str, text: str) -> bool:
    """Only `*` is special."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))


def _headers(rule: Rule, origin: str, asked: Sequence[str]) -> Headers:
    anybody = "*" in rule["AllowedOrigins"]
    found = [
        ("Access-Control-Allow-Origin", "*" if anybody else origin),
        ("Access-Control-Allow-Methods", ", ".join(rule["AllowedMethods"])),
        ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ]
    if not anybody:
        found.append(("Access-Control-Allow-Credentials", "true"))
    if asked:
        found.append(("Access-Control-Allow-Headers", ", ".join(asked)))
    if exposed := rule.get("ExposeHeaders"):
        found.append(("Access-Control-Expose-Headers", ", ".join(exposed)))
    if "MaxAgeSeconds" in rule:
        found.append(("Access-Control-Max-Age", str(rule["MaxAgeSeconds"])))
    return found
