"""Versions."""

from __future__ import annotations

from typing import Any

from recorded.script import Script, cases, package, play

PLAIN: dict[str, Any] = {"Environment": None, "Timeout": 3, "Handler": "index.handler"}


@play("TestLambdaVersions::test_publish_version_on_create")
def publish_on_create(s: Script) -> None:
    fn = {"FunctionName": s.name()}
    s.created("create_response", Publish=True, **PLAIN)
    s.calls(
        {
            "get_function_version_result": ("GetFunction", {**fn, "Qualifier": "1"}),
            "list_versions_result": ("ListVersionsByFunction", fn),
            "get_function_latest_result": ("GetFunction", {**fn, "Qualifier": "$LATEST"}),
            "get_function_result": ("GetFunction", fn),
        }
    )
    s.call("repeated_publish_response", "PublishVersion", **fn)
    s.call("list_versions_result_after_publish", "ListVersionsByFunction", **fn)


@play("TestLambdaVersions::test_publish_with_update")
def publish_with_update(s: Script) -> None:
    fn = {"FunctionName": s.name()}
    s.created("create_response", **PLAIN)
    s.call("get_function_result", "GetFunction", **fn)
    s.call("update_function_code_result", "UpdateFunctionCode", **fn, ZipFile=package("def handler(): 1"), Publish=True)
    s.call("get_function_version_result", "GetFunction", **fn, Qualifier="1")
    s.call("get_function_latest_result", "GetFunction", **fn, Qualifier="$LATEST")


@play("TestLambdaVersions::test_publish_with_wrong_revisionid")
def publish_with_wrong_revision(s: Script) -> None:
    fn = {"FunctionName": s.name()}
    s.created("create_response", **PLAIN, Runtime="python3.9")
    found = s.call("get_fn_response", "GetFunction", **fn)
    s.call("publish_wrong_revisionid_exc", "PublishVersion", **fn, RevisionId="12345678-1234-1234-1234-123456789012")
    s.call("publish_result", "PublishVersion", **fn, RevisionId=found["Configuration"]["RevisionId"])


@play("TestLambdaVersions::test_publish_with_wrong_sha256")
def publish_with_wrong_sha256(s: Script) -> None:
    fn = {"FunctionName": s.name()}
    s.created("create_response", **PLAIN)
    found = s.call("get_fn_response", "GetFunction", **fn)
    s.call("publish_wrong_sha256_exc", "PublishVersion", **fn, CodeSha256="somenonexistentsha256")
    s.call("publish_result", "PublishVersion", **fn, CodeSha256=found["Configuration"]["CodeSha256"])


@play("TestLambdaVersions::test_version_lifecycle")
def lifecycle(s: Script) -> None:
    fn = {"FunctionName": s.name()}
    first = {**fn, "Qualifier": "1"}
    s.created("create_response", **PLAIN, Description="No version :(")
    s.call("get_function_result", "GetFunction", **fn)
    s.call("list_versions_result", "ListVersionsByFunction", **fn)
    s.call("first_update_response", "UpdateFunctionConfiguration", **fn, Description="First version :)")
    s.ready()
    s.call("first_update_get_function", "GetFunction", **fn)
    s.call("first_publish_response", "PublishVersion", **fn, Description="First version description :)")
    s.call("first_publish_get_function", "GetFunction", **first)
    s.call("first_publish_get_function_config", "GetFunctionConfiguration", **first)
    s.call("second_update_response", "UpdateFunctionConfiguration", **fn, Description="Second version :))")
    s.ready()
    s.call("first_publish_get_function_after_update", "GetFunction", **first)
    s.call("second_publish_response", "PublishVersion", **fn)
    s.call("third_publish_response", "PublishVersion", **fn, Description="Third version description :)))")
    s.call("list_versions_result_after_third_publish", "ListVersionsByFunction", **fn)
    s.call(None, "DeleteFunction", **first)
    s.call("list_versions_result_after_deletion_of_first_version", "ListVersionsByFunction", **fn)


@play("TestLambdaRevisions::test_function_revisions_version_and_alias")
def revisions(s: Script) -> None:
    fn = {"FunctionName": s.name()}
    first = s.create("create_function_response_rev1")
    s.ready()
    second = s.call("get_function_active_rev2", "GetFunction", **fn)["Configuration"]
    s.call("publish_version_revision_exception", "PublishVersion", **fn, RevisionId=first["RevisionId"])
    published = s.call("publish_version_response_rev_v1", "PublishVersion", **fn, RevisionId=second["RevisionId"])
    version = {**fn, "Qualifier": published["Version"]}
    s.call("get_function_published_version_rev_v2", "GetFunction", **version)
    s.call("get_function_latest_rev3", "GetFunction", **fn)
    alias = {**fn, "Name": "revision_alias"}
    made = s.call("create_alias_response_rev_a1", "CreateAlias", **alias, FunctionVersion="1")
    s.call("get_function_published_version_rev_v3", "GetFunction", **version)
    s.call("get_function_latest_rev4", "GetFunction", **fn)
    update = {**alias, "Description": "something changed"}
    s.call("update_alias_revision_exception", "UpdateAlias", **update, RevisionId="wrong")
    s.call("update_alias_response_rev_a2", "UpdateAlias", **update, RevisionId=made["RevisionId"])


@play(*(name for name in cases() if name.startswith("TestLambdaSnapStart::test_snapstart_lifecycle")))
def snap_start(s: Script) -> None:
    fn = {"FunctionName": s.name()}
    handler = s.case.responses["create_function_response"]["Handler"]
    settings: dict[str, Any] = {"Runtime": s.case.variant, "MemorySize": 1024, "Timeout": 5, "Environment": None}
    s.created("create_function_response", Handler=handler, **settings)
    s.call("get_function_response_latest", "GetFunction", **fn)
    s.call(None, "PublishVersion", **fn, Description="version1")
    s.call("get_function_response_version_1", "GetFunction", **fn, Qualifier="1")
