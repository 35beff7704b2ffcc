"""Refusals of parameters, word for word as AWS gives them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.wire import models, parser, router, validator
from lambent.wire.errors import AwsError

from .oracle import plain_request

REGION = r"(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}"
NAME = (
    rf"(arn:(aws[a-zA-Z-]*)?:lambda:)?({REGION}:)?(\d{{12}}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
DOTTED_NAME = (
    rf"(arn:(aws[a-zA-Z-]*)?:lambda:)?({REGION}:)?(\d{{12}}:)?(function:)?([a-zA-Z0-9-_\.]+)"
    r"(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
LAYER = (
    rf"(arn:(aws[a-zA-Z-]*)?:lambda:{REGION}:\d{{12}}:layer:[a-zA-Z0-9-_]+:[0-9]+)"
    r"|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
TAGGABLE = (
    rf"arn:(aws[a-zA-Z-]*):lambda:{REGION}:\d{{12}}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?"
    rf"|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{{17}}|event-source-mapping:{UUID}"
    "|capacity-provider:[a-zA-Z0-9-_]+)"
)
DESTINATION = (
    r"$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:"
    rf"({REGION})?:(\d{{12}})?:(.*)"
)
SUPPORTED = (
    "nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, "
    "python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, "
    "java11, dotnet6, nodejs18.x, provided.al2, java8.al2"
)
EVERY_RUNTIME = (
    "ruby3.5, ruby2.6, dotnetcore1.0, python3.7, nodejs8.10, nasa, ruby2.7, python2.7-greengrass, dotnetcore2.0, "
    "python3.8, java21, dotnet6, dotnetcore2.1, python3.9, java11, nodejs6.10, provided, dotnetcore3.1, dotnet8, "
    "java25, java17, nodejs, nodejs4.3, java8.al2, go1.x, dotnet10, nodejs20.x, go1.9, byol, nodejs10.x, "
    "provided.al2023, nodejs22.x, python3.10, java8, nodejs12.x, python3.11, nodejs24.x, nodejs8.x, python3.12, "
    "nodejs14.x, nodejs8.9, nodejs26.x, python3.13, python3.14, nodejs16.x, python3.15, provided.al2, "
    "nodejs4.3-edge, nodejs18.x, ruby3.2, python3.4, ruby3.3, ruby3.4, ruby2.5, python3.6, python2.7"
)
PREFIX = "arn:aws:lambda:us-east-1:111111111111"
CREATE = {"FunctionName": "f", "Role": "arn:aws:iam::111111111111:role/r", "Code": {}}


def _message(operation: str, parameters: dict[str, Any], service: str = "lambda") -> str | None:
    try:
        validator.validate(models.service(service).operation(operation), parameters)
    except AwsError as error:
        assert (error.code, error.status, error.fields) == ("ValidationException", 400, {})
        return error.message
    return None


def _one(value: str, path: str, constraint: str) -> str:
    return f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"


def _pattern(expression: str) -> str:
    return f"Member must satisfy regular expression pattern: {expression}"


ROUTING = "routingConfig.additionalVersionWeights"
WEIGHTS = (
    "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
    "Member must have value greater than or equal to 0.0, Member must not be null]"
)
ALIAS = {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"}

RECORDED: list[tuple[str, dict[str, Any], str]] = [
    ("CreateAlias", {**ALIAS, "RoutingConfig": {"AdditionalVersionWeights": {"2": -1.0}}}, _one("{2=-1.0}", ROUTING, WEIGHTS)),
    ("CreateAlias", {**ALIAS, "RoutingConfig": {"AdditionalVersionWeights": {"2": 2.0}}}, _one("{2=2.0}", ROUTING, WEIGHTS)),
    (
        "CreateAlias",
        {**ALIAS, "RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.5}}},
        _one(
            "{$LATEST=0.5}",
            ROUTING,
            "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, "
            f"Member must have length greater than or equal to 1, {_pattern('[0-9]+')}]",
        ),
    ),
    (
        "PutFunctionEventInvokeConfig",
        {"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:_-/!lambda:us-east-1:x"}}},
        _one("arn:aws:_-/!lambda:us-east-1:x", "destinationConfig.onFailure.destination", _pattern(DESTINATION)),
    ),
    (
        "CreateFunction",
        {**CREATE, "FunctionName": "invalid:function:name"},
        _one("invalid:function:name", "functionName", _pattern(NAME)),
    ),
    ("GetFunction", {"FunctionName": "*"}, _one("*", "functionName", _pattern(DOTTED_NAME))),
    (
        "GetFunction",
        {"FunctionName": f"arn:aws:lambda:invalid-region:111111111111:function:my-function{'a' * 170}"},
        _one(
            f"arn:aws:lambda:invalid-region:111111111111:function:my-function{'a' * 170}",
            "functionName",
            _pattern(DOTTED_NAME),
        ),
    ),
    (
        "DeleteFunction",
        {"FunctionName": f"{PREFIX}:function:f:1:2"},
        _one(f"{PREFIX}:function:f:1:2", "functionName", _pattern(DOTTED_NAME)),
    ),
    (
        "CreateFunction",
        {**CREATE, "FunctionName": f"my-function:{'a' * 129}"},
        _one(f"my-function:{'a' * 129}", "functionName", "Member must have length less than or equal to 140"),
    ),
    (
        "DeleteFunction",
        {"FunctionName": "f", "Qualifier": "a" * 129},
        _one("a" * 129, "qualifier", "Member must have length less than or equal to 128"),
    ),
    (
        "DeleteFunction",
        {"FunctionName": "f", "Qualifier": "invalid!"},
        _one("invalid!", "qualifier", _pattern(r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+")),
    ),
    (
        "CreateFunction",
        {**CREATE, "VpcConfig": {"SubnetIds": ["bad"]}},
        _one(
            "[bad]",
            "vpcConfig.subnetIds",
            "Member must satisfy constraint: [Member must have length less than or equal to 1024, "
            f"Member must have length greater than or equal to 0, {_pattern('subnet-[0-9a-z]*')}]",
        ),
    ),
    (
        "CreateFunction",
        {**CREATE, "VpcConfig": {"SecurityGroupIds": ["bad"]}},
        _one(
            "[bad]",
            "vpcConfig.securityGroupIds",
            "Member must satisfy constraint: [Member must have length less than or equal to 1024, "
            f"Member must have length greater than or equal to 0, {_pattern('sg-[0-9a-zA-Z]*')}]",
        ),
    ),
    ("ListFunctions", {"FunctionVersion": "invalid"}, _one("invalid", "functionVersion", "Member must satisfy enum value set: [ALL]")),
    (
        "UpdateFunctionConfiguration",
        {"FunctionName": "f", "Role": "r1"},
        _one("r1", "role", _pattern(r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")),
    ),
    ("GetLayerVersionByArn", {"Arn": f"{PREFIX}:layer:l"}, _one(f"{PREFIX}:layer:l", "arn", _pattern(LAYER))),
    (
        "ListLayers",
        {"CompatibleArchitecture": "archdoesnotexist"},
        _one("archdoesnotexist", "compatibleArchitecture", "Member must satisfy enum value set: [x86_64, arm64]"),
    ),
    (
        "ListLayers",
        {"CompatibleRuntime": "runtimedoesnotexist"},
        _one("runtimedoesnotexist", "compatibleRuntime", f"Member must satisfy enum value set: [{EVERY_RUNTIME}]"),
    ),
    (
        "PublishLayerVersion",
        {
            "LayerName": "l",
            "Content": {},
            "CompatibleRuntimes": ["invalidruntime", "invalidruntime2", "nodejs20.x"],
            "CompatibleArchitectures": ["invalidarch", "x86_64"],
        },
        "2 validation errors detected: Value '[invalidruntime, invalidruntime2, nodejs20.x]' at 'compatibleRuntimes' "
        f"failed to satisfy constraint: Member must satisfy enum value set: [{SUPPORTED}]; "
        "Value '[invalidarch, x86_64]' at 'compatibleArchitectures' failed to satisfy constraint: Member must satisfy "
        "constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    ),
    (
        "CreateFunction",
        {**CREATE, "Layers": [f"{PREFIX}:layer:l"]},
        _one(
            f"[{PREFIX}:layer:l]",
            "layers",
            "Member must satisfy constraint: [Member must have length less than or equal to 2048, "
            f"Member must have length greater than or equal to 1, {_pattern(LAYER)}, Member must not be null]",
        ),
    ),
    (
        "AddLayerVersionPermission",
        {"LayerName": "l", "VersionNumber": 1, "StatementId": "s", "Action": "*", "Principal": "*"},
        _one("*", "action", _pattern("lambda:GetLayerVersion")),
    ),
    (
        "PutFunctionRecursionConfig",
        {"FunctionName": "f", "RecursiveLoop": "InvalidValue"},
        _one("InvalidValue", "recursiveLoop", "Member must satisfy enum value set: [Terminate, Allow]"),
    ),
    (
        "CreateFunctionUrlConfig",
        {"FunctionName": "f", "AuthType": "NONE", "InvokeMode": "UNKNOWN"},
        _one("UNKNOWN", "invokeMode", "Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]"),
    ),
    *[
        ("ListTags", {"Resource": resource}, _one(resource, "resource", _pattern(TAGGABLE)))
        for resource in ("arn:aws:something", f"{PREFIX}:foobar:x", f"{PREFIX}:capacity-provider:x:alias")
    ],
    (
        "UntagResource",
        {"Resource": f"{PREFIX}:function:f"},
        "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
    ),
    *[
        (
            "CreateFunctionUrlConfig",
            {"FunctionName": "f", "AuthType": "NONE", "Qualifier": qualifier},
            _one(qualifier, "qualifier", _pattern(r"((?!^\d+$)^[0-9a-zA-Z-_]+$)")),
        )
        for qualifier in ("1", "$LATEST")
    ],
]  # fmt: skip


@pytest.mark.parametrize(("operation", "parameters", "message"), RECORDED)
def test_refusals_are_worded_as_aws_words_them(operation: str, parameters: dict[str, Any], message: str) -> None:
    assert _message(operation, parameters) == message


def test_length_comes_before_pattern() -> None:
    name = f"arn:aws:lambda:invalid-region:111111111111:function:my-function{'a' * 140}"
    assert _message("CreateFunction", {**CREATE, "FunctionName": name}) == (
        f"2 validation errors detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must have "
        f"length less than or equal to 140; Value '{name}' at 'functionName' failed to satisfy constraint: {_pattern(NAME)}"
    )


@pytest.mark.parametrize(
    "name",
    ["invalid-account:function:f", "f!", f"{PREFIX}:function:f:$LATEST:1", f"{PREFIX}:function:f:$latest", "",
     "arn:aws:lambda:us-east-1::function:f", "arn:aws:lambda::111111111111:function:f", "f.dotted", "f\n",
     "arn:aws:ec2:us-east-1:111111111111:instance:i-1", f"{PREFIX}:function:f:$LATES", "ƒ", "f²", "٣:x"],
)  # fmt: skip
def test_names_that_match_no_form(name: str) -> None:
    message = _message("CreateFunction", {**CREATE, "FunctionName": name})
    assert message is not None
    assert message.endswith(_pattern(NAME))


@pytest.mark.parametrize(
    "name",
    ["f", "a" * 65, f"{PREFIX}:function:f", f"{PREFIX}:function:f:1", "111111111111:function:f", "function:f", "f:live",
     "111111111111:f", "us-east-1:111111111111:f", "arn:aws-us-gov:lambda:us-gov-west-1:111111111111:function:f:$LATEST"],
)  # fmt: skip
def test_names_of_every_form(name: str) -> None:
    assert _message("CreateFunction", {**CREATE, "FunctionName": name}) is None
    assert _message("GetFunction", {"FunctionName": name}) is None


def test_what_is_required_is_missed_in_the_order_of_the_model() -> None:
    assert _message("CreateFunction", {"MemorySize": 1}) == (
        "4 validation errors detected: "
        "Value null at 'functionName' failed to satisfy constraint: Member must not be null; "
        "Value null at 'role' failed to satisfy constraint: Member must not be null; "
        "Value null at 'code' failed to satisfy constraint: Member must not be null; "
        "Value '1' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"
    )


def test_members_of_structures_in_lists_are_counted_from_one() -> None:
    systems = [{"Arn": "", "LocalMountPath": "/mnt/a"}, {"LocalMountPath": "/x"}]
    message = _message("CreateFunction", {**CREATE, "FileSystemConfigs": systems})
    assert message is not None
    assert "at 'fileSystemConfigs.1.member.arn'" in message
    assert "Value null at 'fileSystemConfigs.2.member.arn'" in message
    assert "Value '/x' at 'fileSystemConfigs.2.member.localMountPath'" in message


@pytest.mark.parametrize(
    ("value", "limit"), [(0, "greater than or equal to 1"), (10_000, "less than or equal to 5400")]
)
def test_numbers(value: int, limit: str) -> None:
    expected = _one(str(value), "timeout", f"Member must have value {limit}")
    assert _message("CreateFunction", {**CREATE, "Timeout": value}) == expected


def test_what_is_sensitive_is_never_shown() -> None:
    message = _message("CreateFunction", {**CREATE, "Environment": {"Variables": {"1BAD": "hunter2"}}})
    assert message == _one(
        "***",
        "environment.variables",
        f"Map keys must satisfy constraint: [{_pattern('[a-zA-Z]([a-zA-Z0-9_])+')}]",
    )
    message = _message("SendMessageBatch", {"QueueUrl": "u"}, "sqs")
    assert message is not None
    key = {"KeyId": "k", "Plaintext": b"hunter2" * 1000}
    message = _message("Encrypt", key, "kms")
    assert message is not None
    assert "hunter2" not in message
    assert "Value '***' at 'plaintext'" in message


def test_runtimes_of_functions_are_left_to_the_service() -> None:
    assert _message("CreateFunction", {**CREATE, "Runtime": "nonsense"}) is None
    assert _message("UpdateFunctionConfiguration", {"FunctionName": "f", "Runtime": "nonsense"}) is None


@pytest.mark.parametrize("runtime", ["python3.12", "nodejs26.x", "ruby4.0", "python3.7", "provided"])
def test_runtimes_that_a_layer_can_name(runtime: str) -> None:
    assert _message("PublishLayerVersion", {"LayerName": "l", "Content": {}, "CompatibleRuntimes": [runtime]}) is None


def test_layers_are_listed_by_retired_runtimes_too() -> None:
    assert _message("ListLayers", {"CompatibleRuntime": "python3.7"}) is None


@pytest.mark.parametrize("resource", ["function:f", "layer:l", "network-connector:n", "capacity-provider:c"])
def test_resources_of_the_model_and_of_the_service_can_be_tagged(resource: str) -> None:
    assert _message("ListTags", {"Resource": f"{PREFIX}:{resource}"}) is None


@pytest.mark.parametrize(
    ("key", "valid"), [("größe 1", True), ("a:/=+-@_.", True), ("a\u00a0b", True), ("a\tb", False), ("a*", False)]
)
def test_tag_keys_are_letters_of_any_script(key: str, valid: bool) -> None:
    message = _message("TagResource", {"Resource": f"{PREFIX}:function:f", "Tags": {key: "v"}})
    assert (message is None) is valid


def test_operations_without_input_and_without_errors() -> None:
    assert _message("GetAccountSettings", {}) is None
    assert _message("GetCallerIdentity", {}, "sts") is None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(models.service("lambda").operation("CreateFunction").input_shape.members)), _VALUES, max_size=6
    ),
)  # fmt: skip
def test_any_document_is_validated_or_refused(document: dict[str, Any]) -> None:
    try:
        body = orjson.dumps(document)
    except orjson.JSONEncodeError:  # integers that JSON does not carry
        body = repr(document).encode("utf-8", "replace")
    request = plain_request("POST", "/2015-03-31/functions", {}, body)
    route = router.route(request, "lambda")
    try:
        validator.validate(route.operation, parser.parse(route, request, body))
    except AwsError as error:
        assert error.status == 400


def test_a_value_far_too_long_is_not_run_through_its_pattern() -> None:
    message = _message("GetFunction", {"FunctionName": "a" * 1_000_000})
    assert message is not None
    assert message.startswith("2 validation errors detected: ")


def test_times_and_blobs_have_no_constraints_here() -> None:
    mapping = {"FunctionName": "f", "StartingPositionTimestamp": datetime(2024, 1, 1, tzinfo=UTC)}
    assert _message("CreateEventSourceMapping", mapping) is None
