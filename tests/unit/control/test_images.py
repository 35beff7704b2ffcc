"""Functions from container images: what is pinned, what is shown, what is refused and in which words."""

import hashlib
import json
from dataclasses import replace

import pytest

from lambent.base.remote_registry import Damaged, Denied, RegistryError
from lambent.control.image_reference import Reference, own_hosts
from lambent.control.records import Image, ImageLayer
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Context

from .lab import ACCOUNT, ROLE, make_zip

MANIFEST, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
CONFIG, LAYER = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"
URI = "127.0.0.1:4566/app:v1"
CONTEXT = Context(Caller(ACCOUNT, "us-east-1"), "request-id", "http://127.0.0.1:4566")


def sha(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry:
    """What ECR answers to BatchGetImage."""

    def __init__(self, lab):
        self.lab = lab
        self.images = {}  # tag or digest → (media type, text)
        lab.operations.register("ecr", "BatchGetImage", self.batch_get_image)
        lab.operations.register("ecr", "GetDownloadUrlForLayer", self.get_download_url_for_layer)
        self.refused = ()  # operations

    async def get_download_url_for_layer(self, context, parameters):
        self._check("GetDownloadUrlForLayer")
        return {}

    def _check(self, operation):
        if operation in self.refused:
            raise AwsError("AccessDeniedException", f"not authorized to perform: ecr:{operation}")

    async def batch_get_image(self, context, parameters):
        self._check("BatchGetImage")
        if parameters["repositoryName"] != "app":
            raise AwsError("RepositoryNotFoundException", "no")
        (wanted,) = parameters["imageIds"]
        key = wanted.get("imageDigest") or wanted["imageTag"]
        if key not in self.images:
            return {"images": [], "failures": [{"imageId": wanted, "failureCode": "ImageNotFound"}]}
        media_type, text = self.images[key]
        shown = {"imageDigest": sha(text.encode())}
        return {"images": [{"imageId": shown, "imageManifest": text, "imageManifestMediaType": media_type}]}

    def _keep(self, media_type, body, tag):
        text = json.dumps(body)
        self.images[sha(text.encode())] = (media_type, text)
        if tag:
            self.images[tag] = (media_type, text)
        return sha(text.encode())

    async def push(self, tag="v1", *, layer=b"layer", architecture="amd64", os="linux", layer_type=LAYER, **config):
        settings = {"Entrypoint": ["/run"], "Cmd": ["a", "b"], "WorkingDir": "/app", "Env": ["A=1", "B=x=y"]} | config
        body = {"architecture": architecture, "os": os, "config": settings}
        body["rootfs"] = {"type": "layers", "diff_ids": [sha(b"content of " + layer)]}
        text = json.dumps(body).encode()
        await self.lab.blobs.put(text)
        parts = {"config": {"mediaType": CONFIG, "digest": sha(text), "size": len(text)}}
        parts["layers"] = [{"mediaType": layer_type, "digest": sha(layer), "size": len(layer)}]
        return self._keep(MANIFEST, {"schemaVersion": 2, "mediaType": MANIFEST, **parts}, tag)

    def index(self, tag, **digests):
        platforms = [
            {"mediaType": MANIFEST, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": name}}
            for name, digest in digests.items()
        ]
        return self._keep(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": platforms}, tag)


@pytest.fixture
def registry(lab):
    lab.gate.set()
    return Registry(lab)


async def create(lab, uri=URI, **members):
    members = {"FunctionName": "f", "Role": ROLE, "PackageType": "Image", "Code": {"ImageUri": uri}} | members
    return await lab.call("CreateFunction", **members)


async def refusal(awaitable):
    with pytest.raises(AwsError) as caught:
        await awaitable
    assert caught.value.code == "InvalidParameterValueException"
    return caught.value.message


async def stored(lab):
    await lab.call("GetFunction", FunctionName="f")
    (function,) = lab.store._memory.functions()
    return function


async def test_a_tag_becomes_a_digest(lab, registry):
    digest = await registry.push()
    made = await create(lab)
    assert (made["PackageType"], made["CodeSize"], made["CodeSha256"]) == ("Image", 0, digest.removeprefix("sha256:"))
    assert not {"Runtime", "Handler", "RuntimeVersionConfig", "ImageConfigResponse"} & set(made)
    assert made["State"] == "Pending"
    got = await lab.call("GetFunction", FunctionName="f")
    resolved = f"127.0.0.1:4566/app@{digest}"
    assert got["Code"] == {"RepositoryType": "ECR", "ImageUri": URI, "ResolvedImageUri": resolved}
    function = await stored(lab)
    assert function.image == Image(
        URI,
        digest,
        resolved,
        digest,
        (ImageLayer(sha(b"content of layer")[7:], sha(b"layer")[7:], 5),),
        ("/run",),
        ("a", "b"),
        "/app",
        {"A": "1", "B": "x=y"},
    )
    assert function.digests == {sha(b"content of layer")[7:], sha(b"layer")[7:]}


async def test_it_stays_pinned_when_the_tag_moves(lab, registry):
    first = await registry.push()
    await create(lab)
    second = await registry.push(layer=b"other")
    assert (await stored(lab)).image.digest == first
    updated = await lab.call("UpdateFunctionCode", FunctionName="f", ImageUri=URI)
    assert updated["CodeSha256"] == second.removeprefix("sha256:")
    assert (await stored(lab)).image.digest == second


async def test_by_digest(lab, registry):
    digest = await registry.push()
    await registry.push(layer=b"other")
    await create(lab, f"127.0.0.1:4566/app@{digest}")
    assert (await stored(lab)).image.digest == digest


async def test_an_index_gives_the_image_of_the_function_s_architecture(lab, registry):
    arm = await registry.push(None, architecture="arm64")
    intel = await registry.push(None, layer=b"other")
    index = registry.index("v1", arm64=arm, amd64=intel)
    await create(lab, Architectures=["arm64"])
    image = (await stored(lab)).image
    assert (image.digest, image.manifest) == (index, arm)


async def test_what_overrides_the_image(lab, registry):
    await registry.push()
    made = await create(lab, ImageConfig={"Command": ["c"], "EntryPoint": [], "WorkingDirectory": "/else"})
    assert made["ImageConfigResponse"] == {"ImageConfig": {"Command": ["c"], "WorkingDirectory": "/else"}}
    image = (await stored(lab)).image
    assert (image.arguments, image.working_directory) == (("/run", "c"), "/else")
    change = {"EntryPoint": ["/other"]}
    updated = await lab.call("UpdateFunctionConfiguration", FunctionName="f", ImageConfig=change)
    assert updated["ImageConfigResponse"] == {"ImageConfig": change}
    image = (await stored(lab)).image
    assert (image.arguments, image.working_directory) == (("/other", "a", "b"), "/app")
    await lab.call("UpdateFunctionCode", FunctionName="f", ImageUri=URI)
    assert (await stored(lab)).image.overrides == change
    cleared = await lab.call("UpdateFunctionConfiguration", FunctionName="f", ImageConfig={})
    assert "ImageConfigResponse" not in cleared


async def test_versions_are_of_images_too(lab, registry):
    digest = (await registry.push()).removeprefix("sha256:")
    await create(lab)
    await stored(lab)
    version = await lab.call("PublishVersion", FunctionName="f", CodeSha256=digest)
    assert (version["Version"], version["CodeSha256"]) == ("1", digest)


async def test_images_that_are_not_there(lab, registry):
    await registry.push()
    for uri in ("127.0.0.1:4566/app:v2", "127.0.0.1:4566/none:v1", f"127.0.0.1:4566/app@{sha(b'x')}"):
        message = await refusal(create(lab, uri))
        assert message == f"Source image {uri} does not exist. Provide a valid source image."


@pytest.mark.parametrize(
    "wrong",
    [
        {"architecture": "arm64"},
        {"os": "windows"},
        {"layer_type": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        {"layer_type": "text/plain"},
    ],
)
async def test_images_that_cannot_run(lab, registry, wrong):
    await registry.push(**wrong)
    assert f"for the source image {URI} is not supported. " in await refusal(create(lab))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Code": {"ZipFile": b"x"}}, "Please don't provide ZipFile when creating a function with packageType Image."),
        ({"Code": {}}, "Please provide ImageUri when creating a function with packageType Image."),
        ({"Code": {"ImageUri": "no uri"}}, "Source image no uri is not valid. Provide a valid source image."),
        (
            {"Runtime": "python3.12"},
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
        ),
        (
            {"SnapStart": {"ApplyOn": "PublishedVersions"}},
            "SnapStart is not supported for functions with packageType Image.",
        ),
    ],
)
async def test_settings_that_do_not_belong_to_images(lab, registry, members, message):
    await registry.push()
    assert await refusal(create(lab, **members)) == message


async def test_the_package_type_never_changes(lab, registry):
    await registry.push()
    await create(lab)
    await stored(lab)
    assert "ZipFile" in await refusal(lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=make_zip()))
    message = await refusal(lab.call("UpdateFunctionConfiguration", FunctionName="f", Handler="a.b"))
    assert message.startswith("Please don't provide Handler")
    await lab.create("z")
    message = await refusal(lab.call("UpdateFunctionCode", FunctionName="z", ImageUri=URI))
    assert message == "Please don't provide ImageUri when updating a function with packageType Zip."
    message = await refusal(lab.call("UpdateFunctionConfiguration", FunctionName="z", ImageConfig={"Command": ["x"]}))
    assert message == "ImageConfig is not supported for functions with packageType Zip."


@pytest.mark.parametrize(
    ("uri", "region", "name", "tag", "digest"),
    [
        ("127.0.0.1:4566/app", "us-east-1", "app", "latest", None),
        ("localhost:4566/team/app:v1", "us-east-1", "team/app", "v1", None),
        ("[::1]:4566/app:v1", "us-east-1", "app", "v1", None),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/app:v1", "eu-west-1", "app", "v1", None),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.localhost:4566/app:v1", "eu-west-1", "app", "v1", None),
        (f"127.0.0.1/app@{sha(b'')}", "us-east-1", "app", None, sha(b"")),
        (f"127.0.0.1/app:v1@{sha(b'')}", "us-east-1", "app", "v1", sha(b"")),
    ],
)
def test_uris(uri, region, name, tag, digest):
    found = Reference.parse(uri, CONTEXT, own_hosts(lambda: 4566))
    assert found.host == ""
    assert (found.caller.region, found.repository, found.tag, found.digest) == (region, name, tag, digest)
    assert found.pinned("sha256:x") == f"{uri.partition('/')[0]}/{name}@sha256:x"


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("public.ecr.aws/lambda/python:3.12", "public.ecr.aws"),
        ("docker.io/python:3.12", "docker.io"),
        ("127.0.0.1:5000/app:v1", "127.0.0.1:5000"),
        ("registry.example:4566/app:v1", "registry.example:4566"),
    ],
)
def test_other_registries(uri, host):
    assert Reference.parse(uri, CONTEXT, own_hosts(lambda: 4566)).host == host


def test_the_host_that_the_client_speaks_to_is_this_server():
    context = replace(CONTEXT, endpoint="http://lambent.example:8080")
    assert Reference.parse("lambent.example:8080/app:v1", context, own_hosts(lambda: 4566)).host == ""


def test_another_account_s_registry():
    found = Reference.parse("222222222222.dkr.ecr.us-east-1.amazonaws.com/app:v1", CONTEXT, own_hosts(lambda: 4566))
    assert found.caller.account != "222222222222"
    assert found.place == {"repositoryName": "app", "registryId": "222222222222"}


@pytest.mark.parametrize("operation", ["BatchGetImage", "GetDownloadUrlForLayer"])
async def test_who_may_not_pull_an_image_makes_no_function_of_it(lab, registry, operation):
    await registry.push()
    registry.refused = (operation,)
    with pytest.raises(AwsError, match="Check the ECR permissions") as caught:
        await create(lab)
    assert (caught.value.code, caught.value.status) == ("AccessDeniedException", 403)
    assert f"ecr:{operation}" in caught.value.message


# Other registries

FAR = "registry.example/team/app:v1"


def far(lab, registry, digest, tag="v1"):
    """What is in our registry is in the other one, and only there."""
    media_type, text = registry.images.pop(digest)
    place = ("registry.example", "team/app")
    lab.remotes.manifests[*place, tag] = lab.remotes.manifests[*place, digest] = (digest, media_type, text.encode())
    return json.loads(text)


async def test_an_image_of_another_registry(lab, registry):
    digest = await registry.push("v1")
    config = far(lab, registry, digest)["config"]["digest"]
    lab.remotes.blobs[config] = await lab.blobs.get(config[7:])
    await create(lab, FAR)
    got = await lab.call("GetFunction", FunctionName="f")
    assert got["Code"]["ResolvedImageUri"] == f"registry.example/team/app@{digest}"
    image = (await stored(lab)).image
    assert (image.host, image.repository, image.digest) == ("registry.example", "team/app", digest)
    assert image.entrypoint == ("/run",)


@pytest.mark.parametrize(
    ("problem", "code", "message"),
    [
        (None, "InvalidParameterValueException", f"Source image {FAR} does not exist. Provide a valid source image."),
        (Denied("no login"), "AccessDeniedException", "no login"),
        (Damaged("it lies"), "InvalidParameterValueException", "it lies"),
        (RegistryError("x cannot be reached"), "InvalidParameterValueException", "cannot be reached"),
    ],
)
async def test_what_another_registry_refuses(lab, registry, problem, code, message):
    if problem is not None:
        lab.remotes.manifests["registry.example", "team/app", "v1"] = problem
    with pytest.raises(AwsError) as caught:
        await create(lab, FAR)
    assert caught.value.code == code
    assert message in caught.value.message
    assert "f" not in [function.key.name for function in lab.store._memory.functions()]


# Indexes


async def test_an_index_in_an_index(lab, registry):
    """Buildkit's attestations say unknown/unknown; entries that name no platform are looked into."""
    wanted = await registry.push(None)
    below = registry.index(None, amd64=wanted, unknown=await registry.push(None, layer=b"attestation"))
    body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": INDEX, "digest": below, "size": 1}]}
    registry._keep(INDEX, body, "v1")
    await create(lab)
    assert (await stored(lab)).image.manifest == wanted


async def test_an_index_without_the_architecture(lab, registry):
    registry.index("v1", arm64=await registry.push(None, architecture="arm64"))
    assert (await refusal(create(lab))).endswith("Nothing in it is for linux/amd64.")


async def test_an_index_that_holds_itself(lab, registry):
    registry.images["v1"] = registry.images[sha(b"loop")] = (
        INDEX,
        json.dumps({"manifests": [{"digest": sha(b"loop")}]}),
    )
    assert "Nothing in it" in await refusal(create(lab))


@pytest.mark.parametrize("config", [{"Entrypoint": "text"}, {"Env": 5}])
async def test_odd_configs(lab, registry, config):
    await registry.push(**config)
    await create(lab)
