"""What S3 stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Versioning = Literal["", "Enabled", "Suspended"]

NULL = "null"  # the version id of what was written while versions were not kept


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, without what it holds."""

    id: int  # another for each bucket that ever had the name
    name: str
    account: str
    region: str
    created: float  # seconds since the epoch
    versioning: Versioning = ""
    configurations: Mapping[str, Any] = field(default_factory=dict)
    """Its other settings by their kind ("cors"): the payload of the operation that put them there."""

    @property
    def arn(self) -> str:
        return f"arn:aws:s3:::{self.name}"


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an object's content: a file of its own."""

    number: int  # of the part; from 1
    content: str  # the file's id; "" for no bytes
    size: int
    checksum: str = ""  # of the algorithm of the upload, base64


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, or a delete marker."""

    seq: int  # grows with time; 0 until it is stored
    key: bytes  # UTF-8
    id: str  # of the version
    latest: bool
    marker: bool
    modified: float  # seconds since the epoch
    size: int = 0
    etag: str = ""  # without its quotes
    content: str = ""  # the file of an object that was not uploaded in parts; "" for no bytes
    parts: int = 0  # how many segments it has; 0 when it was not uploaded in parts
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What was said of it when it was put: headers by their names in the model, `Metadata`, `Checksums`."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.key.decode()


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload under way."""

    id: str
    bucket: int
    key: bytes
    initiated: float
    attributes: Mapping[str, Any]
    tags: Mapping[str, str]
    account: str  # of who began it


@dataclass(frozen=True, slots=True)
class Part:
    """An uploaded part."""

    number: int
    content: str
    size: int
    etag: str  # hexadecimal MD5
    modified: float
    checksums: Mapping[str, str]  # by their algorithm


@dataclass(frozen=True, slots=True)
class Received:
    """Content that is on the disk, and what was computed while it came."""

    content: str
    size: int
    md5: bytes
    checksums: Mapping[str, str] = field(default_factory=dict)  # base64, by their algorithm


Segments = Sequence[Segment]
