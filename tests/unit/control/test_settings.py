"""What CreateFunction refuses and how it says so; what updates change and what they leave."""

from __future__ import annotations

import os
from typing import Any

import orjson
import pytest

from lambent.control import code, runtimes
from lambent.wire.errors import AwsError

from .lab import ROLE, Lab, error_of, make_zip

_ROLE_PATTERN = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
_NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
_LARGE = {"LARGE": "x" * 5000}


def one(value: object, path: str, constraint: str) -> str:
    return f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"


def environment(variables: dict[str, str]) -> dict[str, Any]:
    return {"Environment": {"Variables": variables}}


BAD = {
    "memory of 64 MB": (
        {"MemorySize": 64},
        "ValidationException",
        one(64, "memorySize", "Member must have value greater than or equal to 128"),
    ),
    "memory of 20,000 MB": (
        {"MemorySize": 20000},
        "ValidationException",
        one(20000, "memorySize", "Member must have value less than or equal to 10240"),
    ),
    "timeout of 901 seconds": (
        {"Timeout": 901},
        "ValidationException",
        one(901, "timeout", "Member must have value less than or equal to 900"),
    ),
    "a runtime that never was": (
        {"Runtime": "cobol85"},
        "InvalidParameterValueException",
        "Value cobol85 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set:"
        f" [{', '.join(runtimes._PRINTED)}] or be a valid ARN",
    ),
    "a runtime that is no more": (
        {"Runtime": "python3.7"},
        "InvalidParameterValueException",
        "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. We"
        " recommend you use a supported runtime while creating or updating functions.",
    ),
    "a name with a space": (
        {"FunctionName": "no spaces"},
        "ValidationException",
        one("no spaces", "functionName", f"Member must satisfy regular expression pattern: {_NAME_PATTERN}"),
    ),
    "no handler": (
        {"Handler": None},
        "InvalidParameterValueException",
        "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
    ),
    "a role that is none": (
        {"Role": "admin"},
        "ValidationException",
        one("admin", "role", f"Member must satisfy regular expression pattern: {_ROLE_PATTERN}"),
    ),
    "not a zip": (
        {"Code": {"ZipFile": b"print('hello')"}},
        "InvalidParameterValueException",
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    ),
    "an empty zip": (
        {"Code": {"ZipFile": b"PK\x05\x06" + bytes(18)}},
        "InvalidParameterValueException",
        "Uploaded file must be a non-empty zip",
    ),
    "reserved environment variables": (
        environment({"AWS_REGION": "x", "MINE": "y", "LAMBDA_TASK_ROOT": "z"}),
        "InvalidParameterValueException",
        "Lambda was unable to configure your environment variables because the environment variables you have provided"
        " contains reserved keys that are currently not supported for modification."
        " Reserved keys used in this request: AWS_REGION, LAMBDA_TASK_ROOT",
    ),
    "5 KB of environment": (
        environment(_LARGE),
        "InvalidParameterValueException",
        "Lambda was unable to configure your environment variables because the environment variables you have provided"
        f" exceeded the 4KB limit. String measured: {orjson.dumps(_LARGE).decode()}",
    ),
    "an architecture that is none": (
        {"Architectures": ["mips"]},
        "ValidationException",
        one(
            "[mips]",
            "architectures",
            "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64],"
            " Member must not be null]",
        ),
    ),
    "ephemeral storage of 20,000 MB": (
        {"EphemeralStorage": {"Size": 20000}},
        "ValidationException",
        one(20000, "ephemeralStorage.size", "Member must have value less than or equal to 10240"),
    ),
    "ephemeral storage of 100 MB": (
        {"EphemeralStorage": {"Size": 100}},
        "ValidationException",
        one(100, "ephemeralStorage.size", "Member must have value greater than or equal to 512"),
    ),
}


def creation(**settings: Any) -> dict[str, Any]:
    defaults = {
        "FunctionName": "f",
        "Runtime": "python3.12",
        "Role": ROLE,
        "Handler": "handler.handler",
        "Code": {"ZipFile": make_zip()},
    }
    return {name: value for name, value in (defaults | settings).items() if value is not None}


async def refused(lab: Lab, operation: str, **members: Any) -> AwsError:
    with pytest.raises(AwsError) as caught:
        await lab.call(operation, **members)
    return caught.value


@pytest.mark.parametrize("case", BAD)
async def test_bad_input_is_refused_and_leaves_nothing(lab, case):
    settings, expected, message = BAD[case]
    error = await refused(lab, "CreateFunction", **creation(**settings))
    assert (error.code, error.message) == (expected, message)
    assert error_of(error)["HTTPStatusCode"] == 400
    assert error.fields == ({} if expected == "ValidationException" else {"Type": "User"})
    await lab.orphans.stop()
    assert (await lab.call("ListFunctions"))["Functions"] == []
    assert os.listdir(lab.root / "blobs") == []
    assert os.listdir(lab.root / "trees") == [".boot"]


async def test_a_name_that_is_taken_is_refused(lab):
    await lab.create("f")
    error = await refused(lab, "CreateFunction", **creation(Code={"ZipFile": make_zip("other")}))
    assert (error.code, error.message) == ("ResourceConflictException", "Function already exist: f")
    assert error_of(error)["HTTPStatusCode"] == 409


async def test_a_name_of_65_characters_is_refused_and_one_of_64_is_not(lab):
    error = await refused(lab, "CreateFunction", **creation(FunctionName="a" * 65))
    assert error.code == "InvalidParameterValueException"
    assert error.message == one("a" * 65, "functionName", "Member must have length less than or equal to 64")
    await lab.call("CreateFunction", **creation(FunctionName="a" * 64))


async def test_several_limits_are_told_together(lab):
    error = await refused(lab, "CreateFunction", **creation(MemorySize=10241, Timeout=901))
    assert error.message == (
        "2 validation errors detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value"
        " less than or equal to 900; Value '10241' at 'memorySize' failed to satisfy constraint: Member must have"
        " value less than or equal to 10240"
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"MemorySize": 128},
        {"MemorySize": 10240, "Timeout": 900, "EphemeralStorage": {"Size": 10240}},
        {"Timeout": 1, "EphemeralStorage": {"Size": 512}},
        {"Description": "d" * 256},
        {"Publish": False, "Layers": [], "FileSystemConfigs": [], "ImageConfig": {}, "CodeSigningConfigArn": ""},
    ],
)
async def test_what_is_just_allowed(lab, settings):
    members = creation(**settings)
    if settings.get("CodeSigningConfigArn") == "":
        del members["CodeSigningConfigArn"]
    created = await lab.call("CreateFunction", **members)
    for name in ("MemorySize", "Timeout", "EphemeralStorage", "Description"):
        if name in settings:
            assert created[name] == settings[name]


# Environment variables


@pytest.mark.parametrize("names", [("LARGE_VAR",), ("SMALL_VAR", "LARGE_VAR")])
async def test_the_environment_may_measure_4096_bytes_of_compact_json(lab, names):
    """Recorded 2025-11-25: 4096 is accepted, 4097 refused, with the text measured in the message."""
    variables = dict.fromkeys(names, "ok")
    room = 4096 - len(orjson.dumps(variables))
    fits = {**variables, "LARGE_VAR": "ok" + "x" * room}
    created = await lab.create("f", **environment(fits))
    assert created["Environment"] == {"Variables": fits}
    error = await refused(
        lab,
        "CreateFunction",
        **creation(FunctionName="g", **environment({**fits, "LARGE_VAR": "ok" + "x" * (room + 1)})),
    )
    assert error.message is not None
    assert len(error.message.partition("String measured: ")[2]) == 4097


async def test_the_environment_is_measured_in_bytes(lab):
    error = await refused(lab, "CreateFunction", **creation(**environment({"WIDE": "\u00e9" * 2100})))
    assert "exceeded the 4KB limit" in str(error.message)


async def test_the_environment_stays_until_it_is_replaced(lab):
    created = await lab.create("f", **environment({"AA": "1", "BB": "2"}))
    assert created["Environment"] == {"Variables": {"AA": "1", "BB": "2"}}
    await lab.ready("f")
    for given, shown in (
        ({"Description": "d"}, {"AA": "1", "BB": "2"}),
        (environment({"CC": "3"}), {"CC": "3"}),
        (environment({}), {}),
        ({"Environment": {}}, {}),
    ):
        updated = await lab.call("UpdateFunctionConfiguration", FunctionName="f", **given)
        assert updated["Environment"] == {"Variables": shown}
        await lab.ready("f")


async def test_without_an_environment_none_is_shown(lab):
    assert "Environment" not in await lab.create("f")


# Logging


async def test_levels_need_json(lab):
    message = (
        'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the'
        ' LogFormat to "JSON" and try again.'
    )
    for given in ({"ApplicationLogLevel": "INFO"}, {"LogFormat": "Text", "SystemLogLevel": "WARN"}):
        error = await refused(lab, "CreateFunction", **creation(LoggingConfig=given))
        assert (error.code, error.message) == ("InvalidParameterValueException", message)
    await lab.create("f")
    await lab.ready("f")
    update = {"FunctionName": "f", "LoggingConfig": {"SystemLogLevel": "WARN"}}
    assert (await refused(lab, "UpdateFunctionConfiguration", **update)).message == message
    assert (await lab.call("GetFunctionConfiguration", FunctionName="f"))["LastUpdateStatus"] == "Successful"


async def test_levels_go_when_json_goes_and_stay_when_it_stays(lab):
    await lab.create("f", LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "TRACE", "SystemLogLevel": "WARN"})
    await lab.ready("f")
    for given, shown in (
        ({"LogGroup": "g"}, {"LogFormat": "JSON", "ApplicationLogLevel": "TRACE", "SystemLogLevel": "WARN"}),
        (
            {"ApplicationLogLevel": "FATAL"},
            {"LogFormat": "JSON", "ApplicationLogLevel": "FATAL", "SystemLogLevel": "WARN"},
        ),
        ({"LogFormat": "Text"}, {"LogFormat": "Text"}),
        ({"LogFormat": "JSON"}, {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}),
    ):
        updated = await lab.call("UpdateFunctionConfiguration", FunctionName="f", LoggingConfig=given)
        assert updated["LoggingConfig"] == {**shown, "LogGroup": "g"}
        await lab.ready("f")


# Members that are kept as they are


async def test_dead_letter_queue_and_key_are_kept_until_emptied(lab):
    queue, key = "arn:aws:sqs:us-east-1:111111111111:q", await lab.kms_key()
    created = await lab.create("f", DeadLetterConfig={"TargetArn": queue}, KMSKeyArn=key)
    assert created["DeadLetterConfig"] == {"TargetArn": queue}
    assert created["KMSKeyArn"] == key
    await lab.ready("f")
    updated = await lab.call("UpdateFunctionConfiguration", FunctionName="f", KMSKeyArn="")
    assert "KMSKeyArn" not in updated
    assert updated["DeadLetterConfig"] == {"TargetArn": queue}
    await lab.ready("f")
    emptied = {"FunctionName": "f", "DeadLetterConfig": {"TargetArn": ""}}
    assert "DeadLetterConfig" not in await lab.call("UpdateFunctionConfiguration", **emptied)


async def test_everything_can_be_updated(lab):
    await lab.create("f")
    await lab.ready("f")
    given = {
        "Role": f"{ROLE}-2",
        "Handler": "other.main",
        "Description": "new",
        "Timeout": 77,
        "MemorySize": 777,
        "Runtime": "python3.13",
        "EphemeralStorage": {"Size": 1000},
        "TracingConfig": {"Mode": "Active"},
    }
    updated = await lab.call("UpdateFunctionConfiguration", FunctionName="f", **given)
    assert {name: updated[name] for name in given} == given


# Layers, and what is not built


async def test_layers_are_refused_in_the_words_of_aws(lab):
    layer = "arn:aws:lambda:us-east-1:111111111111:layer:tools"
    for arns, message in (
        ([f"{layer}:1"], f"Layer version {layer}:1 does not exist."),
        (["arn:aws:lambda:::awslayer:Tools"], "Layer version arn:aws:lambda:::awslayer:Tools does not exist."),
        ([f"{layer}{n}:1" for n in range(6)], "Cannot reference more than 5 layers."),
        (
            [f"{layer}:1".replace("us-east-1", "eu-west-1")],
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
        ),
    ):
        error = await refused(lab, "CreateFunction", **creation(Layers=arns))
        assert (error.code, error.message) == ("InvalidParameterValueException", message)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"PublishTo": "LATEST_PUBLISHED"}, "PublishTo"),
        ({"DurableConfig": {"ExecutionTimeout": 10}}, "DurableConfig"),
        ({"Runtime": "custom"}, "Runtime=custom"),
        ({"Code": {"S3Bucket": "bucket", "S3Key": "key", "S3ObjectStorageMode": "REFERENCE"}}, "REFERENCE"),
        ({"Code": {"ZipFile": b"x", "SourceKMSKeyArn": "arn:aws:kms:us-east-1:1:key/1"}}, "SourceKMSKeyArn"),
    ],
)
async def test_what_is_not_built_is_named_and_nothing_is_pretended(lab, settings, named):
    error = await refused(lab, "CreateFunction", **creation(**settings))
    assert error.status == 501
    assert named in str(error.message)
    assert (await lab.call("ListFunctions"))["Functions"] == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ImageConfig": {"Command": ["x"]}}, "ImageConfig"),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:s3:::bucket"}}, "arn:aws:s3:::bucket"),
    ],
)
async def test_what_a_function_with_a_zip_cannot_have(lab, settings, named):
    error = await refused(lab, "CreateFunction", **creation(**settings))
    assert error.code == "InvalidParameterValueException"
    assert named in str(error.message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "Please provide a source for function code."),
        (
            {"ZipFile": make_zip(), "S3Bucket": "bucket", "S3Key": "key"},
            "Please do not provide other FunctionCode parameters when providing a ZipFile.",
        ),
        ({"ImageUri": "r/i:t"}, "Please don't provide ImageUri when creating a function with packageType Zip."),
        ({"ZipFile": b""}, "Uploaded file must be a non-empty zip"),
    ],
)
async def test_code_comes_from_one_source(lab, source, message):
    error = await refused(lab, "CreateFunction", **creation(Code=source))
    assert (error.code, error.message) == ("InvalidParameterValueException", message)


async def test_a_zip_must_be_smaller_than_50_mb(lab, monkeypatch):
    monkeypatch.setattr(code, "ZIPPED", 100)
    error = await refused(lab, "CreateFunction", **creation(Code={"ZipFile": bytes(100)}))
    assert (error.code, error.status) == ("RequestEntityTooLargeException", 413)
    assert error.message == "Zipped size must be smaller than 100 bytes"
    assert error.fields == {}


def test_the_limits_are_those_of_aws():
    assert (code.ZIPPED, code.UNZIPPED) == (52428800, 262144000)


async def test_tags_at_creation_are_limited(lab):
    tags = {f"k{n}": "v" for n in range(51)}
    error = await refused(lab, "CreateFunction", **creation(Tags=tags))
    assert error.message == "Number of tags exceeds resource tag limit."
