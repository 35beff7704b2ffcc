"""Which operation a request asks for."""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from botocore.model import OperationModel

from lambent.base.http import Headers, Request
from lambent.wire import bodies, models
from lambent.wire.errors import AwsError, not_built
from lambent.wire.models import Service

_SEGMENT = re.compile(r"[^/]+")
_FORM_LIMIT = 16 << 20  # bytes of a form without its coding
_IGNORED_QUERY = frozenset({"x-id"})
_RPC_V2 = re.compile(r"/service/([\w.]+)/operation/(\w+)")
_FEDERATION = ("AssumeRoleWithWebIdentity", "AssumeRoleWithSAML")  # of STS, never signed: their token is who asks
_UNSIGNED = ("cognito-idp", "cognito-identity")  # have operations for users of applications, who have no AWS keys
_HOST = re.compile(  # of AWS, of LocalStack, and of this machine: a bucket, the service, the region
    r"(?:[\w.-]+\.)??(?:(s3)(?:[.-][a-z]{2}(?:-[a-z]+)+-\d+)?|([a-z0-9-]+)\.[a-z]{2}(?:-[a-z]+)+-\d+)"
    r"\.(?:amazonaws\.com(?:\.cn)?|localhost(?:\.localstack\.cloud)?)(?::\d+)?$"
)
_LAMBDA_PATH = re.compile(r"/20\d\d-\d\d-\d\d/")


@dataclass(frozen=True, slots=True)
class Route:
    """The operation, the protocol it was asked in, and the parameters that stood in the path, decoded."""

    service: Service
    operation: OperationModel
    protocol: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    """One segment of the paths of a rest service."""

    literals: dict[str, _Node] = field(default_factory=dict)
    label: _Node | None = None
    leaves: list[_Leaf] = field(default_factory=list)
    greedy: list[_Leaf] = field(default_factory=list)  # a `{Key+}` takes everything from here


@dataclass(frozen=True, slots=True)
class _Leaf:
    """An operation at the end of a path. Where several share one, query string and headers tell which is meant."""

    operation: OperationModel
    labels: tuple[str, ...]
    query: tuple[tuple[str, str | None], ...]  # what the query string must hold
    parameters: tuple[str, ...]  # required members in the query string
    headers: tuple[str, ...]  # required members in the headers

    def fits(self, query: Mapping[str, str]) -> bool:
        return all(name in query and (value is None or query[name] == value) for name, value in self.query)

    def is_complete(self, query: Mapping[str, str], headers: Headers) -> bool:
        """Whether all that is required stands there, as `x-amz-copy-source` that makes a PutObject a CopyObject."""
        return all(name in query for name in self.parameters) and all(name in headers for name in self.headers)

    @property
    def required(self) -> int:
        return len(self.parameters) + len(self.headers)

    @property
    def rank(self) -> tuple[int, int, bool, str]:
        """What asks for most comes first, what is deprecated after its successor."""
        return (-len(self.query), -self.required, self.operation.deprecated, self.operation.name)


def _leaf(operation: OperationModel, labels: tuple[str, ...], query: tuple[tuple[str, str | None], ...]) -> _Leaf:
    shape = operation.input_shape
    required = [] if shape is None else [shape.members[name] for name in shape.required_members]
    places = [(member.serialization.get("location"), member.serialization.get("name", "")) for member in required]
    parameters = tuple(name for location, name in places if location == "querystring")
    return _Leaf(operation, labels, query, parameters, tuple(name for location, name in places if location == "header"))


def _choose(leaves: list[_Leaf], query: Mapping[str, str], headers: Headers) -> _Leaf | None:
    """The operation that is meant; when all lack something, the one that lacks it least."""
    fitting = [leaf for leaf in leaves if leaf.fits(query)]
    for leaf in fitting:
        if leaf.is_complete(query, headers):
            return leaf
    return min(fitting, key=lambda leaf: (-len(leaf.query), leaf.required), default=None)


@dataclass(frozen=True, slots=True)
class _Path:
    """A path as sent, cut into its segments; empty ones do not count, except in a greedy label."""

    text: str
    segments: tuple[str, ...]
    ends: tuple[int, ...]  # where each segment ends in `text`

    @classmethod
    def of(cls, text: str) -> _Path:
        spans = [match.span() for match in _SEGMENT.finditer(text)]
        return cls(text, tuple(text[start:end] for start, end in spans), tuple(end for _start, end in spans))

    def rest(self, at: int) -> str:
        """Everything behind the slash that ends the segment before `at`."""
        return self.text[self.ends[at - 1] + 1 if at else 1 :]


class RestRoutes:
    """The paths of one rest-json or rest-xml service."""

    def __init__(self, service: Service) -> None:
        self._roots: dict[str, _Node] = {}
        for name in sorted(service.operation_names):
            self._add(service.operation(name))

    def _add(self, operation: OperationModel) -> None:
        path, _, query = operation.http.get("requestUri", "/").partition("?")
        wanted = tuple((key, value or None) for key, value in urllib.parse.parse_qsl(query, keep_blank_values=True))
        wanted = tuple(pair for pair in wanted if pair[0] not in _IGNORED_QUERY)
        node = self._roots.setdefault(operation.http.get("method", "POST"), _Node())
        labels: list[str] = []
        for segment in _SEGMENT.findall(path):
            if segment.startswith("{") and segment.endswith("+}"):
                _insert(node.greedy, _leaf(operation, (*labels, segment[1:-2]), wanted))
                return
            if segment.startswith("{"):
                labels.append(segment[1:-1])
                node.label = node.label or _Node()
                node = node.label
            else:
                node = node.literals.setdefault(segment, _Node())
        _insert(node.leaves, _leaf(operation, tuple(labels), wanted))

    def find(
        self, method: str, path: str, query: Mapping[str, str], headers: Headers
    ) -> tuple[OperationModel, dict[str, str]] | None:
        """The operation and its path labels. `path` is still percent-encoded."""
        root = self._roots.get(method)
        if root is None:
            return None
        found = _walk(root, _Path.of(path), 0, (), lambda leaves: _choose(leaves, query, headers))
        if found is None:
            return None
        leaf, values = found
        decoded = [_decoded(value) if "%" in value else value for value in values]
        return leaf.operation, dict(zip(leaf.labels, decoded, strict=True))


def _decoded(label: str) -> str:
    """Strictly: two keys of S3 must never become one."""
    try:
        return urllib.parse.unquote(label, errors="strict")
    except UnicodeDecodeError:
        raise AwsError("InvalidURI", "Couldn't parse the specified URI.", status=400) from None


def _insert(leaves: list[_Leaf], leaf: _Leaf) -> None:
    leaves.append(leaf)
    leaves.sort(key=lambda leaf: leaf.rank)


def _walk(
    node: _Node, path: _Path, at: int, values: tuple[str, ...], choose: Callable[[list[_Leaf]], _Leaf | None]
) -> tuple[_Leaf, tuple[str, ...]] | None:
    """Down the tree from `node`, which stands for the first `at` segments: literals before labels before the rest."""
    rest = path.rest(at)
    if at < len(path.segments):
        segment = path.segments[at]
        literal = node.literals.get(segment)
        if literal is not None and (found := _walk(literal, path, at + 1, values, choose)):
            return found
        if node.label is not None and (found := _walk(node.label, path, at + 1, (*values, segment), choose)):
            return found
    if rest and (leaf := choose(node.greedy)):
        return leaf, (*values, rest)
    if at == len(path.segments) and (leaf := choose(node.leaves)):
        return leaf, values
    return None


@cache
def rest_routes(name: str) -> RestRoutes:
    return RestRoutes(models.service(name))


def route(request: Request, signing_name: str | None) -> Route:
    """Find the operation. `signing_name` is the service of the credential scope, None when unsigned.

    UnknownOperationException (404) for what the service's model does not hold, 501 for services that AWS does not
    have or whose name cannot be told from the request.
    """
    if match := _RPC_V2.fullmatch(request.path):
        return _rpc_v2(match[2], _guess(request, signing_name))
    names = _guess(request, signing_name)
    target = request.headers.get("x-amz-target")
    if target is not None:
        return _json(target, names)
    content_type = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    for name in names:
        service = models.service(name)
        if service.protocol in (models.REST_JSON, models.REST_XML):
            query = dict(urllib.parse.parse_qsl(request.query, keep_blank_values=True)) if request.query else {}
            found = rest_routes(name).find(request.method, request.path, query, request.headers)
            if found is not None:
                return Route(service, found[0], service.protocol, found[1])
    action = _action(request) if content_type in ("application/x-www-form-urlencoded", "") else None
    if action is not None:
        for name in names:
            service = models.service(name)
            protocol = next((p for p in service.protocols if p in (models.QUERY, models.EC2)), None)
            if protocol is not None and action in service.operation_names:
                return Route(service, service.operation(action), protocol)
        raise AwsError("InvalidAction", f"The action {action} is not valid for this web service.", status=400)
    raise AwsError("UnknownOperationException", None, status=404)


def service_of(request: Request, signing_name: str | None) -> str | None:
    """The model's name of the service that is asked, told from the head of the request; None where it cannot be."""
    try:
        names = _guess(request, signing_name)
    except AwsError:
        return None
    if len(names) > 1:
        with contextlib.suppress(AwsError):
            return route(request, signing_name).service.name
    return names[0] if names else None


def _guess(request: Request, signing_name: str | None) -> tuple[str, ...]:
    """The models that the request can mean."""
    if signing_name is not None:
        if names := models.candidates(signing_name):
            return names
        raise not_built(f"the service '{signing_name}'")
    if target := request.headers.get("x-amz-target"):
        prefix = target.partition(".")[0]
        for name in (
            "dynamodb",
            "dynamodbstreams",
            "sqs",
            "logs",
            "kms",
            "events",
            "kinesis",
            "ssm",
            "ecr",
            *_UNSIGNED,
        ):
            if models.service(name).target_prefix == prefix:
                return (name,)
        raise not_built(f"unsigned requests to the target {target}")
    if _LAMBDA_PATH.match(request.path):
        return models.candidates("lambda")
    if _action(request) in _FEDERATION:
        return ("sts",)
    if "AWSAccessKeyId=" in request.query or (request.headers.get("authorization") or "").startswith("AWS "):
        return ("s3",)  # the last to take signatures of version 2
    match = _HOST.match(request.headers.get("host") or "")
    if match and (names := models.candidates(match[1] or match[2])):
        return names
    return ("s3",)  # whose objects may be anybody's to read


def _json(target: str, names: tuple[str, ...]) -> Route:
    prefix, _, action = target.rpartition(".")
    for name in names:
        service = models.service(name)
        if service.target_prefix in (prefix, None) and action in service.operation_names:
            protocol = models.JSON if models.JSON in service.protocols else service.protocol
            return Route(service, service.operation(action), protocol)
    raise AwsError("UnknownOperationException", None, status=400)


def _rpc_v2(action: str, names: tuple[str, ...]) -> Route:
    for name in names:
        service = models.service(name)
        if models.CBOR in service.protocols and action in service.operation_names:
            return Route(service, service.operation(action), models.CBOR)
    raise AwsError("UnknownOperationException", None, status=404)


def _action(request: Request) -> str | None:
    """`Action` of a query-protocol request, from the body or the query string."""
    body = request.body
    if body and bodies.is_coded(request.headers):  # SDKs compress the metrics that they put
        body = bodies.decode_body(request.headers, body, limit=_FORM_LIMIT)
    for text in (body.decode("latin-1") if body else "", request.query):
        match = re.search(r"(?:^|&)Action=([^&]*)", text)
        if match:
            return urllib.parse.unquote_plus(match[1])
    return None
