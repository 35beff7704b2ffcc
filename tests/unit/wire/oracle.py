"""botocore as the other side of the wire: requests as a real client writes them, responses as it reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore import parsers, serialize
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict

from lambent.base.http import Headers, Request, Response
from lambent.wire import models, parser, router, serializer
from lambent.wire.errors import AwsError
from lambent.wire.router import Route

REQUEST_ID = "8f5a1d1e-5b7e-4bb1-9d5b-2a6f7f3c9a10"


def plain_request(method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Request:
    """A request as the HTTP server hands it over."""
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    request = Request(method, target, Headers(pairs))
    request.body = body
    return request


def client_request(service: str, operation: str, parameters: Mapping[str, Any], protocol: str | None = None) -> Request:
    """What botocore sends for `parameters`, unsigned."""
    known = models.service(service)
    writer = serialize.create_serializer(protocol or known.protocol, include_validation=False)
    fields = writer.serialize_to_request(dict(parameters), known.operation(operation))
    prepare_request_dict(fields, endpoint_url="http://127.0.0.1:4566")
    prepared = create_request_object(fields).prepare()
    parts = urlsplit(prepared.url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    headers = {
        name: value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for name, value in prepared.headers.items()
    }
    body = prepared.body if prepared.body is not None else b""
    if not isinstance(body, str | bytes | bytearray):
        body = body.read()
    return plain_request(prepared.method, target, headers, body.encode() if isinstance(body, str) else bytes(body))


def received(service: str, request: Request) -> tuple[Route, dict[str, Any]]:
    """The route and the parameters that Lambent reads from a request whose scope names `service`."""
    signing_name = (
        models.service(service).metadata.get("signingName") or models.service(service).metadata["endpointPrefix"]
    )
    route = router.route(request, signing_name)
    return route, parser.parse(route, request, request.body)


def read_response(route: Route, response: Response) -> dict[str, Any]:
    """What botocore makes of a response, metadata included."""
    reader = parsers.create_parser(route.protocol)
    fields = {"status_code": response.status, "headers": HeadersDict(response.headers), "body": response.body}
    found: dict[str, Any] = reader.parse(fields, route.operation.output_shape)
    return found


def answered(service: str, operation: str, result: Mapping[str, Any], protocol: str | None = None) -> dict[str, Any]:
    """`result` through Lambent's serializer and botocore's parser, without the metadata."""
    known = models.service(service)
    route = Route(known, known.operation(operation), protocol or known.protocol)
    response = serializer.serialize(route, result, REQUEST_ID)
    assert REQUEST_ID in dict(response.headers).values()
    found = read_response(route, response)
    del found["ResponseMetadata"]
    return found


def refused(service: str, operation: str, error: AwsError, protocol: str | None = None) -> dict[str, Any]:
    """The whole of what botocore makes of `error`."""
    known = models.service(service)
    route = Route(known, known.operation(operation), protocol or known.protocol)
    return read_response(route, serializer.serialize_error(route, error, REQUEST_ID))
