"""Function URL configurations."""

from __future__ import annotations

from recorded.script import Script, play


@play("TestLambdaUrl::test_url_config_lifecycle")
def lifecycle(s: Script) -> None:
    name = s.bind("<resource:1>", "function-1")
    s.created()
    s.call("url_creation", "CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE")
    s.call("failed_duplication", "CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE")
    s.call("get_url_config", "GetFunctionUrlConfig", FunctionName=name)
    s.call("updated_url_config", "UpdateFunctionUrlConfig", FunctionName=name, AuthType="AWS_IAM")
    s.call(None, "DeleteFunctionUrlConfig", FunctionName=name)
    s.call("failed_getter", "GetFunctionUrlConfig", FunctionName=name)


def _published(s: Script) -> str:
    """A function with a version 1 and an alias for it."""
    name = s.name()
    s.created(Runtime="nodejs20.x", Handler="lambda_handler.handler")
    s.call("fn_version_result", "PublishVersion", FunctionName=name)
    s.call("create_alias_result", "CreateAlias", FunctionName=name, FunctionVersion="1", Name="urlalias")
    return name


@play("TestLambdaUrl::test_url_config_list_paging")
def list_paging(s: Script) -> None:
    name = _published(s)
    s.call("list_function_notfound", "ListFunctionUrlConfigs", FunctionName="doesnotexist")
    s.call("list_all_empty", "ListFunctionUrlConfigs", FunctionName=name)
    s.call("url_config_fn", "CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE")
    create = {"FunctionName": name, "Qualifier": "urlalias", "AuthType": "NONE"}
    s.call("url_config_alias", "CreateFunctionUrlConfig", **create)
    s.call("list_all", "ListFunctionUrlConfigs", FunctionName=name)
    first = s.call(None, "ListFunctionUrlConfigs", FunctionName=name, MaxItems=1)
    second = s.call(None, "ListFunctionUrlConfigs", FunctionName=name, MaxItems=1, Marker=first["NextMarker"])
    assert [len(page["FunctionUrlConfigs"]) for page in (first, second)] == [1, 1]
    assert "NextMarker" not in second


@play("TestLambdaUrl::test_url_config_exceptions")
def exceptions(s: Script) -> None:
    name = _published(s)
    arn, alias = s.arn("function:doesnotexist"), s.arn(f"function:{name}:urlalias")
    members = {
        "name_doesnotexist": {"FunctionName": "doesnotexist"},
        "arn_doesnotexist": {"FunctionName": arn},
        "name_doesnotexist_qualifier": {"FunctionName": "doesnotexist", "Qualifier": "1"},
        "qualifier_version": {"FunctionName": name, "Qualifier": "1"},
        "qualifier_version_doesnotexist": {"FunctionName": name, "Qualifier": "2"},
        "qualifier_alias_doesnotexist": {"FunctionName": name, "Qualifier": "doesnotexist"},
        "qualifier_latest": {"FunctionName": name, "Qualifier": "$LATEST"},
        "qualifier_alias_doesnotmatch_arn": {"FunctionName": alias, "Qualifier": "otheralias"},
        "config_doesnotexist": {"FunctionName": name},
    }
    for verb in ("create", "get", "update", "delete"):
        for suffix, given in members.items():
            response = f"{verb}_function_url_config_{suffix}"
            if response in s.case.responses:
                more = {"AuthType": "NONE"} if verb in ("create", "update") else {}
                s.call(response, f"{verb.capitalize()}FunctionUrlConfig", **given, **more)
