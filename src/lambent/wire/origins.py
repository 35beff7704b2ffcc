"""Browsers are not clients: a web page that somebody visits must not reach this server through their browser.

Callers are not checked (`--auth off`), and a browser sends requests to loopback for any page. Two things give it away:
an `Origin` that is not this machine, and, where a page's own name was made to resolve to 127.0.0.1, a `Host` that no
tool would use.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from functools import lru_cache

from lambent.base.http import Request

_LOCAL = ("localhost", "host.docker.internal", "localhost.localstack.cloud")
_LOCAL_ENDS = (
    ".localhost",
    ".localhost.localstack.cloud",  # this machine by LocalStack's DNS; cdklocal, samlocal and tflocal use it
    ".amazonaws.com",
    ".amazonaws.com.cn",
)  # AWS's own names, where a resolver points them here


@lru_cache(maxsize=256)
def is_local(host: str) -> bool:
    """Whether `host` ("127.0.0.1:4566") names a machine by address, or by a name that no web page can own."""
    try:
        name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in _LOCAL or name.endswith(_LOCAL_ENDS):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def refusal(request: Request, *, invited: bool = False) -> str | None:
    """Why the request is refused; None for what tools send, and for a page that was `invited`."""
    origin = request.headers.get("origin")
    if origin is not None and not invited:
        parts = origin.partition("://")
        if not parts[1] or not is_local(parts[2]) or origin != f"http://{request.headers.get('host')}":
            return f"Requests of web pages are refused (Origin: {origin[:200]})."
    host = request.headers.get("host")
    if host is not None and not is_local(host):
        return (
            f"Requests for the host {host[:200]} are refused: a web page could have sent them."
            " Use an address (127.0.0.1) or localhost as the endpoint."
        )
    return None
