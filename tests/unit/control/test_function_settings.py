"""What belongs to a function besides its configuration: URLs, event invoke configs, recursion, runtime management."""

from __future__ import annotations

import pytest

from lambent.control import runtimes

from .lab import ACCESS_POINT, REGION

BELONGINGS = {
    "url": ("CreateFunctionUrlConfig", {"AuthType": "NONE"}, "GetFunctionUrlConfig"),
    "event invoke": (
        "PutFunctionEventInvokeConfig",
        {"MaximumRetryAttempts": 1},
        "GetFunctionEventInvokeConfig",
    ),
    "recursion": ("PutFunctionRecursionConfig", {"RecursiveLoop": "Allow"}, "GetFunctionRecursionConfig"),
    "runtime": ("PutRuntimeManagementConfig", {"UpdateRuntimeOn": "FunctionUpdate"}, "GetRuntimeManagementConfig"),
}


@pytest.mark.parametrize(("put", "members", "get"), BELONGINGS.values(), ids=BELONGINGS)
async def test_a_new_function_of_the_same_name_inherits_nothing(lab, put, members, get):
    await lab.create("f")
    await lab.create("f2")
    for name in ("f", "f2"):
        await lab.call(put, FunctionName=name, **members)
    kept = await lab.call(get, FunctionName="f2")
    assert members.items() <= kept.items()
    await lab.call("DeleteFunction", FunctionName="f")
    await lab.create("f")
    try:
        found = await lab.call(get, FunctionName="f")
    except Exception as error:
        found = vars(error)
    assert not members.items() <= found.items()
    assert await lab.call(get, FunctionName="f2") == kept


@pytest.mark.parametrize("put", ["PutFunctionRecursionConfig", "PutRuntimeManagementConfig"])
async def test_nothing_belongs_to_a_function_that_is_not_there(lab, put):
    members = next(members for name, members, _ in BELONGINGS.values() if name == put)
    error = await lab.refusal(put, FunctionName="missing", **members)
    assert error.message == "Function not found: arn:aws:lambda:us-east-1:111111111111:function:missing"


async def test_recursion_ends_loops_unless_told_otherwise(lab):
    await lab.create("f")
    assert await lab.call("GetFunctionRecursionConfig", FunctionName="f") == {"RecursiveLoop": "Terminate"}


async def test_a_function_can_be_pinned_to_the_build_that_there_is(lab):
    arn = (await lab.create("f"))["FunctionArn"]
    assert await lab.call("GetRuntimeManagementConfig", FunctionName="f") == {
        "FunctionArn": arn,
        "UpdateRuntimeOn": "Auto",
    }
    build = runtimes.version_arn(REGION, "python3.12")
    pinned = {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": build}
    assert await lab.call("PutRuntimeManagementConfig", FunctionName="f", **pinned) == {"FunctionArn": arn, **pinned}
    wrong = (
        {"UpdateRuntimeOn": "Manual"},
        {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": runtimes.version_arn(REGION, "python3.11")},
        {"UpdateRuntimeOn": "Auto", "RuntimeVersionArn": build},
    )
    for members in wrong:
        error = await lab.refusal("PutRuntimeManagementConfig", FunctionName="f", **members)
        assert error.code == "InvalidParameterValueException"
    assert (await lab.call("GetRuntimeManagementConfig", FunctionName="f"))["RuntimeVersionArn"] == build


async def test_a_file_system_is_one_that_is_configured(lab):
    mounted = {"Arn": ACCESS_POINT, "LocalMountPath": "/mnt/f"}
    assert (await lab.create("f", FileSystemConfigs=[mounted]))["FileSystemConfigs"] == [mounted]
    for wrong in ({"Arn": f"{ACCESS_POINT[:-1]}1"}, {"LocalMountPath": "/mnt/.."}, {"LocalMountPath": "/mnt/."}):
        error = await lab.refusal("create", name="g", FileSystemConfigs=[{**mounted, **wrong}])
        assert error.code == "InvalidParameterValueException"
    await lab.ready("f")
    updated = await lab.call("UpdateFunctionConfiguration", FunctionName="f", FileSystemConfigs=[])
    assert "FileSystemConfigs" not in updated


async def test_a_url_has_the_form_of_aws_at_this_server(lab):
    await lab.create("f")
    cors = {"AllowOrigins": ["*"], "MaxAge": 10}
    created = await lab.call(
        "CreateFunctionUrlConfig", FunctionName="f", AuthType="NONE", Cors=cors, InvokeMode="RESPONSE_STREAM"
    )
    scheme, _, host, path = created["FunctionUrl"].split("/")
    assert (scheme, path) == ("http:", "")
    identifier, _, rest = host.partition(".")
    assert len(identifier) == 32
    assert rest == "lambda-url.us-east-1.localhost:4566"
    assert (created["InvokeMode"], created["Cors"]) == ("RESPONSE_STREAM", cors)
    updated = await lab.call("UpdateFunctionUrlConfig", FunctionName="f", AuthType="AWS_IAM")
    assert updated["FunctionUrl"] == created["FunctionUrl"]
    found = await lab.call("GetFunctionUrlConfig", FunctionName="f")
    assert (found["AuthType"], found["InvokeMode"], found["Cors"]) == ("AWS_IAM", "RESPONSE_STREAM", cors)
    assert found["LastModifiedTime"] >= found["CreationTime"]


@pytest.mark.parametrize(
    ("side", "destination", "accepted"),
    [
        ("OnSuccess", "arn:aws:sqs:us-east-1:111111111111:q", True),
        ("OnFailure", "arn:aws:s3:::bucket", True),
        ("OnSuccess", "arn:aws:s3:::bucket", False),
        ("OnFailure", "kafka://topic", False),
        ("OnSuccess", "arn:aws:lambda:eu-west-1:111111111111:function:g", False),
        ("OnSuccess", "arn:aws:lambda:us-east-1:111111111111:function:f:1", False),
    ],
)
async def test_destinations(lab, side, destination, accepted):
    await lab.create("f")
    config = {"DestinationConfig": {side: {"Destination": destination}}}
    if accepted:
        answer = await lab.call("PutFunctionEventInvokeConfig", FunctionName="f", **config)
        assert answer["DestinationConfig"][side] == {"Destination": destination}
    else:
        error = await lab.refusal("PutFunctionEventInvokeConfig", FunctionName="f", **config)
        assert error.code == "InvalidParameterValueException"
        assert destination in error.message or "itself" in error.message
