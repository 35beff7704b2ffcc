"""Pulls from other registries: the reading half of the OCI distribution API, its logins and its breaks.

urllib3 does the connections; it blocks, in threads of this room's own.

Sources: OCI distribution specification 1.1 (pull); distribution's documentation of token authentication and of the
OAuth2 variant for identity tokens.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError

from lambent.base.blobs import BlobDamaged, Blobs
from lambent.base.registry_credentials import CredentialError, Credentials, Login

MANIFEST_LIMIT = 4 << 20  # bytes, the OCI's
_AT_ONCE = 8  # requests
_PIECE = 1 << 20  # bytes on their way from the network to the disk
_BREAKS = 5  # of one download in a row without a byte between them
_REDIRECTS = 5
_TIMEOUT = urllib3.Timeout(connect=5, read=30)
_RETRIES = urllib3.Retry(
    total=3,
    redirect=False,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,  # every request reads only
    raise_on_status=False,
    backoff_factor=0.3,
    retry_after_max=10,
)
_TOKEN_SECONDS = 60  # that a token without a lifetime lives, says the source

T = TypeVar("T")


class RegistryError(Exception):
    """A registry does not give what it was asked for. The message says why."""


class Denied(RegistryError):
    """It wants a login, or another one."""


class NotThere(RegistryError):
    """It has no such image or layer."""


class Damaged(RegistryError):
    """It gave something else than was asked for."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository of another registry."""

    host: str  # "registry.example:5000", as in the image's URI
    repository: str

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}"


class RemoteRegistries:
    """Every other registry. Methods raise RegistryError."""

    def __init__(self, credentials: Credentials, plain: Collection[str] = ()) -> None:
        """`plain`: hosts that are spoken to by HTTP; this machine's own loopback is, too."""
        self._credentials = credentials
        self._plain = frozenset(plain)
        self._pool = urllib3.PoolManager(num_pools=32, maxsize=_AT_ONCE, retries=_RETRIES, timeout=_TIMEOUT)
        self._threads = ThreadPoolExecutor(_AT_ONCE, "registry")
        self._passes: dict[Remote, tuple[str, float]] = {}  # what opened a repository, and until when (monotonic)

    async def stop(self) -> None:
        """Requests under way end by themselves, at the latest with their time-outs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.clear()

    async def manifest(self, remote: Remote, reference: str, accepted: Collection[str]) -> tuple[str, str, bytes]:
        """(digest, media type, text) of a manifest by its tag or digest."""
        headers = {"Accept": ", ".join(accepted)}
        text, said = await self._run(self._read, remote, f"manifests/{reference}", headers, MANIFEST_LIMIT)
        digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
        if ":" in reference and not _is(text, reference):
            raise Damaged(f"{remote} gives something else as the manifest {reference}")
        return reference if ":" in reference else digest, said.partition(";")[0].strip(), text

    async def blob(self, remote: Remote, digest: str, limit: int) -> bytes:
        """One that is small enough to be held in memory."""
        data, _said = await self._run(self._read, remote, f"blobs/{digest}", {}, limit)
        if not _is(data, digest):
            raise Damaged(f"{remote} gives something else as {digest}")
        return data

    async def download(self, remote: Remote, digest: str, size: int, blobs: Blobs) -> None:
        """Store the blob `digest` ("sha256:…", of `size` bytes) among `blobs`; goes on where a connection broke.

        Nothing of it is kept unless its digest is right.
        """
        writer = await blobs.writer()
        try:
            breaks = 0
            while writer.size < size:
                before = writer.size
                try:
                    await self._stream(remote, digest, size, writer.size, writer.write)
                except (HTTPError, OSError) as error:
                    breaks = breaks + 1 if writer.size == before else 0
                    if breaks > _BREAKS:
                        raise _unreachable(remote, error) from None
                    await asyncio.sleep(min(5.0, 0.2 * 2**breaks))
            await writer.commit(digest.partition(":")[2])
        except BlobDamaged:
            raise Damaged(f"{remote} gives something else as {digest}") from None
        except BaseException:
            await writer.discard()
            raise

    async def _stream(self, remote: Remote, digest: str, size: int, start: int, write: Callable[[bytes], Any]) -> None:
        """From byte `start` on. The next piece is asked for when the last one is written."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = await self._run(self._open, remote, f"blobs/{digest}", headers)
        try:
            skipped = start if response.status == 200 else 0  # not every registry knows ranges
            left = size - start
            while piece := await self._run(response.read, _PIECE):
                skipped, piece = max(0, skipped - len(piece)), piece[skipped:]
                left -= len(piece)
                if left < 0:
                    raise Damaged(f"{remote} gives more than the {size} bytes of {digest}")
                if piece:
                    await write(piece)
            if left:
                raise OSError("the connection ended early")
        finally:
            response.close()

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*arguments))

    # In a thread

    def _read(self, remote: Remote, path: str, headers: Mapping[str, str], limit: int) -> tuple[bytes, str]:
        """(body, media type)."""
        try:
            response = self._open(remote, path, headers)
            try:
                data = response.read(limit + 1)
            finally:
                response.close()
        except (HTTPError, OSError) as error:
            raise _unreachable(remote, error) from None
        if len(data) > limit:
            raise Damaged(f"{remote} gives more than {limit} bytes for {path}")
        return data, response.headers.get("Content-Type", "")

    def _open(self, remote: Remote, path: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """A response whose body is there to be read."""
        url = f"{self._base(remote.host)}/v2/{_named(remote)}/{path}"
        pass_ = self._known_pass(remote)
        response = self._get(url, {**headers, "Authorization": pass_} if pass_ else headers)
        challenge = response.headers.get("WWW-Authenticate", "")
        if response.status == 401 and (pass_ := self._new_pass(remote, challenge)):
            _finish(response)
            response = self._get(url, {**headers, "Authorization": pass_})
        if response.status in (200, 206):
            return response
        detail = _reason(response)
        if response.status in (401, 403):
            raise Denied(f"{remote.host} does not let {remote.repository} be pulled{detail}")
        if response.status == 404:
            raise NotThere(f"{remote} has no {path.partition('/')[2]}{detail}")
        raise RegistryError(f"{remote.host} answers {response.status} for {path}{detail}")

    def _get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Follows redirections; no login goes to another host, and nothing goes from HTTPS to HTTP."""
        headers = {"User-Agent": "lambent", "Accept-Encoding": "identity", **headers}
        for _turn in range(_REDIRECTS):
            response = self._pool.request("GET", url, headers=headers, preload_content=False, redirect=False)
            target = response.get_redirect_location()
            if not target:
                return response
            _finish(response)
            here, url = urllib.parse.urlsplit(url), urllib.parse.urljoin(url, target)
            there = urllib.parse.urlsplit(url)
            if there.scheme != "https" and here.scheme != there.scheme:
                raise RegistryError(f"{here.netloc} leads to {there.scheme}://{there.netloc}, which is not followed")
            if (here.scheme, here.netloc) != (there.scheme, there.netloc):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
        raise RegistryError(f"{urllib.parse.urlsplit(url).netloc} redirects too often")

    def _base(self, host: str) -> str:
        if host == "docker.io":
            return "https://registry-1.docker.io"
        return f"{'http' if host in self._plain or is_loopback(host) else 'https'}://{host}"

    # Logins

    def _known_pass(self, remote: Remote) -> str | None:
        found, until = self._passes.get(remote, ("", 0.0))
        return found if time.monotonic() < until else None

    def _new_pass(self, remote: Remote, challenge: str) -> str | None:
        """What opens a repository that has answered 401: the value of an Authorization header."""
        try:
            login = self._credentials.find(remote.host, remote.repository)
        except CredentialError as error:
            raise Denied(f"{remote.host} wants a login, and {error}") from None
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "bearer":
            return self._token(remote, _parameters(rest), login)
        if login is None or scheme.lower() != "basic" or login.identity_token:
            return None
        found = _basic(login)
        self._passes[remote] = (found, time.monotonic() + _TOKEN_SECONDS)
        return found

    def _token(self, remote: Remote, said: Mapping[str, str], login: Login | None) -> str:
        realm = said.get("realm", "")
        secure = realm.startswith("https://")
        if not secure and not (realm.startswith("http://") and self._base(remote.host).startswith("http://")):
            raise Denied(f"{remote.host} wants a token from {realm[:200]!r}, which no login is sent to")
        fields = {"scope": f"repository:{_named(remote)}:pull"}
        if "service" in said:
            fields["service"] = said["service"]
        headers = {"User-Agent": "lambent"}
        if login is not None and login.identity_token:
            fields |= {"grant_type": "refresh_token", "refresh_token": login.identity_token, "client_id": "lambent"}
            response = self._pool.request("POST", realm, headers=headers, fields=fields, encode_multipart=False)
        else:
            if login is not None:
                headers["Authorization"] = _basic(login)
            response = self._pool.request("GET", realm, headers=headers, fields=fields, redirect=False)
        if response.status != 200:
            raise Denied(f"{remote.host} gives no token for {remote.repository}{_reason(response)}")
        try:
            answer = json.loads(response.data)
            token, seconds = answer.get("token") or answer["access_token"], float(answer.get("expires_in") or 0)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RegistryError(f"what {remote.host} names for tokens gives none") from None
        until = time.monotonic() + max(seconds, _TOKEN_SECONDS) * 0.8
        self._passes[remote] = (f"Bearer {token}", until)
        return f"Bearer {token}"


def is_loopback(host: str) -> bool:
    """Whether a registry's host, with or without a port, is this machine as everybody calls it."""
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name) in (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
    except ValueError:
        return False


def _named(remote: Remote) -> str:
    """Docker's own registry keeps images without a name before them under `library`."""
    bare = remote.host == "docker.io" and "/" not in remote.repository
    return f"library/{remote.repository}" if bare else remote.repository


def _is(data: bytes, digest: str) -> bool:
    algorithm, _, wanted = digest.partition(":")
    return algorithm in ("sha256", "sha512") and hashlib.new(algorithm, data).hexdigest() == wanted


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _parameters(challenge: str) -> dict[str, str]:
    listed = [entry for entry in urllib.request.parse_http_list(challenge) if "=" in entry]
    return urllib.request.parse_keqv_list(listed)


def _reason(response: urllib3.BaseHTTPResponse) -> str:
    """What the registry says itself, in brackets."""
    try:
        error = json.loads(response.read(4096) or response.data)["errors"][0]
        said = re.sub(r"[^ -~]+", " ", f"{error.get('code', '')}: {error.get('message', '')}")[:300].strip(": ")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, HTTPError, OSError):
        said = ""
    finally:
        response.close()
    return f" ({said})" if said else f" (status {response.status})"


def _finish(response: urllib3.BaseHTTPResponse) -> None:
    """The connection may serve again when the body is short."""
    response.read(1 << 16)
    response.release_conn()


def _unreachable(remote: Remote, error: Exception) -> RegistryError:
    cause = error.reason if isinstance(error, MaxRetryError) and error.reason is not None else error
    return RegistryError(f"{remote.host} cannot be reached: {type(cause).__name__}")
