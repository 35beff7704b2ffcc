"""Which service a request is for, told from its head: neighbours get requests before their bodies have come."""

from __future__ import annotations

import re

from lambent.base.http import Request
from lambent.wire import router, sigv4
from lambent.wire.errors import AwsError

_INVOKE = re.compile(r"/20\d\d-\d\d-\d\d/functions/[^/]+/(?:response-streaming-)?invocations")
_API_HOST = re.compile(r"[\w-]+\.execute-api\.")
_API_PATHS = ("/_aws/execute-api/", "/restapis/")
_USER_REQUEST = "/_user_request_"
_API_SERVICE = "apigateway"
_RPC_V2 = re.compile(r"/service/[\w.]+/operation/(\w+)")


def scope(request: Request) -> sigv4.Scope | None:
    """As `sigv4.read`; None too for a signature that cannot be read, which the gateway refuses."""
    try:
        return sigv4.read(request)
    except AwsError:
        return None


def signing_name(request: Request) -> str | None:
    """The service of the credential scope."""
    found = scope(request)
    return found.service if found is not None else None


def is_invocation(request: Request) -> bool:
    """Whether the request invokes a function: by far the most do, and need no further look."""
    return request.method == "POST" and _INVOKE.match(request.path) is not None


def is_api_call(request: Request) -> bool:
    """Whether the request is for an API that somebody has deployed, and not for API Gateway."""
    path = request.path
    if path.startswith(_API_PATHS) and (path.startswith(_API_PATHS[0]) or _USER_REQUEST in path):
        return True
    return _API_HOST.match(request.headers.get("host") or "") is not None and not path.startswith("/@connections")


def is_public(request: Request) -> bool:
    """Whether it is an unsigned call of a deployed API, which is open to whom the API itself opens it."""
    signed = "authorization" in request.headers and (request.headers.get("authorization") or "").startswith("AWS")
    names = ("X-Amz-", "AWSAccessKeyId=")
    if signed or any(name in request.query for name in names) or "x-amz-target" in request.headers:
        return False
    return is_api_call(request) and not request.path.startswith("/moto-api")


def service_of(request: Request, name: str | None) -> str | None:
    """botocore's name of the service; `name` is that of the credential scope. None where it cannot be told."""
    return _API_SERVICE if is_api_call(request) else router.service_of(request, name)


def operation_of(request: Request) -> str | None:
    """The operation, of the protocols that name it in the head; None for the others."""
    if match := _RPC_V2.fullmatch(request.path):
        return match[1]
    target = request.headers.get("x-amz-target")
    return target.rpartition(".")[2] if target is not None else None
