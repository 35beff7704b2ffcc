"""The control plane on a real database and a fake clock, with the engine's part played by the test."""

from __future__ import annotations

import asyncio
import io
import zipfile
from pathlib import Path
from typing import Any

from lambent.base import jobs as jobs_module
from lambent.base.blobs import Blobs, LocalBlobs
from lambent.base.db import SqliteDatabase, migrate
from lambent.base.jobs import Job, Jobs
from lambent.base.remote_registry import NotThere
from lambent.base.trees import Trees
from lambent.control import alias_store, concurrency_store, layer_store, plaintext
from lambent.control import resources as resources_module
from lambent.control import store as store_module
from lambent.control.alias_store import AliasStore
from lambent.control.aliases import Aliases
from lambent.control.attachments import Attachments
from lambent.control.code import Code
from lambent.control.code_signing import CodeSigning
from lambent.control.concurrency import Concurrency
from lambent.control.concurrency_store import PROVISION, ConcurrencyStore
from lambent.control.execution_roles import ExecutionRoles, Values
from lambent.control.file_systems import FileSystems
from lambent.control.functions import Functions
from lambent.control.image_reference import own_hosts
from lambent.control.images import Images
from lambent.control.layer_store import LayerStore
from lambent.control.layers import Layers
from lambent.control.links import CodeLinks
from lambent.control.operations import register
from lambent.control.orphans import Orphans
from lambent.control.permissions import Permissions
from lambent.control.plaintext import seal_what_is_readable
from lambent.control.records import FunctionKey
from lambent.control.secrets import Revealing, Secrets
from lambent.control.store import PREPARE, FunctionStore, Preparation
from lambent.control.versions import Versions
from lambent.services.kms import store as kms_store
from lambent.services.kms.service import Kms
from lambent.services.s3 import store as s3_store
from lambent.services.s3.service import S3
from lambent.testing import FakeClock
from lambent.wire import models, validator
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Client, Context, Operations

ACCOUNT, REGION = "111111111111", "us-east-1"
FRIEND, ORGANIZATION = "222222222222", "o-a1b2c3d4e5"  # an account and the organisation it belongs to
ACCESS_POINT = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/fsap-0123456789abcdef0"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambda-role"


def make_zip(content: str = "def handler(event, context):\n    return event\n", name: str = "handler.py") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


class Remotes:
    """Other registries: what each reference there gives, an exception or a manifest; and blobs by their digests."""

    def __init__(self):
        self.manifests = {}  # (host, repository, tag or digest) → (digest, media type, text) or an exception
        self.blobs = {}

    async def manifest(self, remote, reference, accepted):
        found = self.manifests.get((remote.host, remote.repository, reference), NotThere("none"))
        if isinstance(found, Exception):
            raise found
        return found

    async def blob(self, remote, digest, limit):
        return self.blobs[digest]


class Lab:
    """Open it with `await Lab.open(path)`. Jobs wait until `finish` or until `hold` is off."""

    def __init__(self, root: Path, blobs: Blobs | None = None) -> None:
        self.root = root
        self.clock = FakeClock()
        self.db = SqliteDatabase(root / "lambent.db")
        self.jobs = Jobs(self.db, self.clock)
        self.store = FunctionStore(self.db, self.jobs, self.clock)
        self.blobs = blobs or LocalBlobs(root / "blobs")
        self.trees = Trees(root / "trees", boot_id="boot")
        self.running: set[str] = set()  # code of environments
        self.operations = Operations()
        self.kms = Kms(self.db, self.clock, bytes(32))
        self.kms.register(self.operations)
        self.client = Client(self.operations, self.clock)
        self.s3 = S3(self.db, root / "objects", self.clock, self.jobs, self.client)
        self.s3.register(self.operations)
        self.secrets = Secrets(self.client)
        self.layer_versions = LayerStore(self.db)
        self.orphans = Orphans((self.store, self.layer_versions), self.blobs, self.trees, lambda: self.running)
        code = Code(self.blobs, self.trees, self.orphans, self.client)
        means = (code, CodeLinks(self.blobs, self.clock, b"key"), self.clock)
        self.layers = Layers(self.layer_versions, *means, self.store.code_size, {ORGANIZATION: frozenset((FRIEND,))})
        attachments = Attachments(self.layers, self.layer_versions, self.orphans, self.trees)
        self.aliases = AliasStore(self.db, self.clock)
        self.store.on_remove(self.aliases.let_go)
        self.concurrency = ConcurrencyStore(self.db, self.jobs, self.clock)
        self.store.on_remove(self.concurrency.let_go)
        self.aliases.on_move(self.concurrency.alias_moved)
        signing = CodeSigning(self.db, self.store, self.clock)
        self.remotes = Remotes()
        images = Images(Client(self.operations, self.clock), self.blobs, self.remotes, own_hosts(lambda: 4566))
        shares = FileSystems((ACCESS_POINT,))
        kept = (self.store, self.aliases, self.concurrency)
        self.roles: dict[str, bool] = {}  # those that IAM knows, and whether they trust Lambda
        self.authorised = False
        roles = ExecutionRoles(self._trusts, lambda: self.authorised)
        self.functions = Functions(*kept, attachments, signing, self.secrets, images, shares, roles, *means)
        revealing = Revealing(self.operations, self.secrets)
        self.layers.register(self.operations)
        self.functions.register(revealing)
        register(self.operations, self.db, self.store, self.aliases, self.layer_versions, signing, self.clock)
        Versions(self.store).register(revealing)
        Aliases(self.store, self.aliases, self.clock).register(self.operations)
        Permissions(self.db, self.store, self.aliases).register(self.operations)
        stores = (self.store, self.aliases, self.concurrency)
        self.concurrencies = Concurrency(*stores, self.clock, self._code_size, lambda key, qualifier: self.allocated)
        self.concurrencies.register(self.operations)
        self.gate = asyncio.Event()
        self.allocated = 0  # provisioned environments that the engine has brought up
        self.failure: tuple[str, str] | None = None
        self.jobs.bind(PREPARE, self._prepare)
        self.jobs.bind(PROVISION, self._provision)

    @classmethod
    async def open(cls, root: Path, **options: Any) -> Lab:
        lab = cls(root, **options)
        stores = (store_module, resources_module, layer_store, alias_store, concurrency_store)
        modules = (jobs_module, *stores, kms_store, s3_store, plaintext)
        await migrate(lab.db, [step for module in modules for step in module.MIGRATIONS])
        await lab.kms.start()
        await lab.s3.start()
        await seal_what_is_readable(lab.db, lab.secrets)
        await lab.store.load()
        await lab.layer_versions.load()
        await lab.aliases.load()
        await lab.concurrency.load()
        await lab.jobs.start()
        return lab

    async def close(self) -> None:
        await self.orphans.stop()
        await self.jobs.stop()
        await self.s3.stop()
        await self.kms.stop()
        await self.db.close()

    async def _trusts(self, role: str, service: str, context: Values) -> bool | None:
        assert service == "lambda.amazonaws.com"
        assert context["aws:sourceaccount"]
        return self.roles.get(role)

    async def _prepare(self, job: Job) -> None:
        """What the engine does: here it waits for the test."""
        await self.gate.wait()
        task = Preparation.of(job)
        code, reason = self.failure or (None, "")
        await self.store.finish(task.key, task.revision, version=task.version, job=job, reason_code=code, reason=reason)

    async def _provision(self, job: Job) -> None:
        await self.gate.wait()
        code, reason = self.failure or ("READY", None)
        await self.concurrency.finish(self.concurrency.task(job), job, code, reason)

    def _code_size(self, account: str, region: str) -> int:
        return self.store.code_size(account, region) + self.layer_versions.code_size(account, region)

    async def put_object(
        self, bucket: str, key: str, body: bytes, *, account: str = ACCOUNT, region: str = REGION, **members: Any
    ) -> Any:
        """Into S3; the bucket is made where it is missing."""
        caller = Caller(account, region)
        if self.s3.buckets.find(bucket) is None:
            constraint = {} if region == REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            await self.client.call("s3", "CreateBucket", {"Bucket": bucket, **constraint}, caller)
        wanted = {"Bucket": bucket, "Key": key, "Body": body, **members}
        return await self.client.call("s3", "PutObject", wanted, caller)

    async def call(self, operation: str, *, account: str = ACCOUNT, region: str = REGION, **members: Any) -> Any:
        """What the gateway does with parsed parameters: validate, then ask the handler."""
        validator.validate(models.service("lambda").model.operation_model(operation), members)
        handler = self.operations.find("lambda", operation)
        assert handler is not None
        caller = Caller(account, region)
        return await handler(Context(caller, "request-id", "http://127.0.0.1:4566"), members)

    async def ask_kms(self, operation: str, **members: Any) -> Any:
        return await Client(self.operations, self.clock).call("kms", operation, members, Caller(ACCOUNT, REGION))

    async def kms_key(self) -> str:
        """The ARN of a new key of the account."""
        return str((await self.ask_kms("CreateKey"))["KeyMetadata"]["Arn"])

    async def create(self, name: str, **settings: Any) -> Any:
        defaults = {"Runtime": "python3.12", "Role": ROLE, "Handler": "handler.handler"}
        settings.setdefault("Code", {"ZipFile": make_zip()})
        return await self.call("CreateFunction", FunctionName=name, **(defaults | settings))

    async def ready(self, name: str, failure: tuple[str, str] | None = None) -> None:
        """Let the engine finish what it has to do for a function."""
        self.failure = failure
        self.gate.set()
        for version in await self.versions(name):
            await self.store.settled(key_of(name), 10, version)
        self.gate.clear()

    async def versions(self, name: str) -> list[str]:
        page, _ = await self.store.page_of_versions(key_of(name), None, 1000)
        return [version.version for version in page]

    async def refusal(self, operation: str, **members: Any) -> AwsError:
        try:
            answer = await (self.create(**members) if operation == "create" else self.call(operation, **members))
        except AwsError as error:
            return error
        raise AssertionError(f"no error but {answer}")


def error_of(error: AwsError) -> dict[str, Any]:
    """An error as botocore shows it."""
    shown: dict[str, Any] = {"Error": {"Code": error.code, "Message": error.message}, **error.fields}
    status = error.status
    if status is None:
        status = models.service("lambda").model.shape_for(error.code).metadata["error"]["httpStatusCode"]
    return shown | {"HTTPStatusCode": status}


def key_of(name: str) -> FunctionKey:
    return FunctionKey(ACCOUNT, REGION, name)
