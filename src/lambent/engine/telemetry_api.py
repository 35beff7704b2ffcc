"""The Telemetry API (2022-07-01) and its forerunner, the Logs API (2020-08-15): one operation each, PUT.

Source: AWS's developer guide ("Lambda Telemetry API", "Lambda Logs API") and the subscription schema of the runtime
interface emulator.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import orjson

from lambent.engine.telemetry import LOGS_API, TELEMETRY_API, Subscription
from lambent.engine.telemetry_buffer import Buffering
from lambent.engine.telemetry_delivery import Destination
from lambent.engine.variables import RUNTIME_API_PORT

_SCHEMAS = {
    TELEMETRY_API: ("2022-07-01", "2022-12-13", "2025-01-29"),
    LOGS_API: ("2020-08-15", "2021-03-18"),
}
_TYPES = ("platform", "function", "extension")
_HOSTS = ("sandbox.localdomain", "sandbox")
_BUFFERING = {"maxItems": (1000, 10_000), "maxBytes": (262_144, 1_048_576), "timeoutMs": (25, 30_000)}


class Invalid(Exception):
    """Why a subscription is not accepted: one message for all that is wrong with it."""


def parse(api: str, body: bytes) -> Subscription:
    """The subscription that the body of a PUT to `api` asks for. Invalid when it cannot be had."""
    try:
        wish = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the request is not valid JSON: {error}") from None
    if not isinstance(wish, dict):
        raise Invalid("the request should be an object")
    wrong: list[str] = []
    schema = _schema(api, wish, wrong)
    types = _types(wish, wrong)
    destination = _destination(api, wish.get("destination"), wrong)
    buffering = _buffering(wish.get("buffering"), wrong)
    if wrong or destination is None:
        raise Invalid("; ".join(wrong))
    return Subscription(api, schema, types, destination, buffering)


def _schema(api: str, wish: dict[str, Any], wrong: list[str]) -> str:
    schemas = _SCHEMAS[api]
    schema = wish.get("schemaVersion", schemas[0] if api == LOGS_API else None)
    if schema in schemas:
        return str(schema)
    wrong.append(f"schemaVersion should be one of {', '.join(schemas)}")
    return ""


def _types(wish: dict[str, Any], wrong: list[str]) -> tuple[str, ...]:
    types = wish.get("types")
    if not isinstance(types, list) or not types:
        wrong.append("types should not be empty")
        return ()
    if any(kind not in _TYPES for kind in types):
        wrong.append(f"types should be among {', '.join(_TYPES)}")
        return ()
    return tuple(dict.fromkeys(types))


def _destination(api: str, wish: Any, wrong: list[str]) -> Destination | None:
    if not isinstance(wish, dict):
        wrong.append("destination is not provided")
        return None
    protocol = wish.get("protocol")
    if protocol == "TCP":
        port: Any = wish.get("port")
        return Destination("TCP", port) if _usable(port, "port", wrong) else None
    if protocol != "HTTP":
        wrong.append("protocol should be HTTP or TCP")
        return None
    method = wish.get("method", "POST")
    if method not in (("POST",) if api == TELEMETRY_API else ("POST", "PUT")):
        wrong.append("method is not supported")
    return _address(wish.get("URI"), str(method), wrong)


def _address(uri: Any, method: str, wrong: list[str]) -> Destination | None:
    if not isinstance(uri, str) or not uri.isascii() or not uri.isprintable() or " " in uri:
        wrong.append("URI is not provided or not valid")
        return None
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        wrong.append("URI is not valid")
        return None
    if parts.scheme != "http" or parts.hostname not in _HOSTS:
        wrong.append("URI should be of the form http://sandbox.localdomain:PORT/PATH")
        return None
    if not _usable(port, "URI port", wrong):
        return None
    assert port is not None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination("HTTP", port, path, method, str(parts.hostname))


def _usable(port: Any, what: str, wrong: list[str]) -> bool:
    if port is None:
        wrong.append(f"{what} is not provided")
    elif type(port) is not int or not 1 <= port <= 65_535:
        wrong.append(f"{what} should be between 1 and 65535")
    elif port == RUNTIME_API_PORT:
        wrong.append(f"{what} {RUNTIME_API_PORT} is reserved")
    else:
        return True
    return False


def _buffering(wish: Any, wrong: list[str]) -> Buffering:
    given = {} if wish is None else wish
    if not isinstance(given, dict):
        wrong.append("buffering should be an object")
        return Buffering()
    values: dict[str, int] = {}
    for name, (least, most) in _BUFFERING.items():
        value = given.get(name)
        if value is None:
            continue
        if type(value) is int and least <= value <= most:
            values[name] = value
        else:
            wrong.append(f"buffering.{name} should be between {least} and {most}")
    usual = Buffering()
    return Buffering(
        values.get("maxItems", usual.max_items),
        values.get("maxBytes", usual.max_bytes),
        values["timeoutMs"] / 1000 if "timeoutMs" in values else usual.timeout,
    )
