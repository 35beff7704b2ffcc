"""The registry that tools push to and pull from: the OCI distribution API under `/v2/`.

With `--auth off` a request without credentials is served, one with wrong ones is refused. With `--auth iam` it needs a
password, and every request is authorised as whoever the password was given to.

Source: OCI distribution specification 1.1. Repositories must exist (`CreateRepository`), as on AWS.
"""

from __future__ import annotations

import asyncio
import logging
import re
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping

from lambent.base.http import Exchange, Request, Response
from lambent.services.ecr import tokens
from lambent.services.ecr.actions import repository_arn
from lambent.services.ecr.blobs_api import BlobsApi
from lambent.services.ecr.manifests_api import ManifestsApi
from lambent.services.ecr.names import Registry, RepositoryName, is_repository
from lambent.services.ecr.oci import OciError, answer, from_aws, refuse
from lambent.services.ecr.tokens import Grant, Tokens
from lambent.services.ecr.uploads_api import UploadsApi
from lambent.wire.callers import Caller
from lambent.wire.errors import AwsError
from lambent.wire.gate import Access, Gate, Open
from lambent.wire.sigv4 import Accounts

_log = logging.getLogger("lambent.registry")

_PATH = re.compile(
    r"/v2/(?P<name>.+?)/(?:(?P<tags>tags/list)|manifests/(?P<manifest>[^/]+)|referrers/(?P<subject>[^/]+)"
    r"|blobs/uploads/(?P<upload>[^/]*)|blobs/(?P<blob>[^/]+))"
)
_HOST = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.")
_REALM = ("WWW-Authenticate", 'Basic realm="Lambent", service="ecr"')
_SMALL = 1 << 16  # bytes of a request's body where none is wanted

_ACTIONS = {  # what each request needs permission for, as AWS's registry asks
    "tags": {"GET": "ecr:ListImages"},
    "manifest": {
        "GET": "ecr:BatchGetImage",
        "HEAD": "ecr:BatchGetImage",
        "PUT": "ecr:PutImage",
        "DELETE": "ecr:BatchDeleteImage",
    },
    "subject": {"GET": "ecr:ListImageReferrers"},
    "blob": {
        "GET": "ecr:GetDownloadUrlForLayer",
        "HEAD": "ecr:BatchCheckLayerAvailability",
        "DELETE": "ecr:BatchDeleteImage",
    },
    "upload": {
        "POST": "ecr:InitiateLayerUpload",
        "GET": "ecr:UploadLayerPart",
        "PATCH": "ecr:UploadLayerPart",
        "PUT": "ecr:CompleteLayerUpload",
        "DELETE": "ecr:UploadLayerPart",
    },
}

Handler = Callable[[Exchange, RepositoryName, str], Awaitable[None]]


class RegistryApi:
    """An HTTP application for `/v2/`."""

    def __init__(
        self,
        manifests: ManifestsApi,
        blobs: BlobsApi,
        uploads: UploadsApi,
        grants: Tokens,
        default: Registry,
        gate: Gate | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        """`default` is the registry of requests that name no account; `accounts` knows whose keys passwords are of."""
        self._gate = gate or Open()
        self._accounts = accounts or Accounts()
        self._uploads = uploads
        self._tokens = grants
        self._default = default
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: Mapping[str, Mapping[str, Handler]] = {
            "tags": {"GET": manifests.tags},
            "manifest": {
                "GET": manifests.get,
                "HEAD": manifests.get,
                "PUT": manifests.put,
                "DELETE": manifests.delete,
            },
            "subject": {"GET": manifests.referrers},
            "blob": {"GET": blobs.get, "HEAD": blobs.get, "DELETE": blobs.delete},
            "upload": {
                "POST": uploads.begin,
                "GET": uploads.status,
                "PATCH": uploads.append,
                "PUT": uploads.finish,
                "DELETE": uploads.cancel,
            },
        }

    # The HTTP application

    def claims(self, request: Request) -> bool:
        path = request.path
        if not path.startswith("/v2") or path[3:4] not in ("", "/"):
            return False
        return not (request.headers.get("authorization") or "").startswith("AWS4-")  # API Gateway has such paths too

    def admit(self, request: Request) -> Response | None:
        request.body_limit = _SMALL
        try:
            name, kind, rest = self._understand(request)
            if kind == "manifest" and request.method == "PUT":
                request.body_limit = ManifestsApi.LIMIT
            if kind == "upload" and request.method in ("POST", "PATCH", "PUT") and name is not None:
                request.body_limit = UploadsApi.LIMIT
                self._uploads.admit(request, name, rest)
        except OciError as error:
            return refuse(error)
        except AwsError as error:
            return refuse(from_aws(error))
        return None

    def too_large(self, request: Request) -> Response:
        return refuse(OciError(413, "SIZE_INVALID", f"the body may have {request.body_limit} bytes"))

    def malformed(self, reason: str) -> Response:
        return refuse(OciError(400, "UNSUPPORTED", reason))

    def handle(self, exchange: Exchange) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        try:
            name, kind, rest = self._understand(request)
            if name is None:
                exchange.respond(answer(200, b"{}"))
                return
            handler = self._handlers[kind].get(request.method)
            if handler is None:
                raise OciError(405, "UNSUPPORTED", f"{request.method} is not supported here")
            await self._authorize(request, kind, name)
            await handler(exchange, name, rest)
        except OciError as error:
            exchange.respond(refuse(error))
        except AwsError as error:
            exchange.respond(refuse(from_aws(error)))
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            exchange.respond(refuse(OciError(500, "UNKNOWN", "internal error")))

    async def _authorize(self, request: Request, kind: str, name: RepositoryName) -> None:
        """Raises OciError unless whoever the password was given to may do this. A link to one layer needs no more."""
        if not self._gate.enforces:
            return
        grant = self._grant(request)
        issued = self._accounts.issued(grant.key) if grant is not None else None
        if grant is None or (issued is None and grant.layer is None):
            raise OciError(401, "UNAUTHORIZED", "log in as the user AWS", headers=(_REALM,))
        if grant.layer is not None:
            return
        assert issued is not None
        registry = name.registry
        caller = Caller(issued.account, registry.region, grant.key, proven=True, user=issued.user, source=request.peer)
        accesses = [
            Access(_ACTIONS[kind][request.method], repository_arn(registry.account, registry.region, name.name))
        ]
        source = urllib.parse.parse_qs(request.query).get("from", [""])[0]
        if kind == "upload" and source:  # a layer that is mounted from another repository is read there
            arn = repository_arn(registry.account, registry.region, source)
            accesses.append(Access("ecr:GetDownloadUrlForLayer", arn))
        try:
            await self._gate.authorize(caller, *accesses)
        except AwsError as error:
            raise OciError(403, "DENIED", error.message or "denied") from None

    # What is asked, and of whose registry

    def _understand(self, request: Request) -> tuple[RepositoryName | None, str, str]:
        """(repository, kind of thing, which one); no repository for `/v2/` itself."""
        grant = self._grant(request)
        if self._gate.enforces and grant is None:
            raise OciError(401, "UNAUTHORIZED", "log in as the user AWS", headers=(_REALM,))
        if request.path in ("/v2", "/v2/"):
            if grant is None:  # a login comes here to have its password checked; it sends none unless it is asked
                raise OciError(401, "UNAUTHORIZED", "log in as the user AWS", headers=(_REALM,))
            return None, "", ""
        match = _PATH.fullmatch(urllib.parse.unquote(request.path))
        if match is None:
            raise OciError(404, "UNSUPPORTED", "there is no such path in the registry API")
        if not is_repository(match["name"]):
            raise OciError(400, "NAME_INVALID", f"invalid repository name: {match['name'][:256]}")
        kind = match.lastgroup or ""
        kind = next(group for group in ("tags", "manifest", "subject", "upload", "blob") if match[group] is not None)
        name = RepositoryName(self._registry(request, grant), match["name"])
        if grant is not None and grant.layer is not None and grant.layer != f"{name.name}@{match['blob']}":
            raise OciError(403, "DENIED", "this link is for another layer")
        return name, kind, match[kind]

    def _grant(self, request: Request) -> Grant | None:
        """What the credentials open; None for a request without any."""
        query = urllib.parse.parse_qs(request.query)
        header = request.headers.get("authorization")
        if header is None and "token" not in query:
            return None
        password = tokens.basic(header) if header is not None else query["token"][0]
        if password == "":
            return None
        grant = self._tokens.check(password) if password is not None else None
        if grant is None:
            message = "the password is wrong or has expired: aws ecr get-login-password gives one for the user AWS"
            raise OciError(401, "UNAUTHORIZED", message, headers=(_REALM,))
        return grant

    def _registry(self, request: Request, grant: Grant | None) -> Registry:
        """The account and region that the host's name says, else those of the credentials."""
        match = _HOST.match(request.headers.get("host") or "")
        named = Registry(match[1], match[2]) if match else None
        if grant is None:
            return named or self._default
        if named is not None and named != grant.registry:
            raise OciError(403, "DENIED", f"this login is for account {grant.registry.account}, not {named.account}")
        return grant.registry
