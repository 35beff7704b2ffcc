"""APIs that API Gateway has deployed: their requests, to the functions behind them.

REST APIs send functions the proxy event (format 1.0); HTTP APIs format 2.0, or 1.0 where the integration says so. Built
are Lambda proxies (`AWS_PROXY`) and `MOCK`; another integration, and an authorizer, answer 501: nobody is let through.
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from moto.apigateway.models import apigateway_backends
from moto.apigatewayv2.models import apigatewayv2_backends

from lambent.embedded import native

_HOST = re.compile(r"([\w-]+)\.execute-api\.")
_PATHS = (
    re.compile(r"/_aws/execute-api/([\w-]+)(/.*)?"),
    re.compile(r"/restapis/([\w-]+)/([^/]+)/_user_request_(/.*)?"),
)
_FUNCTION = re.compile(r"(arn:[\w-]+:lambda:[\w-]+:\d{12}:function:[^/]+)")
_OURS = ("HTTP_X_MOTO_ACCOUNT_ID", "HTTP_X_LAMBENT_API_CALL")
_TEXTS = re.compile(r"text/|application/(json|xml|javascript|x-www-form-urlencoded|[\w.-]+\+(json|xml))")


class Refused(Exception):
    """What the gateway itself answers."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Call:
    """A request to an API."""

    api: str
    path: str  # behind the API's own part: "/stage/…", decoded as it was sent
    stage: str | None  # where the path does not name it
    method: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    host: str
    source: str

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def call_of(environ: Mapping[str, Any]) -> Call | None:
    """The request to an API that a WSGI request is; None where it is for API Gateway or another service."""
    host = str(environ.get("HTTP_HOST", ""))
    raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ.get("PATH_INFO", "/"))
    path = unquote(raw.partition("?")[0])
    found = _HOST.match(host)
    if found and not path.startswith("/@connections"):
        place: tuple[str, str, str | None] = (found[1], path, None)
    elif match := _PATHS[0].fullmatch(path):
        place = (match[1], match[2] or "/", None)
    elif match := _PATHS[1].fullmatch(path):
        place = (match[1], match[3] or "/", match[2])
    else:
        return None
    length = environ.get("CONTENT_LENGTH") or ""
    chunked = environ.get("wsgi.input_terminated")
    body = environ["wsgi.input"].read() if chunked else environ["wsgi.input"].read(int(length or 0))
    headers = [
        (key[5:].replace("_", "-").title(), str(value))
        for key, value in environ.items()
        if key.startswith("HTTP_") and key not in _OURS
    ]
    headers += [("Content-Type", environ["CONTENT_TYPE"])] if environ.get("CONTENT_TYPE") else []
    method = str(environ["REQUEST_METHOD"])
    return Call(*place, method, str(environ.get("QUERY_STRING", "")), headers, body, host, "127.0.0.1")


def answer(call: Call) -> Reply:
    """What the API answers."""
    try:
        for backends, serve in ((apigateway_backends, _rest), (apigatewayv2_backends, _http)):
            for account, regions in list(backends.items()):
                for region, backend in list(regions.items()):
                    if call.api in backend.apis:
                        return serve(backend.apis[call.api], call, account, region)
        raise Refused(404, f"There is no API {call.api}.")
    except Refused as refusal:
        return _reply(refusal.status, {"message": str(refusal)})


def _reply(status: int, value: Any) -> Reply:
    return Reply(status, [("Content-Type", "application/json")], json.dumps(value).encode())


# REST APIs


def _rest(api: Any, call: Call, account: str, region: str) -> Reply:
    stage, path = (call.stage, call.path) if call.stage else _split(call.path)
    if stage not in api.stages:
        raise Refused(403, "Forbidden")
    found = _match(path, {resource.get_path(): resource for resource in api.resources.values()})
    if found is None:
        raise Refused(403, "Missing Authentication Token")
    resource, variables = found
    method = resource.resource_methods.get(call.method) or resource.resource_methods.get("ANY")
    if method is None:
        raise Refused(403, "Missing Authentication Token")
    if getattr(method, "authorization_type", "NONE") not in (None, "", "NONE"):
        raise Refused(501, f"Authorization {method.authorization_type} is not built.")
    integration = method.method_integration
    kind = integration.integration_type if integration is not None else None
    if kind == "MOCK":
        return _mock(integration)
    if kind != "AWS_PROXY":
        raise Refused(501, f"Integrations of the type {kind} are not built.")
    settings = dict(api.stages[stage].variables or {})
    event = _event_1(call, resource.get_path(), path, variables, stage, settings, account)
    event["requestContext"] |= {"resourceId": resource.id, "apiId": api.id, "path": f"/{stage}{path}"}
    return _from_function(_invoke(integration.uri, account, region, event), strict=True)


def _mock(integration: Any) -> Reply:
    chosen = (integration.integration_responses or {}).values()
    response = next(iter(chosen), None)
    if response is None:
        raise Refused(500, "Internal server error")
    template = (response.response_templates or {}).get("application/json") or ""
    return Reply(int(response.status_code), [("Content-Type", "application/json")], template.encode())


# HTTP APIs


def _http(api: Any, call: Call, account: str, region: str) -> Reply:
    first, rest = _split(call.path)
    if call.stage or first in api.stages:
        stage, path = (call.stage, call.path) if call.stage else (first, rest)
    elif "$default" in api.stages:
        stage, path = "$default", call.path
    else:
        raise Refused(404, "Not Found")
    route, variables = _route(api, call.method, path)
    if (route.authorization_type or "NONE") != "NONE":
        raise Refused(501, f"Authorization {route.authorization_type} is not built.")
    integration = api.integrations.get(route.target.rpartition("/")[2]) if route.target else None
    if integration is None:
        raise Refused(404, "Not Found")
    if integration.integration_type != "AWS_PROXY" or integration.integration_subtype:
        raise Refused(501, f"Integrations of the type {integration.integration_type} are not built.")
    if integration.payload_format_version == "1.0":
        event = _event_1(call, route.route_key.rpartition(" ")[2], path, variables, stage or "", {}, account)
    else:
        event = _event_2(api, call, route.route_key, path, variables, stage or "", account)
    return _from_function(_invoke(integration.integration_uri, account, region, event), strict=False)


def _route(api: Any, method: str, path: str) -> tuple[Any, dict[str, str]]:
    """The most specific route: its method before ANY, then `$default`."""
    routes = {route.route_key: route for route in api.routes.values()}
    for verb in (method, "ANY"):
        keyed = {key.partition(" ")[2]: route for key, route in routes.items() if key.startswith(f"{verb} ")}
        if found := _match(path, keyed):
            return found
    if "$default" in routes:
        return routes["$default"], {}
    raise Refused(404, "Not Found")


# Paths


def _split(path: str) -> tuple[str, str]:
    """ "/stage/rest" → ("stage", "/rest")."""
    stage, _, rest = path.lstrip("/").partition("/")
    return stage, f"/{rest}"


def _match(path: str, table: Mapping[str, Any]) -> tuple[Any, dict[str, str]] | None:
    """What stands for `path`, and the variables in it; literals win over variables, these over greedy ones."""
    for form in sorted(table, key=lambda form: (form.count("+}"), form.count("{"), -len(form))):
        pattern = re.sub(r"\\\{(\w+)\\\+\\\}", r"(?P<\1>.+)", re.escape(form))
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", pattern)
        if match := re.fullmatch(pattern, path.rstrip("/") or "/") or re.fullmatch(pattern, path):
            return table[form], match.groupdict()
    return None


# Events


def _body(call: Call) -> tuple[str | None, bool]:
    if not call.body:
        return None, False
    try:
        if _TEXTS.match(call.header("content-type") or "text/"):
            return call.body.decode(), False
    except UnicodeDecodeError:
        pass
    return base64.b64encode(call.body).decode(), True


def _event_1(
    call: Call,
    resource: str,
    path: str,
    variables: Mapping[str, str],
    stage: str,
    settings: Mapping[str, str],
    account: str,
) -> dict[str, Any]:
    pairs = parse_qsl(call.query, keep_blank_values=True)
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(name, []).append(value)
    body, coded = _body(call)
    now = time.time()
    context = {
        "accountId": account,
        "apiId": call.api,
        "domainName": call.host,
        "domainPrefix": call.api,
        "extendedRequestId": uuid.uuid4().hex[:16],
        "httpMethod": call.method,
        "identity": {"sourceIp": call.source, "userAgent": call.header("user-agent")},
        "path": path,
        "protocol": "HTTP/1.1",
        "requestId": str(uuid.uuid4()),
        "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
        "requestTimeEpoch": int(now * 1000),
        "resourcePath": resource,
        "stage": stage,
    }
    return {
        "resource": resource,
        "path": path,
        "httpMethod": call.method,
        "headers": dict(call.headers),
        "multiValueHeaders": {name: [value] for name, value in call.headers},
        "queryStringParameters": dict(pairs) or None,
        "multiValueQueryStringParameters": many or None,
        "pathParameters": dict(variables) or None,
        "stageVariables": dict(settings) or None,
        "requestContext": context,
        "body": body,
        "isBase64Encoded": coded,
    }


def _event_2(
    api: Any, call: Call, key: str, path: str, variables: Mapping[str, str], stage: str, account: str
) -> dict[str, Any]:
    body, coded = _body(call)
    now = time.time()
    raw = path if stage == "$default" else f"/{stage}{path}"
    joined: dict[str, str] = {}
    for name, value in parse_qsl(call.query, keep_blank_values=True):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    cookies = [each.strip() for each in (call.header("cookie") or "").split(";") if each.strip()]
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": key,
        "rawPath": raw,
        "rawQueryString": call.query,
        "headers": {name.lower(): value for name, value in call.headers if name.lower() != "cookie"},
        "requestContext": {
            "accountId": account,
            "apiId": call.api,
            "domainName": call.host,
            "domainPrefix": call.api,
            "http": {
                "method": call.method,
                "path": raw,
                "protocol": "HTTP/1.1",
                "sourceIp": call.source,
                "userAgent": call.header("user-agent") or "",
            },
            "requestId": uuid.uuid4().hex[:16],
            "routeKey": key,
            "stage": stage,
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": coded,
    }
    optional = {"cookies": cookies, "queryStringParameters": joined, "pathParameters": dict(variables), "body": body}
    return event | {name: value for name, value in optional.items() if value}


# Functions


def _invoke(uri: str, account: str, region: str, event: Mapping[str, Any]) -> Any:
    """The function's answer, decoded."""
    match = _FUNCTION.search(uri)
    if match is None:
        raise Refused(501, f"The integration {uri} is not built: only functions are.")
    try:
        payload, failure = native.ask(match[1], account, region, event)
    except native.ClientError:
        raise Refused(500, "Internal Server Error") from None
    if failure is not None:
        raise Refused(502, "Internal server error")
    return json.loads(payload)


def _from_function(value: Any, *, strict: bool) -> Reply:
    """REST APIs are strict about the form; HTTP APIs take any value for a body of JSON."""
    if not isinstance(value, Mapping) or ("statusCode" not in value):
        if strict:
            raise Refused(502, "Internal server error")
        return _reply(200, value)
    try:
        status = int(value["statusCode"])
        body = value.get("body")
        text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
        content = base64.b64decode(text) if value.get("isBase64Encoded") else text.encode()
        headers = [(str(name), str(each)) for name, each in (value.get("headers") or {}).items()]
        for name, values in (value.get("multiValueHeaders") or {}).items():
            headers = [(key, each) for key, each in headers if key.lower() != name.lower()]
            headers += [(str(name), str(each)) for each in values]
        headers += [("Set-Cookie", str(cookie)) for cookie in value.get("cookies") or []]
    except (TypeError, ValueError, AttributeError):
        raise Refused(502, "Internal server error") from None
    if not any(name.lower() == "content-type" for name, _value in headers):
        headers.append(("Content-Type", "application/json" if strict else "text/plain;charset=UTF-8"))
    headers = [pair for pair in headers if pair[0].lower() not in ("content-length", "transfer-encoding", "connection")]
    if not 200 <= status <= 599 or any("\n" in part or "\r" in part for pair in headers for part in pair):
        raise Refused(502, "Internal server error")
    return Reply(status, headers, content)


def in_front_of(application: Callable[[dict[str, Any], Any], Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Answers the requests to APIs; the others are for `application`."""

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        call = call_of(environ)
        if call is None:
            return application(environ, start_response)
        reply = answer(call)
        length = ("Content-Length", str(len(reply.body)))
        start_response(f"{reply.status} ", [*reply.headers, length])
        return [reply.body]

    return serve
