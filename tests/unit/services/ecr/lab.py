"""A registry without a server: real database, blobs in memory, a clock that stands still."""

import hashlib
import json

from lambent.base.db import SqliteDatabase, migrate
from lambent.services.ecr.manifests import OCI_INDEX, OCI_MANIFEST
from lambent.services.ecr.names import Registry, RepositoryName
from lambent.services.ecr.service import Ecr
from lambent.services.ecr.store import MIGRATIONS
from lambent.testing import FakeClock, MemoryBlobs
from lambent.wire.operations import Caller, Context, Operations

ACCOUNT, REGION = "111111111111", "us-east-1"
CONFIG_TYPE, LAYER_TYPE = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(data, media_type=LAYER_TYPE):
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def manifest(config=b"{}", layers=(b"layer",), **more):
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, CONFIG_TYPE),
        "layers": [descriptor(layer) for layer in layers],
    }
    return json.dumps(body | more)


def index(*manifests, **more):
    entries = [descriptor(text.encode(), OCI_MANIFEST) for text in manifests]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries} | more)


class Lab:
    def __init__(self, tmp_path):
        self.clock = FakeClock()
        self.blobs = MemoryBlobs()
        self.db = SqliteDatabase(tmp_path / "lambent.db")
        self.operations = Operations()

    async def start(self):
        await migrate(self.db, MIGRATIONS)
        self.ecr = Ecr(self.db, self.blobs, self.clock, b"k" * 32, Registry(ACCOUNT, REGION))
        self.ecr.register(self.operations)
        return self

    async def call(self, operation, *, account=ACCOUNT, region=REGION, **parameters):
        context = Context(Caller(account, region), "id", "http://127.0.0.1:4566")
        return await self.operations.find("ecr", operation)(context, parameters)

    async def repository(self, name="app", **more):
        await self.call("CreateRepository", repositoryName=name, **more)
        return RepositoryName(Registry(ACCOUNT, REGION), name)

    async def layer(self, data, name="app"):
        upload = (await self.call("InitiateLayerUpload", repositoryName=name))["uploadId"]
        await self.call(
            "UploadLayerPart",
            repositoryName=name,
            uploadId=upload,
            partFirstByte=0,
            partLastByte=len(data) - 1,
            layerPartBlob=data,
        )
        await self.call("CompleteLayerUpload", repositoryName=name, uploadId=upload, layerDigests=[digest_of(data)])

    async def push(self, tag="v1", name="app", layers=(b"layer",), config=b"{}"):
        """An image with its parts; its digest."""
        known = await self.ecr.store.layers(
            RepositoryName(Registry(ACCOUNT, REGION), name), [digest_of(part) for part in (config, *layers)]
        )
        for part in (config, *layers):
            if digest_of(part) not in known:
                await self.layer(part, name)
        text = manifest(config, layers)
        more = {"imageTag": tag} if tag else {}
        answer = await self.call("PutImage", repositoryName=name, imageManifest=text, **more)
        return answer["image"]["imageId"]["imageDigest"]
