"""Layers and who may use them."""

from __future__ import annotations

from typing import Any

from recorded.script import Script, package, play

ARCHITECTURES = ["arm64", "x86_64"]


def layer(s: Script, number: int, name: str) -> str:
    """A layer's name, that of `<resource:number>`."""
    return str(s.bind(f"<resource:{number}>", name))


def publish(s: Script, response: str | None, name: str, content: str = "layer", **members: Any) -> Any:
    wanted = {"LayerName": name, "Content": {"ZipFile": package(content)}} | members
    return s.call(response, "PublishLayerVersion", **wanted)


@play(
    "TestLambdaLayer::test_layer_compatibilities[runtimes0]", "TestLambdaLayer::test_layer_compatibilities[runtimes2]"
)
def compatibilities(s: Script) -> None:
    runtimes = s.case.responses["publish_result"]["CompatibleRuntimes"]
    name = layer(s, 1, "compatible")
    members = {"CompatibleRuntimes": runtimes, "CompatibleArchitectures": ARCHITECTURES}
    publish(s, "publish_result", name, **members)


@play("TestLambdaLayer::test_layer_exceptions")
def exceptions(s: Script) -> None:
    name, empty = layer(s, 1, "known"), layer(s, 2, "empty")
    compatible = {"CompatibleRuntimes": ["python3.12"], "CompatibleArchitectures": ["x86_64"]}
    published = publish(s, "publish_result", name, **compatible)
    wrong = {"CompatibleRuntimes": ["invalidruntime"], "CompatibleArchitectures": ["invalidarch"]}
    publish(s, "publish_layer_version_exc_invalid_runtime_arch", name, **wrong)
    mixed = {
        "CompatibleRuntimes": ["invalidruntime", "invalidruntime2", "nodejs20.x"],
        "CompatibleArchitectures": ["invalidarch", "x86_64"],
    }
    publish(s, "publish_layer_version_exc_partially_invalid_values", name, **mixed)
    publish(s, "publish_empty_result", empty, CompatibleRuntimes=[], CompatibleArchitectures=[])
    get, missing = "GetLayerVersion", f"{name}-doesnotexist"
    s.calls(
        {
            "get_layer_version_exc_layer_doesnotexist": (get, {"LayerName": missing, "VersionNumber": 1}),
            "get_layer_version_exc_layer_version_doesnotexist_negative": (
                get,
                {"LayerName": name, "VersionNumber": -1},
            ),
            "get_layer_version_exc_layer_version_doesnotexist_zero": (get, {"LayerName": name, "VersionNumber": 0}),
            "get_layer_version_exc_layer_version_doesnotexist_2": (get, {"LayerName": name, "VersionNumber": 2}),
            "get_layer_version_by_arn_exc_invalidarn": ("GetLayerVersionByArn", {"Arn": published["LayerArn"]}),
            "get_layer_version_by_arn_exc_nonexistentversion": (
                "GetLayerVersionByArn",
                {"Arn": f"{published['LayerArn']}:2"},
            ),
            "list_layers_exc_compatibleruntime_invalid": ("ListLayers", {"CompatibleRuntime": "runtimedoesnotexist"}),
            "list_layers_exc_compatiblearchitecture_invalid": (
                "ListLayers",
                {"CompatibleArchitecture": "archdoesnotexist"},
            ),
            "list_nonexistent_layer": ("ListLayerVersions", {"LayerName": missing}),
        }
    )
    delete = "DeleteLayerVersion"
    s.calls(
        {
            "delete_nonexistent_response": (delete, {"LayerName": missing, "VersionNumber": 1}),
            "delete_nonexistent_version_response": (delete, {"LayerName": name, "VersionNumber": 2}),
            "delete_layer_response": (delete, {"LayerName": name, "VersionNumber": 1}),
            "delete_layer_again_response": (delete, {"LayerName": name, "VersionNumber": 1}),
            "delete_layer_version_exc_layerversion_invalid_version": (delete, {"LayerName": name, "VersionNumber": -1}),
        }
    )


@play("TestLambdaLayer::test_layer_function_exceptions")
def of_functions(s: Script) -> None:
    name = layer(s, 1, "held")
    layers = [
        publish(s, response, name, CompatibleRuntimes=[], CompatibleArchitectures=["x86_64"])["LayerVersionArn"]
        for response in ("publish_result", "publish_result_2", "publish_result_3")
    ]
    s.created()
    s.call("get_fn_result", "GetFunction", FunctionName=s.name())
    update = "UpdateFunctionConfiguration"

    def with_layers(response: str, *arns: str) -> None:
        s.call(response, update, FunctionName=s.name(), Layers=list(arns))

    with_layers("two_layer_versions_single_function_exc", *layers[:2])
    with_layers("three_layer_versions_single_function_exc", *layers)
    with_layers("two_identical_layer_versions_single_function_exc", layers[0], layers[0])
    with_layers("add_nonexistent_layer_exc", s.arn("layer:doesnotexist:1"))
    with_layers("add_nonexistent_layer_version_exc", s.arn(f"layer:{name}:9"))
    with_layers("add_layer_arn_without_version_exc", s.arn(f"layer:{name}"))
    elsewhere = publish_elsewhere(s)
    s.create("create_function_with_layer_in_different_region", "other", Layers=[elsewhere])


def publish_elsewhere(s: Script) -> str:
    client = s.stage.client(s.account, "eu-central-1")
    answer = client.publish_layer_version(LayerName="elsewhere", Content={"ZipFile": package("elsewhere")})
    return str(answer["LayerVersionArn"])


@play("TestLambdaLayer::test_layer_function_quota_exception")
def quota(s: Script) -> None:
    arns = [publish(s, None, f"layer-{number}")["LayerVersionArn"] for number in range(6)]
    s.create("create_function_with_six_layers", Layers=arns)


@play("TestLambdaLayer::test_layer_lifecycle")
def lifecycle(s: Script) -> None:
    name = layer(s, 3, "lasting")
    s.created()
    s.call("get_fn_result", "GetFunction", FunctionName=s.name())
    s.call("get_fn_config_result", "GetFunctionConfiguration", FunctionName=s.name())
    members = {
        "CompatibleRuntimes": ["python3.12"],
        "CompatibleArchitectures": ["x86_64"],
        "Description": s.bind("<description>", "what it is"),
        "LicenseInfo": s.bind("<license-info>", "MIT"),
    }
    first = publish(s, "publish_result", name, **members)
    publish(s, "publish_result_2", name, **members)
    s.call("get_layer_ver_result", "GetLayerVersion", LayerName=name, VersionNumber=1)
    s.call("get_layer_by_arn_version", "GetLayerVersionByArn", Arn=first["LayerVersionArn"])
    s.call("list_layer_versions_predelete", "ListLayerVersions", LayerName=name)
    update = {"FunctionName": s.name(), "Layers": [first["LayerVersionArn"]]}
    s.call("update_fn_config", "UpdateFunctionConfiguration", **update)
    s.ready()
    s.call("get_fn_config", "GetFunctionConfiguration", FunctionName=s.name())
    for number in (1, 2):
        s.call(f"delete_layer_{number}", "DeleteLayerVersion", LayerName=name, VersionNumber=number)
    s.call("get_fn_config_postdelete", "GetFunctionConfiguration", FunctionName=s.name())
    s.call("list_layer_versions_postdelete", "ListLayerVersions", LayerName=name)
    publish(s, "publish_result_3", name, **members)  # the numbers go on


@play("TestLambdaLayer::test_layer_policy_exceptions")
def policy_exceptions(s: Script) -> None:
    name = layer(s, 1, "shared")
    publish(s, "publish_result", name, CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["x86_64"])
    one, two, missing = (
        {"LayerName": layer_name, "VersionNumber": number}
        for layer_name, number in ((name, 1), (name, 2), (f"{name}-doesnotexist", 1))
    )
    allow = {"Action": "lambda:GetLayerVersion", "Principal": "*", "StatementId": "s1"}
    add, remove, get = "AddLayerVersionPermission", "RemoveLayerVersionPermission", "GetLayerVersionPolicy"
    s.call("layer_permission_nopolicy_get", get, **one)
    s.call("add_layer_permission_result", add, **one, **allow)
    s.call("layer_permission_duplicate_statement", add, **one, **allow)
    s.call("layer_permission_action_invalid", add, **one, **(allow | {"StatementId": "s2", "Action": "*"}))
    s.call("layer_permission_wrong_revision", add, **one, **(allow | {"StatementId": "s3", "RevisionId": "wrong"}))
    for place, which in (("layername", missing), ("layerversion", two)):
        s.call(f"layer_permission_{place}_doesnotexist_add", add, **which, **allow)
        s.call(f"layer_permission_{place}_doesnotexist_get", get, **which)
        s.call(f"layer_permission_{place}_doesnotexist_remove", remove, **which, StatementId="s1")
    s.call("layer_permission_statementid_doesnotexist_remove", remove, **one, StatementId="doesnotexist")
    s.call("layer_permission_wrong_revision_remove", remove, **one, StatementId="s1", RevisionId="wrong")


@play("TestLambdaLayer::test_layer_policy_lifecycle")
def policy_lifecycle(s: Script) -> None:
    name = layer(s, 1, "shared")
    publish(s, "publish_result", name, CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["x86_64"])
    one = {"LayerName": name, "VersionNumber": 1}
    allow = {"Action": "lambda:GetLayerVersion", "Principal": "*"}
    first = s.call("add_policy_s1", "AddLayerVersionPermission", **one, **allow, StatementId="s1")
    s.call("get_layer_version_policy", "GetLayerVersionPolicy", **one)
    more = allow | {"StatementId": "s2", "RevisionId": first["RevisionId"]}
    second = s.call("add_policy_s2", "AddLayerVersionPermission", **one, **more)
    s.call("get_layer_version_policy_postadd2", "GetLayerVersionPolicy", **one)
    less = {"StatementId": "s2", "RevisionId": second["RevisionId"]}
    s.call("remove_s2", "RemoveLayerVersionPermission", **one, **less)
    s.call("get_layer_version_policy_postdeletes2", "GetLayerVersionPolicy", **one)
