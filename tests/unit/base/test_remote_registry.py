"""Pulling from other registries: logins, breaks, lies."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
import urllib.parse

import pytest

from lambent.base.blobs import LocalBlobs
from lambent.base.registry_credentials import Credentials
from lambent.base.remote_registry import Damaged, Denied, NotThere, RegistryError, Remote, RemoteRegistries, is_loopback

BLOB = bytes(range(256)) * 20_000
DIGEST = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
MANIFEST = b'{"schemaVersion": 2}'
TYPE = "application/vnd.oci.image.manifest.v1+json"


class Stage:
    """A registry that does what a test wants; `requests` are (method, path, headers, body)."""

    def __init__(self):
        self.requests = []
        self.answers = {}  # path without its query → function(handler) or (status, headers, body)
        stage = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                length = int(self.headers.get("Content-Length") or 0)
                stage.requests.append((self.command, self.path, self.headers, self.rfile.read(length)))
                answer = stage.answers.get(self.path.partition("?")[0], (404, {}, b""))
                status, headers, body = answer(self.headers, self.path) if callable(answer) else answer
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                if int(headers.get("Content-Length", len(body))) != len(body):
                    self.close_connection = True

            do_POST = do_GET

            def log_message(self, *_arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.remote = Remote(self.host, "team/app")

    def answer(self, path, status=200, body=b"", **headers):
        self.answers[f"/v2/team/app/{path}"] = (status, {k.replace("_", "-"): v for k, v in headers.items()}, body)

    def paths(self):
        return [path for _method, path, _headers, _body in self.requests]


@pytest.fixture
def stage():
    found = Stage()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
async def pull():
    made = []

    def make(logins=""):
        made.append(RemoteRegistries(Credentials(lambda: logins)))
        return made[-1]

    yield make
    for registries in made:
        await registries.stop()


@pytest.fixture
def blobs(tmp_path):
    return LocalBlobs(tmp_path / "blobs")


def logins(host, user="me", password="secret"):
    return json.dumps({"auths": {host: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}}})


async def test_a_manifest_by_its_tag_and_by_its_digest(stage, pull):
    digest = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
    stage.answer("manifests/v1", body=MANIFEST, Content_Type=f"{TYPE}; charset=utf-8")
    stage.answer(f"manifests/{digest}", body=MANIFEST, Content_Type=TYPE)
    stage.answer(f"manifests/{DIGEST}", body=MANIFEST, Content_Type=TYPE)
    registries = pull()
    assert await registries.manifest(stage.remote, "v1", [TYPE]) == (digest, TYPE, MANIFEST)
    assert await registries.manifest(stage.remote, digest, [TYPE]) == (digest, TYPE, MANIFEST)
    with pytest.raises(Damaged):
        await registries.manifest(stage.remote, DIGEST, [TYPE])
    assert stage.requests[0][2]["Accept"] == TYPE
    assert "Authorization" not in stage.requests[0][2]


async def test_a_download_goes_on_where_it_broke(stage, pull, blobs):
    def some(headers, _path):
        start = int((headers.get("Range") or "bytes=0-")[6:-1])
        rest = BLOB[start:]
        status = 206 if start else 200
        return status, {"Content-Length": str(len(rest))}, rest[:2_000_000]

    stage.answers[f"/v2/team/app/blobs/{DIGEST}"] = some
    await pull().download(stage.remote, DIGEST, len(BLOB), blobs)
    assert await blobs.get(DIGEST[7:]) == BLOB
    starts = [headers.get("Range") for _method, _path, headers, _body in stage.requests]
    assert starts[:2] == [None, "bytes=1048576-"]  # whole pieces are kept
    assert len(starts) == 4


async def test_a_registry_without_ranges(stage, pull, blobs):
    sizes = iter([1_000_000, 3_000_000, len(BLOB)])

    def whole(_headers, _path):
        return 200, {"Content-Length": str(len(BLOB))}, BLOB[: next(sizes)]

    stage.answers[f"/v2/team/app/blobs/{DIGEST}"] = whole
    await pull().download(stage.remote, DIGEST, len(BLOB), blobs)
    assert await blobs.get(DIGEST[7:]) == BLOB


@pytest.mark.parametrize(
    ("body", "size"), [(BLOB[:-1] + b"x", len(BLOB)), (BLOB + b"more", len(BLOB)), (BLOB[:-5], len(BLOB) - 5)]
)
async def test_nothing_is_kept_of_what_is_not_what_was_asked_for(stage, pull, blobs, tmp_path, body, size):
    stage.answer(f"blobs/{DIGEST}", body=body)
    with pytest.raises(Damaged):
        await pull().download(stage.remote, DIGEST, size, blobs)
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_basic_authentication(stage, pull):
    def guarded(headers, _path):
        if headers.get("Authorization") == "Basic " + base64.b64encode(b"me:secret").decode():
            return 200, {}, b"config"
        return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b'{"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}'

    digest = f"sha256:{hashlib.sha256(b'config').hexdigest()}"
    stage.answers[f"/v2/team/app/blobs/{digest}"] = guarded
    registries = pull(logins(stage.host))
    assert await registries.blob(stage.remote, digest, 100) == b"config"
    assert await registries.blob(stage.remote, digest, 100) == b"config"
    assert len(stage.requests) == 3  # the second time it is known
    for wrong in ("", logins(stage.host, password="wrong"), logins("other.example")):
        with pytest.raises(Denied, match=r"UNAUTHORIZED: no") as caught:
            await pull(wrong).blob(stage.remote, digest, 100)
        assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("identity", [False, True])
async def test_tokens(stage, pull, identity):
    def guarded(headers, _path):
        if headers.get("Authorization") == "Bearer pass":
            return 200, {"Content-Type": TYPE}, MANIFEST
        realm = f'Bearer realm="http://{stage.host}/token",service="reg, istry",scope="repository:team/app:pull"'
        return 401, {"WWW-Authenticate": realm}, b""

    stage.answers["/v2/team/app/manifests/v1"] = guarded
    name = "access_token" if identity else "token"
    stage.answers["/token"] = (200, {}, json.dumps({name: "pass", "expires_in": 300}).encode())
    given = json.dumps({"auths": {stage.host: {"identitytoken": "long"}}}) if identity else logins(stage.host)
    registries = pull(given)
    for _turn in range(2):
        await registries.manifest(stage.remote, "v1", [TYPE])
    assert len(stage.requests) == 4
    method, path, headers, body = stage.requests[1]
    query = dict(urllib.parse.parse_qsl(body.decode() if identity else path.partition("?")[2]))
    assert (query["scope"], query["service"]) == ("repository:team/app:pull", "reg, istry")
    if identity:
        assert (method, query["grant_type"], query["refresh_token"]) == ("POST", "refresh_token", "long")
    else:
        assert headers["Authorization"].startswith("Basic ")


async def test_a_login_goes_to_no_other_host(stage, pull):
    """Neither by a redirection nor to where tokens are said to be."""
    other = Stage()
    digest = f"sha256:{hashlib.sha256(b'far').hexdigest()}"
    other.answers["/far"] = (200, {}, b"far")

    def guarded(headers, _path):
        if "Authorization" in headers:
            return 307, {"Location": f"http://{other.host}/far"}, b""
        return 401, {"WWW-Authenticate": "Basic"}, b""

    stage.answers[f"/v2/team/app/blobs/{digest}"] = guarded
    assert await pull(logins(stage.host)).blob(stage.remote, digest, 10) == b"far"
    assert "Authorization" not in other.requests[0][2]
    other.server.shutdown()
    other.server.server_close()


async def test_what_a_registry_refuses(stage, pull):
    stage.answer("manifests/hidden", 403, b"")
    stage.answer("manifests/odd", 418, b"")
    stage.answer("manifests/round", 302, Location="/v2/team/app/manifests/round")
    stage.answer("manifests/large", 200, b"x" * (5 << 20))
    registries = pull()
    for tag, kind in (("none", NotThere), ("hidden", Denied), ("odd", RegistryError), ("round", RegistryError)):
        with pytest.raises(kind):
            await registries.manifest(stage.remote, tag, [TYPE])
    with pytest.raises(Damaged, match="more than"):
        await registries.manifest(stage.remote, "large", [TYPE])


async def test_a_registry_that_is_busy_is_asked_again(stage, pull):
    answers = iter([(503, {}, b""), (429, {"Retry-After": "0"}, b""), (200, {"Content-Type": TYPE}, MANIFEST)])
    stage.answers["/v2/team/app/manifests/v1"] = lambda _headers, _path: next(answers)
    assert (await pull().manifest(stage.remote, "v1", [TYPE]))[2] == MANIFEST


async def test_a_registry_that_is_not_there(pull):
    with pytest.raises(RegistryError, match="cannot be reached"):
        await pull().manifest(Remote("127.0.0.1:1", "app"), "v1", [TYPE])


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1:5000", True),
        ("localhost", True),
        ("[::1]:5000", True),
        ("127.0.0.2:5000", False),
        ("localhost.example", False),
        ("registry.example:5000", False),
    ],
)
def test_http_is_for_loopback_alone(host, loopback):
    assert is_loopback(host) is loopback
