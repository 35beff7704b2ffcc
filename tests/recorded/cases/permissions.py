"""The policies of functions and versions."""

from __future__ import annotations

from typing import Any

from recorded.script import Script, play

INVOKE = {"Action": "lambda:InvokeFunction"}


def for_s3(s: Script, place: int) -> dict[str, Any]:
    """What allows a bucket, that of `<resource:place>`, to invoke."""
    bucket = s.bind(f"<resource:{place}>", "bucket")
    return INVOKE | {"Principal": "s3.amazonaws.com", "SourceArn": f"arn:aws:s3:::{bucket}"}


@play("TestLambdaPermissions::test_add_lambda_permission_fields")
def fields(s: Script) -> None:
    name = str(s.bind("<resource:1>", "allowed"))
    s.bind("<resource:2>", "root")
    user = s.bind("<user_arn>", f"arn:aws:iam::{s.account}:user/somebody")
    bucket = s.bind("<resource:3>", "bucket")
    s.created(function=name)
    account = {"SourceAccount": s.account}
    url = {
        "Action": "lambda:InvokeFunctionUrl",
        "Principal": "*",
        "SourceArn": f"arn:aws:s3:::{bucket}",
        "PrincipalOrgID": "o-1234567890",
        "FunctionUrlAuthType": "NONE",
    }
    alexa = {"Principal": "*", "EventSourceToken": "amzn1.ask.skill.xxxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"}
    for response, sid, members in (
        ("add_permission_principal_wildcard", "wilcard", {"Principal": "*", **account}),
        ("add_permission_principal_service", "lambda", {"Principal": "lambda.amazonaws.com", **account}),
        ("add_permission_principal_account", "account-id", {"Principal": s.account}),
        ("add_permission_principal_arn", "user-arn", {"Principal": user, **account}),
        ("add_permission_optional_fields", "urlPermission", {**url, **account}),
        ("add_permission_alexa_skill", "alexaSkill", alexa),
    ):
        s.call(response, "AddPermission", FunctionName=name, StatementId=sid, **(INVOKE | members))


@play("TestLambdaPermissions::test_lambda_permission_versioning")
def versioning(s: Script) -> None:
    name = str(s.bind("<resource:1>", "allowed"))
    allow = {"FunctionName": name} | for_s3(s, 2)
    s.created(function=name)
    s.call("add_permission", "AddPermission", StatementId="s3", **allow)
    s.call("get_policy", "GetPolicy", FunctionName=name)
    version = s.call(None, "PublishVersion", FunctionName=name)["Version"]
    s.call("get_policy_after_publishing_latest", "GetPolicy", FunctionName=name)
    s.call("get_policy_after_publishing_new_version", "GetPolicy", FunctionName=name, Qualifier=version)
    s.call(None, "AddPermission", StatementId="s3", Qualifier=version, **allow)
    s.call("get_policy_after_adding_to_new_version", "GetPolicy", FunctionName=name)
    s.call(None, "AddPermission", StatementId="s3_2", **allow)
    s.call("get_policy_after_adding_2", "GetPolicy", FunctionName=name)


@play("TestLambdaPermissions::test_lambda_permission_revisions")
def revisions(s: Script) -> None:
    name = s.name()
    allow = {"FunctionName": name} | for_s3(s, 1)
    add, get = "AddPermission", "GetPolicy"
    s.created(Runtime="python3.8")
    s.call(None, add, StatementId="s3", **allow)
    version = s.call(None, "PublishVersion", FunctionName=name)["Version"]
    s.call(None, add, StatementId="s3_2", Qualifier=version, **allow)
    wrong = {"RevisionId": "wrong"}
    s.call("add_permission_revision_id_doesnotmatch", add, StatementId="s4", **allow, **wrong)
    s.call(None, "UpdateFunctionConfiguration", FunctionName=name, Runtime="python3.9")
    s.ready()
    s.call(None, add, StatementId="s3_2", **allow)
    s.call("get_policy_after_publish_version", get, FunctionName=name)
    s.call("get_policy_v1_after_publish_version", get, FunctionName=name, Qualifier=version)
    s.call("get_function_fn8", "GetFunction", FunctionName=name)
    first = s.call("get_function_fn8_v1", "GetFunction", FunctionName=name, Qualifier=version)
    revision = {"RevisionId": first["Configuration"]["RevisionId"]}
    s.call(None, add, StatementId="s3_3", Qualifier=version, **allow, **revision)
    s.call("get_policy_v1_after_add_permission9", get, FunctionName=name, Qualifier=version)
    s.call("get_function_fn9", "GetFunction", FunctionName=name)
    s.call("get_function_fn9_v1", "GetFunction", FunctionName=name, Qualifier=version)
    refused = {"StatementId": "s3", "RevisionId": first["Configuration"]["RevisionId"]}
    s.call("remove_permission_fn_revision_id_doesnotmatch", "RemovePermission", FunctionName=name, **refused)
