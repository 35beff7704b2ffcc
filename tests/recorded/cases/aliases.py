"""Aliases."""

from __future__ import annotations

from typing import Any

from recorded.script import Script, play

STAGING: dict[str, Any] = {
    "Timeout": 3,
    "Handler": "index.handler",
    "Environment": {"Variables": {"testenv": "staging"}},
}


def second_version(s: Script) -> None:
    fn = s.name()
    s.call("publish_v1", "PublishVersion", FunctionName=fn)
    s.call(None, "UpdateFunctionConfiguration", FunctionName=fn, Environment={"Variables": {"testenv": "prod"}})
    s.ready()
    s.call("publish_v2", "PublishVersion", FunctionName=fn)


@play("TestLambdaAlias::test_alias_lifecycle")
def lifecycle(s: Script) -> None:
    fn = {"FunctionName": s.name()}
    s.created("create_response", **STAGING)
    second_version(s)
    custom = {"FunctionVersion": "1", "Description": "custom-alias"}
    weights = {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.2}}}
    s.calls(
        {
            "create_alias_1_1": ("CreateAlias", {**fn, "Name": "aliasname1_1", **custom, **weights}),
            "create_alias_1_2": ("CreateAlias", {**fn, "Name": "aliasname1_2", **custom}),
            "create_alias_1_3": ("CreateAlias", {**fn, "Name": "aliasname1_3", "FunctionVersion": "1"}),
            "create_alias_2": ("CreateAlias", {**fn, "Name": "aliasname2", **custom, "FunctionVersion": "2"}),
            "get_alias_1_1": ("GetAlias", {**fn, "Name": "aliasname1_1"}),
            "get_alias_1_2": ("GetAlias", {**fn, "Name": "aliasname1_2"}),
            "get_alias_1_3": ("GetAlias", {**fn, "Name": "aliasname1_3"}),
            "get_alias_2": ("GetAlias", {**fn, "Name": "aliasname2"}),
            "list_aliases_for_fnname": ("ListAliases", fn),
            "update_alias_1_1": ("UpdateAlias", {**fn, "Name": "aliasname1_1", "RoutingConfig": {}}),
            "get_alias_1_1_after_update": ("GetAlias", {**fn, "Name": "aliasname1_1"}),
            "list_aliases_for_fnname_after_update": ("ListAliases", fn),
            "update_alias_1_2": ("UpdateAlias", {**fn, "Name": "aliasname1_2"}),
            "get_alias_1_2_after_update": ("GetAlias", {**fn, "Name": "aliasname1_2"}),
            "list_aliases_for_fnname_after_update_2": ("ListAliases", fn),
            "list_aliases_for_version": ("ListAliases", {**fn, "FunctionVersion": "1"}),
            "delete_alias_response": ("DeleteAlias", {**fn, "Name": "aliasname1_1"}),
            "list_aliases_for_fnname_afterdelete": ("ListAliases", fn),
            "get_function_alias_notfound_exc": ("GetFunction", {**fn, "Qualifier": "aliasdoesnotexist"}),
        }
    )
    arn = s.arn(f"function:{s.name()}")
    s.call("get_function_alias_byarn_notfound_exc", "GetFunction", FunctionName=f"{arn}:aliasdoesnotexist")
    s.call(None, "CreateAlias", **fn, Name="aliasname1_1", FunctionVersion="1")
    s.call("get_function_alias_1_1", "GetFunction", **fn, Qualifier="aliasname1_1")
    s.call("get_function_byarn_alias_1_1", "GetFunction", FunctionName=f"{arn}:aliasname1_1")


@play("TestLambdaAlias::test_non_existent_alias_update")
def update_of_nothing(s: Script) -> None:
    s.created("create_response", **STAGING)
    s.call("update_alias_response", "UpdateAlias", FunctionName=s.name(), Name="non-existent")


@play("TestLambdaAlias::test_notfound_and_invalid_routingconfigs")
def routing(s: Script) -> None:
    fn = s.name()
    s.created("create_response", Publish=True, **STAGING)
    second_version(s)

    def create(response: str, version: str, weights: dict[str, float] | None = None, **other: Any) -> None:
        given = {} if weights is None else {"RoutingConfig": {"AdditionalVersionWeights": weights}}
        members = {"FunctionName": fn, "Name": "custom", "FunctionVersion": version, **given, **other}
        s.call(response, "CreateAlias", **members)

    create("routing_config_exc_fn_doesnotexist", "1", {"2": 0.5}, FunctionName=f"{fn}-unknown")
    create("create-alias-latest", "$LATEST", Name="custom-latest")
    create("target_version_doesnotexist", "10", {"2": 0.5})
    create("target_version_exc_version_latest", "$LATEST", {"1": 0.5})
    create("routing_config_exc_version_latest", "1", {"$LATEST": 0.5})
    create("routing_config_exc_toomany", "1", {"1": 0.5, "2": 0.3})
    create("routing_config_exc_toohigh", "1", {"2": 2.0})
    create("routing_config_exc_subzero", "1", {"2": -1.0})
    create("routing_config_exc_sameversion", "1", {"1": 0.5})
    create("routing_config_exc_version_doesnotexist", "1", {"10": 0.5})
    create("create_alias_empty_routingconfig", "1", {}, Name="custom-empty-routingconfig")
    create("create_alias_response", "1", {"2": 0.5})
    create("routing_config_exc_already_exist", "1", {"2": 0.5})
    s.call("alias_does_not_exist_esc", "GetAlias", FunctionName=fn, Name="non-existent")
