"""Tags."""

from __future__ import annotations

from recorded.script import Script, play


@play("TestLambdaTag::test_create_tag_on_fn_create")
def tags_on_create(s: Script) -> None:
    created = s.created(Tags={"testtag": s.bind("<custom-tag>", "value")})
    s.call("get_function_result", "GetFunction", FunctionName=s.name())
    s.call("list_tags_result", "ListTags", Resource=created["FunctionArn"])


@play("TestLambdaTag::test_tag_nonexisting_resource")
def tags_of_nothing(s: Script) -> None:
    arn = s.created()["FunctionArn"]
    s.call("pre_delete_get_function", "GetFunction", FunctionName=s.name())
    s.call(None, "DeleteFunction", FunctionName=s.name())
    s.call("not_found_exception_tag", "TagResource", Resource=arn, Tags={"A": "a"})
    s.call("not_found_exception_untag", "UntagResource", Resource=arn, TagKeys=["A"])
    s.call("not_found_exception_list", "ListTags", Resource=arn)


@play("TestLambdaTags::test_tag_exceptions")
def tag_exceptions(s: Script) -> None:
    arn = s.created()["FunctionArn"]
    missing = s.arn("function:doesnotexist")
    s.calls(
        {
            "tag_lambda_invalidarn": ("TagResource", {"Resource": "arn:aws:something", "Tags": {"A": "a"}}),
            "tag_lambda_doesnotexist": ("TagResource", {"Resource": missing, "Tags": {"A": "a"}}),
            "tag_lambda_qualifier_doesnotexist": ("TagResource", {"Resource": f"{arn}:v1", "Tags": {"A": "a"}}),
            "tag_empty_tags": ("TagResource", {"Resource": arn, "Tags": {}}),
            "untag_empty_keys": ("UntagResource", {"Resource": arn, "TagKeys": []}),
            "untag_nomatch": ("UntagResource", {"Resource": arn, "TagKeys": ["nothing"]}),
            "list_tag_lambda_empty": ("ListTags", {"Resource": arn}),
        }
    )


@play("TestLambdaTags::test_tag_versions")
def tag_versions(s: Script) -> None:
    arn = s.created()["FunctionArn"]
    s.call("tag_resource_exception", "TagResource", Resource=f"{arn}:1", Tags={"A": "a"})
    s.call("tag_resource_latest_exception", "TagResource", Resource=f"{arn}:$LATEST", Tags={"A": "a"})


@play("TestLambdaTags::test_tag_limits")
def tag_limits(s: Script) -> None:
    many = {f"{n}_key": f"{n}_value" for n in range(50)}
    more = {**many, "50_key": "50_value"}
    s.create("create_function_invalid_tags", Tags=more)
    arn = s.created()["FunctionArn"]
    s.call("tag_lambda_too_many_tags", "TagResource", Resource=arn, Tags=more)
    s.call("tag_response", "TagResource", Resource=arn, Tags=many)
    s.call("list_tags_response", "ListTags", Resource=arn)
    s.call("get_fn_response", "GetFunction", FunctionName=s.name())
    s.call("tag_lambda_too_many_tags_additional", "TagResource", Resource=arn, Tags={"a_key": "a_value"})


@play("TestLambdaTags::test_tag_lifecycle")
def tag_lifecycle(s: Script) -> None:
    name = s.name()
    arn = s.created(Tags={"key_a": "value_a"})["FunctionArn"]

    def look(suffix: str) -> None:
        s.call(f"list_tags_response_{suffix}", "ListTags", Resource=arn)
        s.call(f"get_fn_response_{suffix}", "GetFunction", FunctionName=name)

    look("postfncreate")
    added = {f"key_{letter}": f"value_{letter}" for letter in "bcde"}
    s.call("tag_resource_response", "TagResource", Resource=arn, Tags=added)
    look("postaddtags")
    s.call("tag_resource_overwrite", "TagResource", Resource=arn, Tags={"key_c": "value_x"})
    look("overwrite")
    s.call(None, "UntagResource", Resource=arn, TagKeys=["key_c", "key_d"])
    look("postuntag")
    s.call(None, "UntagResource", Resource=arn, TagKeys=["key_a", "key_b", "key_e"])
    look("postuntagall")
    s.call(None, "DeleteFunction", FunctionName=name)
    s.call("list_tags_postdelete", "ListTags", Resource=arn)


@play("TestLambdaTag::test_tag_exceptions[capacity_provider]")
def tag_exceptions_of_capacity_providers(s: Script) -> None:
    name = s.bind("<resource-name>", "nobody")
    arn = s.arn(f"capacity-provider:{name}")
    s.call("not_found_exception_tag", "TagResource", Resource=arn, Tags={"A": "a"})
    s.call("not_found_exception_untag", "UntagResource", Resource=arn, TagKeys=["A"])
    s.call("not_found_exception_list", "ListTags", Resource=arn)
    s.call("aliased_arn_exception", "TagResource", Resource=f"{arn}:alias", Tags={"A": "a"})
    s.call("invalid_arn_exception", "TagResource", Resource=s.arn(f"foobar:{name}"), Tags={"A": "a"})
