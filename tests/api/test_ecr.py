"""The registry of a running server, by the tools that people push and pull with."""

import base64
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from imagery import layout
from support import Server, clean_environment, eventually, run

CONFORMANCE = Path(__file__).parent / "oci_conformance"


@pytest.fixture
def host(server):
    return urllib.parse.urlsplit(server.endpoint).netloc


@pytest.fixture
def ecr(server):
    return server.client("ecr")


@pytest.fixture
def repository(ecr, name):
    ecr.create_repository(repositoryName=name.lower())
    yield name.lower()
    ecr.delete_repository(repositoryName=name.lower(), force=True)


@pytest.fixture
def password(ecr):
    return password_of(ecr)


def password_of(ecr):
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(token).decode().removeprefix("AWS:")


def skopeo(*arguments, **options):
    return run("skopeo", "--insecure-policy", *map(str, arguments), **options)


def test_skopeo_pushes_and_pulls(ecr, host, repository, password, tmp_path):
    digest = layout(tmp_path / "image", [os.urandom(300_000), b"second"])
    target = f"docker://{host}/{repository}:v1"
    login = ["--creds", f"AWS:{password}"]
    skopeo("copy", "--dest-tls-verify=false", "--dest-creds", login[1], f"oci:{tmp_path}/image:latest", target)
    (detail,) = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert (detail["imageDigest"], detail["imageTags"]) == (digest, ["v1"])
    assert json.loads(skopeo("inspect", "--tls-verify=false", *login, target))["Digest"] == digest
    assert json.loads(skopeo("list-tags", "--tls-verify=false", *login, target[:-3]))["Tags"] == ["v1"]
    skopeo("copy", "--src-tls-verify=false", target, f"oci:{tmp_path}/back:latest")
    for blob in (tmp_path / "image/blobs/sha256").iterdir():
        assert (tmp_path / "back/blobs/sha256" / blob.name).read_bytes() == blob.read_bytes()


def test_a_login_as_the_aws_cli_tells_people(server, host, tmp_path):
    environment = clean_environment() | {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"),
    }
    given = run("aws", "ecr", "get-login-password", env=environment)
    login = ["skopeo", "login", "--tls-verify=false", "--username", "AWS", "--password-stdin", host]
    assert "Login Succeeded" in run(*login, input=given, env=environment)
    wrong = subprocess.run(login, input="nonsense", capture_output=True, text=True, env=environment)
    assert wrong.returncode != 0


def test_buildah_builds_and_pushes(ecr, host, repository, password, tmp_path):
    (tmp_path / "Containerfile").write_text('FROM scratch\nCOPY hello /hello\nCMD ["/hello"]\n')
    (tmp_path / "hello").write_text("hello")
    storage = ["--root", tmp_path / "root", "--runroot", tmp_path / "runroot", "--storage-driver", "vfs"]
    buildah = ["buildah", *map(str, storage)]
    image = f"{host}/{repository}:built"
    run(*buildah, "bud", "--isolation", "chroot", "--tag", image, tmp_path)
    run(*buildah, "push", "--tls-verify=false", "--creds", f"AWS:{password}", image)
    assert ecr.list_images(repositoryName=repository)["imageIds"][0]["imageTag"] == "built"


def test_oras_pushes_and_pulls_a_file(host, repository, password, tmp_path, monkeypatch):
    client = pytest.importorskip("oras.client").OrasClient(hostname=host, insecure=True, auth_backend="basic")
    client.auth.set_basic_auth("AWS", password)
    monkeypatch.chdir(tmp_path)
    Path("note.txt").write_text("a note")
    assert client.push(target=f"{host}/{repository}:note", files=["note.txt"]).status_code == 201
    (pulled,) = client.pull(target=f"{host}/{repository}:note", outdir="out")
    assert Path(pulled).read_text() == "a note"


@pytest.mark.skipif(shutil.which("go") is None, reason="the OCI's conformance suite is written in Go")
def test_the_conformance_suite_of_the_oci(ecr, host, password, tmp_path, tmp_path_factory):
    suite = tmp_path_factory.mktemp("oci") / "conformance"
    module = "github.com/opencontainers/distribution-spec/conformance"
    run("go", "build", "-mod=mod", "-o", suite, module, cwd=CONFORMANCE)
    for name in ("conformance/one", "conformance/two"):
        ecr.create_repository(repositoryName=name)
    settings = {
        "OCI_REGISTRY": host,
        "OCI_TLS": "disabled",
        "OCI_REPO1": "conformance/one",
        "OCI_REPO2": "conformance/two",
        "OCI_USERNAME": "AWS",
        "OCI_PASSWORD": password,
        "OCI_RESULTS_DIR": str(tmp_path),
        "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
        "OCI_API_BLOBS_DIGEST_HEADER": "true",
        "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
    }
    result = subprocess.run([suite], capture_output=True, text=True, env=os.environ | settings, timeout=300)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-6000:]


# What clients should not do


def call(host, method, path, body=None, **headers):
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read(), dict(response.headers)
    finally:
        connection.close()


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def upload(host, repository, data):
    status, _body, headers = call(host, "POST", f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}", data)
    assert status == 201
    return headers["Location"]


def test_wrong_passwords_are_refused(host, repository):
    for header in ("Basic QVdTOm5vbnNlbnNl", "Basic !", "Bearer x"):
        status, body, headers = call(host, "GET", f"/v2/{repository}/tags/list", Authorization=header)
        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Basic realm=")
        assert json.loads(body)["errors"][0]["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/none/tags/list", 404),
        ("GET", "/v2/UPPER/tags/list", 400),
        ("GET", "/v2/../../etc/passwd", 404),
        ("GET", "/v2/a/../b/blobs/sha256:" + "0" * 64, 400),
        ("GET", "/v2/{}/blobs/sha256:..%2f..%2flambent.db", 404),
        ("GET", "/v2/{}/blobs/nonsense", 400),
        ("GET", "/v2/{}/blobs/sha256:" + "0" * 64, 404),
        ("GET", "/v2/{}/manifests/none", 404),
        ("GET", "/v2/{}/manifests/-", 400),
        ("PUT", "/v2/{}/manifests/x", 400),
        ("POST", "/v2/{}/manifests/x", 405),
        ("PATCH", "/v2/{}/blobs/uploads/none", 404),
        ("PUT", "/v2/{}/blobs/uploads/none?digest=x", 404),
        ("POST", "/v2/{}/blobs/uploads/?digest=x", 400),
        ("POST", "/v2/none/blobs/uploads/", 404),
        ("GET", "/v2/{}/tags/list?n=x", 400),
        ("GET", "/v2/nonsense", 404),
    ],
)
def test_bad_requests(host, repository, method, path, status):
    answer, body, _headers = call(host, method, path.format(repository))
    assert answer == status
    assert json.loads(body)["errors"][0]["message"]


def test_ranges(host, repository):
    path = upload(host, repository, b"0123456789")
    for wanted, status, expected in [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=5-99", 206, b"56789"),
    ]:
        answer, body, _headers = call(host, "GET", path, Range=wanted)
        assert (answer, body) == (status, expected)
    for wanted in ("bytes=10-", "bytes=4-2", "bytes=0-1,3-4", "lines=1-2"):
        assert call(host, "GET", path, Range=wanted)[0] == 416


def test_an_upload_goes_on_where_it_stopped(host, repository):
    _status, _body, headers = call(host, "POST", f"/v2/{repository}/blobs/uploads/")
    location, data = headers["Location"], os.urandom(3_000_000)
    cut = http.client.HTTPConnection(host, timeout=30)
    cut.putrequest("PATCH", location)
    cut.putheader("Content-Length", str(len(data)))
    cut.endheaders(data[:2_000_000])
    cut.close()
    eventually(lambda: call(host, "GET", location)[2]["Range"] == "0-1999999")
    status, _body, headers = call(host, "GET", location)
    have = int(headers["Range"].partition("-")[2]) + 1
    rest = {"Content_Range": f"{have}-{len(data) - 1}"}
    assert call(host, "PATCH", location, data[have:], Content_Range=f"0-{len(data)}")[0] == 416
    assert call(host, "PATCH", location, data[have:], **rest)[0] == 202
    assert call(host, "PUT", f"{location}?digest={digest_of(data)}")[0] == 201
    assert call(host, "GET", f"/v2/{repository}/blobs/{digest_of(data)}")[1] == data


def test_a_link_opens_its_layer_and_no_other(ecr, host, repository):
    upload(host, repository, b"one")
    upload(host, repository, b"two")
    link = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest_of(b"one"))["downloadUrl"]
    assert urllib.request.urlopen(link).read() == b"one"
    other = link.replace(digest_of(b"one"), digest_of(b"two")).partition(host)[2]
    assert call(host, "GET", other)[0] == 403


def test_a_login_is_for_its_own_account(server, host, repository):
    stranger = password_of(server.client("ecr", account="222222222222"))
    header = "Basic " + base64.b64encode(f"AWS:{stranger}".encode()).decode()
    assert call(host, "GET", f"/v2/{repository}/tags/list", Authorization=header)[0] == 404


def test_a_push_that_is_cut_leaves_nothing(tmp_path):
    """`kill -9` at any moment of a push: what was acknowledged is there, nothing else is."""
    server = Server(tmp_path / "data")
    server.client("ecr").create_repository(repositoryName="app")
    acknowledged = []

    def push(running):
        host = urllib.parse.urlsplit(running.endpoint).netloc
        try:
            while True:
                data = os.urandom(1_500_000)
                upload(host, "app", data)
                acknowledged.append(data)
        except (OSError, http.client.HTTPException, AssertionError):
            return

    for _round in range(4):
        thread = threading.Thread(target=push, args=(server,))
        had = len(acknowledged)
        thread.start()
        eventually(lambda had=had: len(acknowledged) > had + 1)
        server.kill()
        thread.join()
        server = Server(tmp_path / "data")
        host = urllib.parse.urlsplit(server.endpoint).netloc
        for data in acknowledged[had:]:
            assert call(host, "GET", f"/v2/app/blobs/{digest_of(data)}")[1] == data
    server.client("ecr").delete_repository(repositoryName="app", force=True)
    assert eventually(lambda: not os.listdir(tmp_path / "data/registry"))
    server.stop()


def test_what_is_not_built_says_so(ecr, repository):
    with pytest.raises(ClientError, match=r"ecr\.StartImageScan"):
        ecr.start_image_scan(repositoryName=repository, imageId={"imageTag": "x"})
