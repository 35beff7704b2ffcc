"""Event invoke configurations."""

from __future__ import annotations

from typing import Any

from recorded.script import Script, package, play

_PUT, _UPDATE = "PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"
_GET, _DELETE = "GetFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig"
_LIST = "ListFunctionEventInvokeConfigs"


@play("TestLambdaEventInvokeConfig::test_lambda_eventinvokeconfig_lifecycle")
def lifecycle(s: Script) -> None:
    name = s.name()
    s.created()
    of: dict[str, Any] = {"FunctionName": name}
    s.call("put_invokeconfig_retries_0", _PUT, **of, MaximumRetryAttempts=0)
    s.call("put_invokeconfig_eventage_60", _PUT, **of, MaximumEventAgeInSeconds=60)
    s.call("update_invokeconfig_eventage_nochange", _UPDATE, **of, MaximumEventAgeInSeconds=60)
    s.call("update_invokeconfig_retries", _UPDATE, **of, MaximumRetryAttempts=1)
    s.call("get_invokeconfig", _GET, **of)
    s.call("list_single_invokeconfig", _LIST, **of)
    s.call("get_invokeconfig_latest", _GET, **of, Qualifier="$LATEST")
    s.call("publish_version_result", "PublishVersion", **of)
    s.call("get_invokeconfig_postpublish", _GET, **of, Qualifier="1")
    s.call("put_published_invokeconfig", _PUT, **of, Qualifier="1", MaximumEventAgeInSeconds=120)
    s.call("get_published_invokeconfig", _GET, **of, Qualifier="1")
    first = s.call(None, _LIST, **of, MaxItems=1)
    second = s.call(None, _LIST, **of, MaxItems=1, Marker=first["NextMarker"])
    assert "NextMarker" not in second
    s.call(None, _DELETE, **of)
    s.call("list_paging_nolimit_postdelete", _LIST, **of)


@play("TestLambdaEventInvokeConfig::test_lambda_eventinvokeconfig_exceptions")
def exceptions(s: Script) -> None:
    name, arn = s.name(), s.arn(f"function:{s.name()}")
    s.created()
    other = s.created(None, s.bind("<resource:5>", "function-5"), Code={"ZipFile": package("5")})["FunctionArn"]
    alias = "eventinvokealias"
    s.call("fn_version_result", "PublishVersion", FunctionName=name)
    s.call("fn_alias_result", "CreateAlias", FunctionName=name, FunctionVersion="1", Name=alias)
    nobody, latest = {"FunctionName": "doesnotexist"}, {"FunctionName": name}
    once, aliased = {"MaximumRetryAttempts": 1}, {"FunctionName": name, "Qualifier": alias}

    def to(side: str, destination: str) -> dict[str, Any]:
        return {"DestinationConfig": {side: {"Destination": destination}}}

    s.calls(
        {
            "put_functionname_name_notfound": (_PUT, {**nobody, **once}),
            "put_functionname_arn_notfound": (_PUT, {"FunctionName": s.arn("function:doesnotexist"), **once}),
            "put_functionname_nootherargs": (_PUT, latest),
            "put_destination_lambda_doesntexist": (_PUT, {**latest, **to("OnSuccess", s.arn("function:doesnotexist"))}),
            "put_destination_recursive": (_PUT, {**latest, **to("OnSuccess", arn)}),
            "put_destination_other_lambda": (_PUT, {**latest, **to("OnSuccess", other)}),
            "put_destination_invalid_service_arn": (
                _PUT,
                {**latest, **to("OnSuccess", arn.replace(":lambda:", ":iam:"))},
            ),
            "put_destination_success_no_destination_arn": (_PUT, {**latest, "DestinationConfig": {"OnSuccess": {}}}),
            "put_destination_failure_no_destination_arn": (_PUT, {**latest, "DestinationConfig": {"OnFailure": {}}}),
            "put_destination_invalid_arn_pattern": (
                _PUT,
                {**latest, **to("OnFailure", arn.replace(":lambda:", ":_-/!lambda:"))},
            ),
            "put_destination_latest": (_PUT, {**latest, **once}),
            "put_destination_latest_explicit_qualifier": (_PUT, {**latest, "Qualifier": "$LATEST", **once}),
            "put_destination_version": (_PUT, {**latest, "Qualifier": "1", **once}),
            "put_alias_functionname_qualifier": (_PUT, {**aliased, **once}),
            "put_alias_doesnotexist": (_PUT, {**latest, "Qualifier": "doesnotexist", **once}),
            "put_alias_qualifiedarn": (_PUT, {"FunctionName": f"{arn}:{alias}", **once}),
            "put_alias_qualifiedarn_qualifier": (
                _PUT,
                {"FunctionName": f"{arn}:{alias}", "Qualifier": alias, **once},
            ),
            "put_alias_qualifiedarn_qualifierconflict": (
                _PUT,
                {"FunctionName": f"{arn}:{alias}", "Qualifier": "somethingelse", **once},
            ),
            "put_alias_shorthand": (_PUT, {"FunctionName": f"{name}:{alias}", **once}),
            "put_alias_shorthand_qualifier": (_PUT, {"FunctionName": f"{name}:{alias}", "Qualifier": alias, **once}),
            "put_alias_shorthand_qualifierconflict": (
                _PUT,
                {"FunctionName": f"{name}:{alias}", "Qualifier": "somethingelse", **once},
            ),
            "put_version_shorthand": (_PUT, {"FunctionName": f"{name}:1", **once}),
            "put_shorthand_qualifier_match": (
                _PUT,
                {"FunctionName": f"{name}:$LATEST", "Qualifier": "$LATEST", **once},
            ),
            "put_shorthand_qualifier_mismatch_1": (_PUT, {"FunctionName": f"{name}:1", "Qualifier": "$LATEST", **once}),
            "put_shorthand_qualifier_mismatch_2": (_PUT, {"FunctionName": f"{name}:1", "Qualifier": "2", **once}),
            "put_shorthand_qualifier_mismatch_3": (_PUT, {"FunctionName": f"{name}:$LATEST", "Qualifier": "1", **once}),
            "put_maxevent_maxvalue_result": (
                _PUT,
                {**latest, "MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 21600},
            ),
            "put_pre_overwrite": (_PUT, {**latest, "MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60}),
            "put_post_overwrite": (_PUT, {**latest, "MaximumRetryAttempts": 0}),
            "get_post_overwrite": (_GET, latest),
            "second_overwrite_existing_response": (_PUT, {**latest, "MaximumRetryAttempts": 0}),
            "get_function_doesnotexist": (_GET, nobody),
            "get_qualifier_doesnotexist": (_GET, {**latest, "Qualifier": "doesnotexist"}),
        }
    )
    s.call(None, _DELETE, **aliased)
    s.call("get_eventinvokeconfig_doesnotexist", _GET, **aliased)
    without = "update_eventinvokeconfig_config_doesnotexist_with"
    s.call(f"{without}_qualifier", _UPDATE, **aliased, **once)
    s.call("update_eventinvokeconfig_function_doesnotexist", _UPDATE, **nobody, **once)
    s.call(None, _DELETE, **latest)
    s.call(f"{without}out_qualifier", _UPDATE, **latest, **once)
    both = {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60}
    s.call("pre_update_response", _PUT, **latest, **both)
    s.call("update_response", _UPDATE, **latest, MaximumRetryAttempts=0)
    s.call("update_response_existing", _UPDATE, **latest, MaximumRetryAttempts=0)
    s.call(None, _PUT, **aliased, **once)
    s.call("list_configs", _LIST, **latest)
    s.call("list_function_doesnotexist", _LIST, **nobody)
    s.call("delete_latest", _DELETE, **latest)
    s.call("delete_version", _DELETE, **latest, Qualifier="1")
    s.call("delete_alias", _DELETE, **aliased)
    s.call("list_configs_postdelete", _LIST, **latest)
    s.call("delete_function_not_found", _DELETE, **latest)
    s.call("delete_function_doesnotexist", _DELETE, **nobody)
