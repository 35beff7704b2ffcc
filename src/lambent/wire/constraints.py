"""Where the service checks otherwise than its model says, as its recorded answers show."""

from __future__ import annotations

from collections.abc import Iterable

from botocore.model import Shape, StructureShape

_OBJECTS = ("PutObject", "CopyObject", "CreateMultipartUpload")

# (operation, member) whose constraints the service itself checks, in other words than the generic ones.
_ELSEWHERE = {
    ("CreateFunction", "runtime"),
    ("UpdateFunctionConfiguration", "runtime"),
    ("CreateBucket", "createBucketConfiguration.locationConstraint"),
    ("CopyObject", "copySource"),
    ("CopyObject", "metadataDirective"),
    ("UploadPartCopy", "copySource"),
    *((operation, member) for operation in _OBJECTS for member in ("storageClass", "aCL")),
}

_SUPPORTED_RUNTIMES = (
    *("nodejs20.x", "python3.14", "provided.al2023", "python3.12", "python3.13", "nodejs24.x", "nodejs22.x"),
    *("java25", "python3.10", "python3.11", "java21", "ruby3.3", "ruby3.4", "ruby3.2", "python3.8", "python3.9"),
    *("java17", "nodejs16.x", "dotnet10", "dotnet8", "java11", "dotnet6", "nodejs18.x", "provided.al2", "java8.al2"),
)
# Accepted like the supported ones; they came after the refusal was recorded and are not printed.
_NEWER_RUNTIMES = frozenset(
    ("nodejs26.x", "python3.15", "java8.al2023", "java11.al2023", "java17.al2023", "ruby4.0", "custom")
)
_ALL_RUNTIMES = (
    *("ruby3.5", "ruby2.6", "dotnetcore1.0", "python3.7", "nodejs8.10", "nasa", "ruby2.7", "python2.7-greengrass"),
    *("dotnetcore2.0", "python3.8", "java21", "dotnet6", "dotnetcore2.1", "python3.9", "java11", "nodejs6.10"),
    *("provided", "dotnetcore3.1", "dotnet8", "java25", "java17", "nodejs", "nodejs4.3", "java8.al2", "go1.x"),
    *("dotnet10", "nodejs20.x", "go1.9", "byol", "nodejs10.x", "provided.al2023", "nodejs22.x", "python3.10", "java8"),
    *("nodejs12.x", "python3.11", "nodejs24.x", "nodejs8.x", "python3.12", "nodejs14.x", "nodejs8.9", "nodejs26.x"),
    *("python3.13", "python3.14", "nodejs16.x", "python3.15", "provided.al2", "nodejs4.3-edge", "nodejs18.x"),
    *("ruby3.2", "python3.4", "ruby3.3", "ruby3.4", "ruby2.5", "python3.6", "python2.7"),
)

# Enumerations as the service prints them: in its own order, with values that the model does not have.
_PRINTED = {
    "RecursiveLoop": ("Terminate", "Allow"),
    "InvokeMode": ("RESPONSE_STREAM", "BUFFERED"),
    "Runtime": _ALL_RUNTIMES,
}

# Lists of an enumeration that the service checks itself: what it prints, and what else it accepts (retired runtimes).
_LISTS = {
    ("PublishLayerVersion", "compatibleRuntimes"): (_SUPPORTED_RUNTIMES, _NEWER_RUNTIMES.union(_ALL_RUNTIMES)),
}

_LAYER_ARN = r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:"
_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

# Patterns as the service prints them, where the model writes them differently.
_PATTERNS = {
    "LayerVersionArn": _LAYER_ARN + r"[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)",
    "TaggableResource": (
        r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
        r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)"
        rf"|code-signing-config:csc-[a-z0-9]{{17}}|event-source-mapping:{_UUID}|capacity-provider:[a-zA-Z0-9-_]+)"
    ),
}

# Members in the order in which the service reports them, where that is not the model's.
_ORDERS = {
    "PublishLayerVersionRequest": (
        *("LayerName", "Description", "Content"),
        *("CompatibleRuntimes", "LicenseInfo", "CompatibleArchitectures"),
    ),
}

# Elements of lists whose refusals do not end in "Member must not be null".
_NULLABLE = frozenset(("SubnetId", "SecurityGroupId"))


# What a service calls a request that its model does not allow, where that is not ValidationException.
_CODES = {"logs": "InvalidParameterException"}


def code(service: str) -> str:
    """The error of requests to `service` that its model does not allow."""
    return _CODES.get(service, "ValidationException")


def is_checked_elsewhere(operation: str, path: str) -> bool:
    """Whether the control plane checks the member at `path` ("memorySize") itself."""
    return (operation, path) in _ELSEWHERE


def members(shape: StructureShape) -> Iterable[tuple[str, Shape]]:
    """The members of `shape` in the order in which the service reports what is wrong with them."""
    order = _ORDERS.get(shape.name)
    return shape.members.items() if order is None else [(name, shape.members[name]) for name in order]


def is_nullable(shape: Shape) -> bool:
    """Whether a refusal of a list of `shape` leaves out that its elements must not be null."""
    return shape.name in _NULLABLE


def enumeration(shape: Shape) -> tuple[str, ...]:
    """The values of an enumeration as AWS prints them."""
    return _PRINTED.get(shape.name) or tuple(shape.metadata["enum"])


def allows(shape: Shape, value: str) -> bool:
    """Whether `value` is of the enumeration, as the model or as the service has it."""
    return value in shape.metadata["enum"] or value in _PRINTED.get(shape.name, ())


def own_list(operation: str, path: str) -> tuple[tuple[str, ...], frozenset[str]] | None:
    """For a list that the service checks by an enumeration of its own: (as it is printed, what else is allowed)."""
    return _LISTS.get((operation, path))


def pattern(shape: Shape) -> str | None:
    """The pattern of `shape` as AWS prints it."""
    return _PATTERNS.get(shape.name) or shape.metadata.get("pattern")


def patterns(shape: Shape) -> tuple[str, ...]:
    """The patterns of which a value has to match one: those of the model and of the service are of different age."""
    found = (shape.metadata.get("pattern"), _PATTERNS.get(shape.name))
    return tuple(one for one in found if one is not None)
