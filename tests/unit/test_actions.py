"""Nothing can be forgotten: every operation that a server answers says what it needs permission for."""

from __future__ import annotations

import asyncio

import botocore.session
import pytest

from lambent.app import App
from lambent.app.actions import RULES
from lambent.config import Config
from lambent.wire.errors import AwsError
from lambent.wire.gate import Access, key, needs, request_tags, tag_keys, together, where
from lambent.wire.operations import Caller, Operations

CALLER = Caller("123456789012", "eu-west-1", "AKIDEXAMPLE", proven=True)
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:f"
LAYER = "arn:aws:lambda:eu-west-1:999999999999:layer:l:3"


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Operations:
    """Those of a real server, which has stopped again."""

    async def collect() -> Operations:
        server = App(Config(data_dir=tmp_path_factory.mktemp("server") / "data", port=0, isolation="process"))
        try:
            await server.start()
            return server.operations
        finally:
            await server.stop()

    return asyncio.run(collect())


def test_every_operation_of_a_server_has_a_rule(operations: Operations) -> None:
    assert operations.undeclared() == []


def test_every_operation_of_lambdas_model_has_a_rule() -> None:
    model = botocore.session.Session().get_service_model("lambda")
    assert set(model.operation_names) == set(RULES["lambda"])


@pytest.mark.parametrize("service", sorted(RULES))
def test_rules_name_operations_that_there_are(service: str) -> None:
    """A name misspelt would leave the real operation without a rule, or a rule that nothing uses."""
    model = botocore.session.Session().get_service_model(service)
    assert set(RULES[service]) <= set(model.operation_names)


def test_an_operation_without_a_rule_is_refused() -> None:
    with pytest.raises(AwsError, match="has no rule") as caught:
        Operations().accesses("lambda", "Invoke", CALLER, {})
    assert caught.value.code == "AccessDeniedException"


def _asked(operation: str, service: str = "lambda", **parameters: object) -> list[Access]:
    return list(RULES[service][operation](CALLER, parameters))


@pytest.mark.parametrize(
    ("name", "qualifier", "resource"),
    [
        ("f", None, FUNCTION),
        ("f:live", None, f"{FUNCTION}:live"),
        (FUNCTION, "7", f"{FUNCTION}:7"),
        ("123456789012:f", "$LATEST", f"{FUNCTION}:$LATEST"),
        ("arn:aws:lambda:eu-west-1:999999999999:function:g", None, "arn:aws:lambda:eu-west-1:999999999999:function:g"),
    ],
)
def test_an_invocation_is_on_what_the_name_and_the_qualifier_say(
    name: str, qualifier: str | None, resource: str
) -> None:
    given = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
    assert _asked("Invoke", **given) == [Access("lambda:InvokeFunction", resource)]


def test_a_function_with_layers_and_a_key_uses_those_too() -> None:
    key_arn = "arn:aws:kms:eu-west-1:123456789012:key/k"
    found = _asked("CreateFunction", FunctionName="f", Layers=[LAYER], KMSKeyArn=key_arn, Tags={"team": "a"})
    assert [(access.action, access.resource) for access in found] == [
        ("lambda:CreateFunction", FUNCTION),
        ("lambda:GetLayerVersion", LAYER),
        ("kms:Encrypt", key_arn),
        ("kms:CreateGrant", key_arn),
    ]
    assert found[0].context == {
        "aws:requesttag/team": ("a",),
        "aws:tagkeys": ("team",),
        "lambda:layer": (LAYER,),
    }


@pytest.mark.parametrize("operation", ["CreateFunction", "UpdateFunctionConfiguration"])
def test_who_gives_a_function_a_role_passes_it_to_lambda(operation: str) -> None:
    role = "arn:aws:iam::123456789012:role/r"
    passed = _asked(operation, FunctionName="f", Role=role)[1]
    context = {"iam:passedtoservice": ("lambda.amazonaws.com",), "iam:associatedresourcearn": (FUNCTION,)}
    assert passed == Access("iam:PassRole", role, context)
    assert len(_asked(operation, FunctionName="f")) == 1


def test_condition_keys_follow_from_the_parameters() -> None:
    (access,) = _asked("AddPermission", FunctionName="f", Principal="*", InvokedViaFunctionUrl=True)
    assert access.context == {"lambda:principal": ("*",), "lambda:invokedviafunctionurl": ("true",)}
    (access,) = _asked("UntagResource", Resource=FUNCTION, TagKeys=["a", "b"])
    assert access.context == {"aws:tagkeys": ("a", "b")}
    (access,) = _asked("UpdateEventSourceMapping", UUID="u", FunctionName="f")
    assert access.context == {"lambda:functionarn": (FUNCTION,)}


def test_log_streams_and_groups() -> None:
    (access,) = _asked("PutLogEvents", "logs", logGroupName="/g", logStreamName="s")
    assert access.resource == "arn:aws:logs:eu-west-1:123456789012:log-group:/g:log-stream:s"
    (access,) = _asked("CreateLogGroup", "logs", logGroupName="/g")
    assert access.resource == "arn:aws:logs:eu-west-1:123456789012:log-group:/g"


def test_what_rules_are_made_of() -> None:
    rule = together(
        needs("s:A", lambda caller, given: given["Arn"], key("s:deep", "Outer", "Inner"), request_tags("tags")),
        where(lambda given: given.get("More"), needs("s:B", lambda caller, given: "*", tag_keys("tagKeys"))),
    )
    given = {"Arn": "arn:x", "Outer": {"Inner": [1, True]}, "tags": [{"Key": "K", "Value": "v"}], "tagKeys": ["t"]}
    context = {"s:deep": ("1", "true"), "aws:requesttag/k": ("v",), "aws:tagkeys": ("K",)}
    assert list(rule(CALLER, given)) == [Access("s:A", "arn:x", context)]
    assert list(rule(CALLER, {**given, "More": 1}))[1:] == [Access("s:B", "*", {"aws:tagkeys": ("t",)})]
