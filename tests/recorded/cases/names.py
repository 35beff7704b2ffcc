"""How functions are named, and misnamed."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from recorded.script import Script, cases, play

_VALIDATION = "TestLambdaFunction::test_function_name_and_qualifier_validation"
_KINDS: dict[str, tuple[str, str | None]] = {  # (function name, qualifier), `ARN` for what stands before `function:`
    "full_arn_with_multiple_qualifiers": ("ARN:function:my-function:1:2", None),
    "function_name_and_qualifier_too_long": ("my-function", "<a:len(65)>"),
    "function_name_is_single_invalid": ("*", None),
    "function_name_too_long": ("<a:len(65)>", None),
    "function_name_too_long_and_invalid_region": (
        "arn:<partition>:lambda:invalid-region:111111111111:function:my-function<a:len(170)>",
        None,
    ),
    "incomplete_arn": ("ARN:function", None),
    "invalid_account_id_in_partial_arn": ("invalid-account:function:my-function", None),
    "invalid_characters_in_function_name": ("my-function!", None),
    "invalid_characters_in_qualifier": ("my-function", "invalid!"),
    "invalid_region_in_arn": ("arn:<partition>:lambda:invalid-region:111111111111:function:my-function", None),
    "latest_version_with_additional_qualifier": ("ARN:function:my-function:$LATEST", "1"),
    "lowercase_latest_qualifier": ("ARN:function:my-function", "$latest"),
    "missing_account_id_in_arn": ("arn:<partition>:lambda:<region>::function:my-function", None),
    "missing_region_in_arn": ("arn:<partition>:lambda::111111111111:function:my-function", None),
    "misspelled_latest_in_arn": ("ARN:function:my-function:$LATES", None),
    "non_lambda_arn": ("arn:<partition>:ec2:<region>:111111111111:instance:i-1234567890abcdef0", None),
    "partial_arn_with_extra_qualifier": ("function:my-function:$LATEST:extra", None),
    "qualifier_too_long": ("my-function", "<a:len(129)>"),
    "qualifier_too_long0": ("my-function", "<a:len(129)>"),
    "qualifier_too_long1": ("my-function", "<a:len(65)>"),
}


@play(*(name for name, case in cases().items() if name.startswith(f"{_VALIDATION}[") and case.responses))
def names(s: Script) -> None:
    kind, _, operation = s.case.variant.partition("-")
    arn = "arn:<partition>:lambda:<region>:111111111111"
    name, qualifier = (value and s.matcher.fill(value.replace("ARN", arn)) for value in _KINDS[kind])
    camel = "".join(part.capitalize() for part in operation.split("_"))
    if camel == "CreateFunction":
        s.create(f"{operation}_exception", f"{name}:{qualifier}" if qualifier else name)
    else:
        s.call(f"{operation}_exception", camel, FunctionName=name, **({"Qualifier": qualifier} if qualifier else {}))


@play(*(name for name in cases() if name.startswith("TestLambdaFunction::test_get_function_wrong_region[")))
def wrong_region(s: Script) -> None:
    operation = "".join(part.capitalize() for part in s.case.variant.split("_"))
    arn = f"arn:aws:lambda:{s.matcher.fill('<wrong-region>')}:{s.account}:function:f"
    s.call("wrong_region_exception", operation, FunctionName=arn)


@play(*(name for name in cases() if name.startswith("TestLambdaFunction::test_ops_on_nonexisting_fn[")))
def nonexisting_function(s: Script) -> None:
    operation = "".join(part.capitalize() for part in s.case.variant.split("_"))
    s.call("not_found_exception", operation, FunctionName=s.bind("<nonexisting-fn-name>", "nonexisting"))


@play("TestPartialARNMatching::test_update_function_configuration_full_arn")
def full_arn(s: Script) -> None:
    """Nothing was recorded but that it works, by the full ARN and by the partial one."""
    s.created()
    for name in (s.arn(f"function:{s.name()}"), f"{s.account}:function:{s.name()}"):
        answer = s.call(None, "UpdateFunctionConfiguration", FunctionName=name, Description="changed")
        assert answer["Description"] == "changed"
        s.ready()


@play("TestPartialARNMatching::test_cross_region_arn_function_access")
def cross_region(s: Script) -> None:
    """Nothing was recorded but that it fails."""
    s.created()
    client = s.stage.client(s.account, "eu-central-1")
    with pytest.raises(ClientError, match="are not reachable in this region"):
        client.get_function(FunctionName=s.arn(f"function:{s.name()}"))
