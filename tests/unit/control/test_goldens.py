"""The operations against responses recorded from AWS: every member, its value, and which members are absent."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.control import functions
from lambent.wire import models
from lambent.wire.errors import AwsError

from .lab import ACCOUNT, REGION, Lab, make_zip

GOLDENS = json.loads((Path(__file__).parent / "goldens" / "functions.json").read_text(encoding="utf-8"))
FN = "<function-name:1>"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
PLACE = re.compile(r"<[^<>]+>")
KNOWN = {"<partition>": "aws", "<region>": REGION, "<a:len(65)>": "a" * 65, "<wrong-region>": "eu-central-1"}


class Matcher:
    """Compares with placeholders: the same one stands for the same value, two uuids never for one."""

    def __init__(self) -> None:
        self.bound = dict(KNOWN)

    def check(self, recorded: Any, answered: Any, path: str) -> None:
        if isinstance(recorded, dict):
            assert isinstance(answered, dict), path
            assert set(answered) == set(recorded), path
            for name, value in recorded.items():
                self.check(value, answered[name], f"{path}.{name}")
        elif isinstance(recorded, list):
            assert len(answered) == len(recorded), path
            for number, (one, other) in enumerate(zip(recorded, answered, strict=True)):
                self.check(one, other, f"{path}[{number}]")
        elif recorded == "date":
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", answered), path
        elif recorded == "<code-size>":
            assert isinstance(answered, int), path
            assert answered > 0, path
        elif isinstance(recorded, str):
            assert isinstance(answered, str), path
            self.check_text(recorded, answered, path)
        else:
            assert answered == recorded, path

    def check_text(self, recorded: str, answered: str, path: str) -> None:
        names = PLACE.findall(recorded)
        pattern = "(.+)".join(map(re.escape, PLACE.split(recorded)))
        found = re.fullmatch(pattern, answered, re.DOTALL)
        assert found, f"{path}: {answered!r} is not {recorded!r}"
        for name, value in zip(names, found.groups(), strict=True):
            if name != "<location>":  # signed anew each time
                assert self.bound.setdefault(name, value) == value, f"{path}: {name}"
        uuids = [value for name, value in self.bound.items() if name.startswith("<uuid")]
        assert len(set(uuids)) == len(uuids), f"{path}: a revision id was used again"


def status_of(operation: str, answer: Any) -> int:
    if "StatusCode" in answer:
        return int(answer["StatusCode"])
    return int(models.service("lambda").model.operation_model(operation).http["responseCode"])


def error_of(error: AwsError) -> dict[str, Any]:
    shown: dict[str, Any] = {"Error": {"Code": error.code, "Message": error.message}, **error.fields}
    status = error.status
    if status is None:
        status = models.service("lambda").model.shape_for(error.code).metadata["error"]["httpStatusCode"]
    return shown | {"HTTPStatusCode": status}


class Script:
    """Plays one case and compares each answer with the recorded one of the same name."""

    def __init__(self, lab: Lab, case: str) -> None:
        self.lab = lab
        self.case = case
        self.recorded = copy.deepcopy(GOLDENS[case]["responses"])
        self.matcher = Matcher()
        self.left = set(self.recorded)

    async def call(self, name: str | None, operation: str, **members: Any) -> Any:
        self.lab.clock.advance(1)
        try:
            answer = await self.lab.call(operation, **members)
            shown = {**answer, "HTTPStatusCode": status_of(operation, answer)}
        except AwsError as error:
            answer, shown = error, error_of(error)
        if name is not None:
            self.left.remove(name)
            self.compare(self.recorded[name], shown, name)
        return answer

    def compare(self, recorded: dict[str, Any], shown: dict[str, Any], name: str) -> None:
        if "Code" in recorded and "Message" in recorded:  # these cases hold only code and message
            shown = shown["Error"]
        elif "Error" in recorded:  # who spells `message` how is the wire's matter
            recorded = {key: value for key, value in recorded.items() if key.lower() != "message"}
        elif "HTTPStatusCode" not in recorded:
            shown.pop("HTTPStatusCode")
        self.matcher.check(recorded, shown, name)

    async def create(self, name: str | None, function: str = FN, **settings: Any) -> Any:
        defaults = {
            "Runtime": "python3.12",
            "Role": f"arn:aws:iam::{ACCOUNT}:role/lambda-role",
            "Handler": "handler.handler",
            "Code": {"ZipFile": make_zip()},
            "Timeout": 30,
            "Environment": {"Variables": {}},
        }
        wanted = {key: value for key, value in (defaults | settings).items() if value is not None}
        return await self.call(name, "CreateFunction", FunctionName=plain(function), **wanted)

    async def ready(self, function: str = FN) -> None:
        await self.lab.ready(plain(function))

    def done(self) -> None:
        assert not self.left


def plain(placeholder: str) -> str:
    """A name for a placeholder; anything else is one already."""
    return placeholder.strip("<>").replace(":", "-") if placeholder.startswith("<") else placeholder


Play = Callable[[Script], Awaitable[None]]
PLAYS: dict[str, Play] = {}


def play(*cases: str) -> Callable[[Play], Play]:
    def keep(function: Play) -> Play:
        PLAYS.update(dict.fromkeys(cases, function))
        return function

    return keep


@pytest.mark.parametrize("case", sorted(GOLDENS))
async def test_as_recorded(lab: Lab, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "_SETTLE_SECONDS", 0)
    script = Script(lab, case)
    await PLAYS[case](script)
    script.done()


@play("TestLambdaFunction::test_function_lifecycle")
async def lifecycle(s: Script) -> None:
    name = plain(FN)
    await s.create("create_response", Timeout=5, MemorySize=256)
    await s.ready()
    await s.call("get_function_response", "GetFunction", FunctionName=name)
    await s.call(
        "update_func_conf_response",
        "UpdateFunctionConfiguration",
        FunctionName=name,
        Runtime="python3.11",
        Description="Changed-Description",
        MemorySize=512,
        Timeout=10,
        Environment={"Variables": {"ENV_A": "a"}},
    )
    await s.ready()
    await s.call("get_function_response_postupdate", "GetFunction", FunctionName=name)
    await s.call("update_code_response", "UpdateFunctionCode", FunctionName=name, ZipFile=make_zip("other"))
    await s.ready()
    await s.call("get_function_response_postcodeupdate", "GetFunction", FunctionName=name)
    await s.call("delete_response", "DeleteFunction", FunctionName=name)
    await s.call("delete_postdelete", "DeleteFunction", FunctionName=name)


@play("TestLambdaFunction::test_function_arns")
async def function_arns(s: Script) -> None:
    del s.recorded["invalid_function_name_exc"], s.recorded["long_function_arn_exc"]  # the wire's own tests
    s.left -= {"invalid_function_name_exc", "long_function_arn_exc"}
    second = "<function-name:2>"
    await s.create("create-function-arn-response", f"{ARN}:{plain(FN)}")
    await s.create(
        "create-function-partial-arn-response",
        f"{ACCOUNT}:function:{plain(second)}",
        Code={"ZipFile": make_zip("another")},
    )
    other = f"arn:aws:lambda:{REGION}:222222222222:function:f"
    await s.create("function_arn_other_account_exc", other)
    await s.create("function_arn_other_region_exc", f"arn:aws:lambda:ap-southeast-1:{ACCOUNT}:function:f")
    await s.create("long_function_name_exc", "a" * 65)


@play("TestLambdaFunction::test_lambda_code_location_zipfile")
async def code_location(s: Script) -> None:
    name = plain(FN)
    settings: dict[str, Any] = {"Handler": "index.handler", "Environment": None, "Timeout": None}
    await s.create("create-response-zip-file", **settings)
    await s.ready()
    await s.call("get-function-response", "GetFunction", FunctionName=name)
    await s.call("update-function-response", "UpdateFunctionCode", FunctionName=name, ZipFile=make_zip("new"))


@play("TestLambdaFunction::test_redundant_updates")
async def redundant_updates(s: Script) -> None:
    name, update = plain(FN), {"Description": "1st update description"}
    await s.create("create_response", Description="Initial description")
    await s.ready()
    await s.call("first_update_result", "UpdateFunctionConfiguration", FunctionName=name, **update)
    await s.ready()
    await s.call("get_fn_config_result", "GetFunctionConfiguration", FunctionName=name)
    await s.call("get_fn_result", "GetFunction", FunctionName=name)
    await s.call("redundant_update_result", "UpdateFunctionConfiguration", FunctionName=name, **update)
    await s.ready()
    await s.call("get_fn_result_after_redundant_update", "GetFunction", FunctionName=name)


@play("TestLambdaFunction::test_update_lambda_exceptions")
async def update_exceptions(s: Script) -> None:
    await s.create(None)
    await s.ready()
    update = {"operation": "UpdateFunctionConfiguration", "FunctionName": plain(FN)}
    await s.call("invalid_role_arn_exc", **update, Role="r1")
    for name in ("invalid_runtime_exc", "uppercase_runtime_exc"):
        s.recorded[name]["Error"]["Message"] = newer_runtimes(s.recorded[name]["Error"]["Message"])
    await s.call("invalid_runtime_exc", **update, Runtime="non-existent-runtime")
    await s.call("uppercase_runtime_exc", **update, Runtime="PYTHON3.9")


def newer_runtimes(message: str) -> str:
    """Runtimes that came after the recording stand at the end of the list."""
    newer = "nodejs26.x, python3.15, java8.al2023, java11.al2023, java17.al2023, ruby4.0"
    return message.replace("java8.al2]", f"java8.al2, {newer}]")


@play("TestLambdaFunction::test_lambda_concurrent_config_updates")
async def concurrent_updates(s: Script) -> None:
    await s.create("create-function-response")
    await s.ready()
    update = {"operation": "UpdateFunctionConfiguration", "FunctionName": plain(FN)}
    await s.call(None, **update, Timeout=10)
    await s.call("update-during-in-progress-update-exc", **update, Timeout=20)


@play("TestLambdaFunction::test_delete_on_nonexisting_version")
async def delete_nonexisting_version(s: Script) -> None:
    await s.create(None)
    answer = await s.call(None, "DeleteFunction", FunctionName=plain(FN), Qualifier="1221")
    assert answer == {"StatusCode": 204}
    delete = {"operation": "DeleteFunction", "FunctionName": "missing"}
    await s.call("delete_function_response_non_existent", **delete)
    await s.call("delete_function_response_non_existent_with_qualifier", **delete, Qualifier="1221")


@play("TestLambdaFunction::test_ops_with_arn_qualifier_mismatch[delete_function]")
async def qualifier_mismatch(s: Script) -> None:
    await s.create(None)
    delete = {"operation": "DeleteFunction", "FunctionName": f"{ARN}:{plain(FN)}:$LATEST"}
    await s.call("not_match_exception", **delete, Qualifier="1")
    await s.call("match_exception", **delete, Qualifier="$LATEST")


@play(
    "TestLambdaFunction::test_ops_on_nonexisting_fn[get_function]",
    "TestLambdaFunction::test_ops_on_nonexisting_fn[get_function_configuration]",
    "TestLambdaFunction::test_ops_on_nonexisting_fn[delete_function]",
)
async def nonexisting_function(s: Script) -> None:
    name = s.case.rpartition("[")[2].rstrip("]")
    operation = "".join(part.capitalize() for part in name.split("_"))
    await s.call("not_found_exception", operation, FunctionName="missing")


@play("TestLambdaFunction::test_ops_on_nonexisting_version[get_function]")
async def nonexisting_version(s: Script) -> None:
    await s.create(None)
    await s.call("version_not_found_exception", "GetFunction", FunctionName=plain(FN), Qualifier="1221")


@play(
    "TestLambdaFunction::test_get_function_wrong_region[get_function]",
    "TestLambdaFunction::test_get_function_wrong_region[delete_function]",
)
async def wrong_region(s: Script) -> None:
    operation = "GetFunction" if "get_function]" in s.case else "DeleteFunction"
    arn = f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:f"
    await s.call("wrong_region_exception", operation, FunctionName=arn)


@play("TestLambdaFunction::test_vpc_config")
async def vpc_config(s: Script) -> None:
    name = plain(FN)
    given = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    created = await s.create(None, MemorySize=256, Timeout=5, VpcConfig=given)
    assert created["VpcConfig"] == {**given, "Ipv6AllowedForDualStack": False, "VpcId": ""}
    await s.ready()
    nothing = {"SubnetIds": [], "SecurityGroupIds": []}
    response = "delete_vpcconfig_update_response"
    await s.call(response, "UpdateFunctionConfiguration", FunctionName=name, VpcConfig=nothing)
    await s.ready()
    await s.call("delete_vpcconfig_get_function_response", "GetFunction", FunctionName=name)


@play("TestLambdaFunction::test_list_functions")
async def list_functions(s: Script) -> None:
    first, second = FN, "<function-name:2>"
    await s.create(None, first)
    await s.create("create_response_2", second, Code={"ZipFile": make_zip("second")})
    await s.ready(first)
    await s.ready(second)
    await s.call("list_default", "ListFunctions")
    await s.call("list_functions_invalid_functionversion", "ListFunctions", FunctionVersion="invalid")


@play("TestLambdaImages::test_lambda_zip_file_to_image")
async def zip_to_image(s: Script) -> None:
    name = plain(FN)
    await s.create("create-image-response", Environment=None, Timeout=None)
    await s.ready()
    await s.call("get-function-code-response", "GetFunction", FunctionName=name)
    await s.call("get-function-config-response", "GetFunctionConfiguration", FunctionName=name)
    await s.call("zipfile-to-image-error", "UpdateFunctionCode", FunctionName=name, ImageUri="registry/image:tag")
    await s.call("get-function-code-response-after-update", "GetFunction", FunctionName=name)
    await s.call("get-function-config-response-after-update", "GetFunctionConfiguration", FunctionName=name)


@play("TestLambdaRevisions::test_function_revisions_basic")
async def revisions(s: Script) -> None:
    name = plain(FN)
    first = await s.create("create_function_response_rev1", Handler="index.handler")
    await s.ready()
    second = await s.call("get_function_response_rev2", "GetFunction", FunctionName=name)
    code = {"operation": "UpdateFunctionCode", "FunctionName": name, "ZipFile": make_zip()}
    await s.call("update_function_revision_exception", **code, RevisionId=first["RevisionId"])
    revision = second["Configuration"]["RevisionId"]
    third = await s.call("update_function_code_response_rev3", **code, RevisionId=revision)
    await s.ready()
    fourth = await s.call("get_function_response_rev4", "GetFunction", FunctionName=name)
    configuration = {"operation": "UpdateFunctionConfiguration", "FunctionName": name, "Runtime": "python3.8"}
    wrong = "update_function_configuration_revision_exception"
    await s.call(wrong, **configuration, RevisionId=third["RevisionId"])
    revision = fourth["Configuration"]["RevisionId"]
    await s.call("update_function_configuration_response_rev5", **configuration, RevisionId=revision)
    await s.ready()
    await s.call("get_function_response_rev6", "GetFunction", FunctionName=name)


@play("TestLambdaSizeLimits::test_oversized_unzipped_lambda")
async def oversized(s: Script) -> None:
    big = zipped_zeros(262_144_000)
    await s.create("invalid_param_exc", Code={"ZipFile": big})


def zipped_zeros(size: int) -> bytes:
    """A zip of `size` zeros, made without compressing them all."""
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        part = size // 100
        for number in range(100):
            archive.writestr(f"zeros{number}", bytes(part))
    return buffer.getvalue()


@play("TestLambdaSnapStart::test_snapstart_update_function_configuration[python3.13]")
async def snap_start(s: Script) -> None:
    settings: dict[str, Any] = {"Runtime": "python3.13", "MemorySize": 1024, "Timeout": 5, "Environment": None}
    handler = s.recorded["create_function_response"]["Handler"]
    await s.create("create_function_response", Handler=handler, **settings)
    await s.ready()
    apply = {"ApplyOn": "PublishedVersions"}
    update = "UpdateFunctionConfiguration"
    await s.call("update_function_response", update, FunctionName=plain(FN), SnapStart=apply)


@play("TestLambdaTag::test_create_tag_on_fn_create")
async def tags_on_create(s: Script) -> None:
    created = await s.create(None, Tags={"testtag": "value"})
    await s.ready()
    await s.call("get_function_result", "GetFunction", FunctionName=plain(FN))
    await s.call("list_tags_result", "ListTags", Resource=created["FunctionArn"])


@play("TestLambdaTag::test_tag_nonexisting_resource")
async def tags_of_nothing(s: Script) -> None:
    arn = f"{ARN}:{plain(FN)}"
    await s.create(None)
    await s.ready()
    await s.call("pre_delete_get_function", "GetFunction", FunctionName=plain(FN))
    await s.call(None, "DeleteFunction", FunctionName=plain(FN))
    await s.call("not_found_exception_tag", "TagResource", Resource=arn, Tags={"A": "a"})
    await s.call("not_found_exception_untag", "UntagResource", Resource=arn, TagKeys=["A"])
    await s.call("not_found_exception_list", "ListTags", Resource=arn)


@play("TestLambdaTags::test_tag_exceptions")
async def tag_exceptions(s: Script) -> None:
    arn = f"{ARN}:{plain(FN)}"
    await s.create(None)
    await s.call("tag_lambda_doesnotexist", "TagResource", Resource=f"{ARN}:doesnotexist", Tags={"A": "a"})
    await s.call("tag_lambda_qualifier_doesnotexist", "TagResource", Resource=f"{arn}:v1", Tags={"A": "a"})
    await s.call("tag_empty_tags", "TagResource", Resource=arn, Tags={})
    await s.call("untag_empty_keys", "UntagResource", Resource=arn)
    await s.call("untag_nomatch", "UntagResource", Resource=arn, TagKeys=["nothing"])
    await s.call("list_tag_lambda_empty", "ListTags", Resource=arn)


@play("TestLambdaTags::test_tag_versions")
async def tag_versions(s: Script) -> None:
    arn = f"{ARN}:{plain(FN)}"
    await s.create(None)
    await s.call("tag_resource_exception", "TagResource", Resource=f"{arn}:1", Tags={"A": "a"})
    await s.call("tag_resource_latest_exception", "TagResource", Resource=f"{arn}:$LATEST", Tags={"A": "a"})


@play("TestLambdaTags::test_tag_limits")
async def tag_limits(s: Script) -> None:
    arn = f"{ARN}:{plain(FN)}"
    many = {f"{n}_key": f"{n}_value" for n in range(50)}
    await s.create("create_function_invalid_tags", Tags={**many, "50_key": "50_value"})
    await s.create(None)
    await s.call("tag_lambda_too_many_tags", "TagResource", Resource=arn, Tags={**many, "50_key": "50_value"})
    await s.call("tag_response", "TagResource", Resource=arn, Tags=many)
    error = await s.call(None, "TagResource", Resource=arn, Tags={"a_key": "a_value"})
    assert error.message == "Number of tags exceeds resource tag limit."


@play("TestLambdaTags::test_tag_lifecycle")
async def tag_lifecycle(s: Script) -> None:
    name, arn = plain(FN), f"{ARN}:{plain(FN)}"

    async def look(suffix: str) -> None:
        await s.call(f"list_tags_response_{suffix}", "ListTags", Resource=arn)
        await s.call(f"get_fn_response_{suffix}", "GetFunction", FunctionName=name)

    await s.create(None, Tags={"key_a": "value_a"})
    await s.ready()
    await look("postfncreate")
    added = {f"key_{letter}": f"value_{letter}" for letter in "bcde"}
    await s.call("tag_resource_response", "TagResource", Resource=arn, Tags=added)
    await look("postaddtags")
    await s.call("tag_resource_overwrite", "TagResource", Resource=arn, Tags={"key_c": "value_x"})
    await look("overwrite")
    await s.call(None, "UntagResource", Resource=arn, TagKeys=["key_c", "key_d"])
    await look("postuntag")
    await s.call(None, "UntagResource", Resource=arn, TagKeys=["key_a", "key_b", "key_e"])
    await look("postuntagall")
    await s.call(None, "DeleteFunction", FunctionName=name)
    await s.call("list_tags_postdelete", "ListTags", Resource=arn)


LOGGING = "TestLoggingConfig::test_function_partial_advanced_logging_configuration_update"


@play(
    "TestLoggingConfig::test_function_advanced_logging_configuration",
    f"{LOGGING}[partial_config0]",
    f"{LOGGING}[partial_config2]",
    f"{LOGGING}[partial_config3]",
)
async def logging_config(s: Script) -> None:
    name = plain(FN)
    given: dict[str, Any] = {}
    update = {
        "config0]": {"LogFormat": "JSON"},
        "config2]": {"LogFormat": "JSON", "SystemLogLevel": "DEBUG"},
    }.get(s.case.rpartition("_")[2], {"LogGroup": "cool_lambda"})
    if "partial" not in s.case:
        given = {"LoggingConfig": {"LogFormat": "JSON"}}
    await s.create("create_response", MemorySize=256, Timeout=5, **given)
    await s.ready()
    await s.call("get_function_response", "GetFunction", FunctionName=name)
    await s.call("function_config", "GetFunctionConfiguration", FunctionName=name)
    await s.call("updated_config", "UpdateFunctionConfiguration", FunctionName=name, LoggingConfig=update)
    await s.ready()
    await s.call("received_config", "GetFunctionConfiguration", FunctionName=name)


RETIRED = "TestRuntimeValidation::test_create_deprecated_function_runtime_with_validation_enabled"


@play(*(case for case in GOLDENS if case.startswith(RETIRED)))
async def retired_runtimes(s: Script) -> None:
    await s.create("deprecation_error", Runtime=s.case.rpartition("[")[2].rstrip("]"))


NAMES = {
    "function_name_and_qualifier_too_long": {"FunctionName": "my-function", "Qualifier": "a" * 65},
    "function_name_too_long": {"FunctionName": "a" * 65},
    "incomplete_arn": {"FunctionName": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"},
    "latest_version_with_additional_qualifier": {"FunctionName": f"{ARN}:my-function:$LATEST", "Qualifier": "1"},
    "lowercase_latest_qualifier": {"FunctionName": f"{ARN}:my-function", "Qualifier": "$latest"},
    "qualifier_too_long1": {"FunctionName": "my-function", "Qualifier": "a" * 65},
}


@play(*(case for case in GOLDENS if "name_and_qualifier_validation" in case))
async def names(s: Script) -> None:
    kind, _, operation = s.case.rpartition("[")[2].rstrip("]").partition("-")
    camel = "".join(part.capitalize() for part in operation.split("_"))
    await s.call(f"{operation}_exception", camel, **NAMES[kind])
