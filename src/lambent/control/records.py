"""What Lambda remembers of a function. Frozen: a change is `replace` + one transaction + a new revision id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

LATEST = "$LATEST"


_PARTITIONS = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("us-iso-", "aws-iso"), ("us-isob-", "aws-iso-b"))


@lru_cache(maxsize=128)
def partition_of(region: str) -> str:
    """The part of AWS that a region belongs to, as ARNs name it."""
    return next((partition for start, partition in _PARTITIONS if region.startswith(start)), "aws")


@dataclass(frozen=True, slots=True, order=True)
class FunctionKey:
    """Names one function. State is separate per account and region."""

    account: str  # 12 digits
    region: str
    name: str

    def arn(self, qualifier: str | None = None) -> str:
        """`arn:aws:lambda:REGION:ACCOUNT:function:NAME`, with `:QUALIFIER` when one is given."""
        arn = f"arn:{partition_of(self.region)}:lambda:{self.region}:{self.account}:function:{self.name}"
        return f"{arn}:{qualifier}" if qualifier else arn


@dataclass(frozen=True, slots=True, order=True)
class LayerKey:
    """Names one layer. State is separate per account and region."""

    account: str  # 12 digits
    region: str
    name: str

    def arn(self, number: int | None = None) -> str:
        """`arn:aws:lambda:REGION:ACCOUNT:layer:NAME`, with `:NUMBER` for one of its versions."""
        arn = f"arn:{partition_of(self.region)}:lambda:{self.region}:{self.account}:layer:{self.name}"
        return arn if number is None else f"{arn}:{number}"


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """One version of a layer. It never changes."""

    key: LayerKey
    number: int
    digest: str  # hexadecimal sha256 of the zip
    code_size: int  # bytes of the zip
    created: str  # "2026-11-21T05:04:33.120+0000"
    description: str = ""
    license_info: str | None = None
    runtimes: tuple[str, ...] | None = None  # None: not said
    architectures: tuple[str, ...] | None = None

    @property
    def arn(self) -> str:
        return self.key.arn(self.number)


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    log_format: str  # "Text" or "JSON"
    log_group: str
    application_log_level: str | None = None  # only with JSON
    system_log_level: str | None = None  # only with JSON


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer version as a function holds it: what it needs to go on working when the version is deleted."""

    arn: str  # of the version: "arn:aws:lambda:REGION:ACCOUNT:layer:NAME:NUMBER"
    digest: str  # hexadecimal sha256 of the zip
    code_size: int  # bytes of the zip


IMAGE_RUNTIME = "image"  # stands for the runtime of functions that are container images; no answer shows it


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """One layer of a container image."""

    content: str  # hexadecimal sha256 of the tar: the digest of the tree that it becomes
    blob: str  # hexadecimal sha256 of the tar as the registry keeps it
    size: int = 0  # bytes of that


@dataclass(frozen=True, slots=True)
class Image:
    """The container image that a function is, pinned when it was created or its code last updated."""

    uri: str  # as it was given
    digest: str  # "sha256:…" of the manifest or index that the URI meant
    resolved_uri: str  # with that digest in the place of a tag
    manifest: str  # digest of the manifest for the function's architecture
    layers: tuple[ImageLayer, ...]  # lowest first
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    directory: str
    environment: Mapping[str, str]
    overrides: Mapping[str, Any] = field(default_factory=dict)  # ImageConfig: EntryPoint, Command, WorkingDirectory
    host: str = ""  # of the registry that it comes from; "": Lambent's own
    repository: str = ""  # in that registry

    @property
    def digests(self) -> frozenset[str]:
        """Of its layers: as trees, and as the registry has them."""
        return frozenset(digest for layer in self.layers for digest in (layer.content, layer.blob))

    @property
    def arguments(self) -> tuple[str, ...]:
        """What is executed: the entry point, then the command, each the function's own where it has one."""
        return (
            *self.overrides.get("EntryPoint", self.entrypoint),
            *self.overrides.get("Command", self.command),
        )

    @property
    def working_directory(self) -> str:
        return self.overrides.get("WorkingDirectory") or self.directory


@dataclass(frozen=True, slots=True)
class SealedVariables:
    """Environment variables as records keep them, which nobody can read without the KMS key: see `secrets`."""

    key: str  # the ARN of the KMS key; "" when there are no variables
    data_key: str  # base64: KMS's ciphertext of the key that `text` is sealed with
    text: str  # base64: the variables as JSON, sealed
    format: int = 1


@dataclass(frozen=True, slots=True)
class Function:
    """One version of a function: its configuration, the identity of its code, and where it stands."""

    key: FunctionKey
    version: str  # "$LATEST" or a number as a string
    revision_id: str
    last_modified: str  # "2026-11-21T05:04:33.120+0000"
    role: str
    runtime: str
    handler: str
    code_digest: str  # hexadecimal sha256 of the zip: its key among the blobs; of an image that of its manifest
    code_size: int  # bytes of the zip; 0 for an image
    description: str = ""
    timeout: int = 3  # seconds
    memory_size: int = 128  # MiB
    ephemeral_storage: int = 512  # MiB of /tmp
    architecture: str = "x86_64"
    package_type: str = "Zip"
    environment: SealedVariables | None = None  # None: Environment was never sent
    logging: LoggingConfig = LoggingConfig("Text", "")
    tracing_mode: str = "PassThrough"
    snap_start: str = "None"  # or "PublishedVersions"
    vpc_config: Mapping[str, Any] | None = None  # SubnetIds, SecurityGroupIds, Ipv6AllowedForDualStack as given
    layers: tuple[Layer, ...] = ()  # lowest first: where two hold the same file, the later one's counts
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Members kept and answered exactly as given (DeadLetterConfig, KMSKeyArn)."""
    tags: Mapping[str, str] = field(default_factory=dict)
    state: str = "Pending"
    state_reason: str | None = None
    state_reason_code: str | None = None
    last_update_status: str | None = None  # None until first Active
    last_update_status_reason: str | None = None
    last_update_status_reason_code: str | None = None
    image: Image | None = None  # None: a zip
    source_description: str | None = None
    """Of a published version: the description that $LATEST had, which publishing may have overridden."""

    @property
    def file_systems(self) -> tuple[tuple[str, str], ...]:
        """ARNs of access points, each with the path where it is mounted."""
        configs = self.extras.get("FileSystemConfigs", ())
        return tuple((config["Arn"], config["LocalMountPath"]) for config in configs)

    @property
    def per_tenant(self) -> bool:
        """Whether each environment is for one tenant of the function only."""
        return "TenancyConfig" in self.extras

    @property
    def arn(self) -> str:
        return self.key.arn(None if self.version == LATEST else self.version)

    @property
    def digests(self) -> frozenset[str]:
        """Everything stored that the function is made of: its code and its layers, or those of its image."""
        if self.image is not None:
            return self.image.digests
        return frozenset((self.code_digest, *(layer.digest for layer in self.layers)))


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that points to a version of a function, or splits its invocations between two."""

    key: FunctionKey
    name: str
    function_version: str  # "$LATEST" or a number as a string
    revision_id: str
    description: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    """At most one other version → its share of the invocations, 0 to 1."""

    @property
    def arn(self) -> str:
        return self.key.arn(self.name)


@dataclass(frozen=True, slots=True)
class Provisioned:
    """Environments of a version or an alias that are to be kept initialised."""

    key: FunctionKey
    qualifier: str
    version: str  # that the qualifier stands for
    requested: int
    revision: str  # changes whenever there is new work to do
    last_modified: str  # "2019-12-31T20:29:00+0000"
    status: str = "IN_PROGRESS"  # or READY, FAILED
    status_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Provision:
    """The work of bringing provisioned environments up."""

    key: FunctionKey
    qualifier: str
    revision: str  # of the Provisioned that it was asked for with
