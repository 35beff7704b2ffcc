"""Functions from their creation to their end."""

from __future__ import annotations

from recorded.script import Script, package, play


@play("TestLambdaFunction::test_function_lifecycle")
def lifecycle(s: Script) -> None:
    name = s.name()
    s.created("create_response", Timeout=5, MemorySize=256)
    s.call("get_function_response", "GetFunction", FunctionName=name)
    s.call(
        "update_func_conf_response",
        "UpdateFunctionConfiguration",
        FunctionName=name,
        Runtime="python3.11",
        Description="Changed-Description",
        MemorySize=512,
        Timeout=10,
        Environment={"Variables": {"ENV_A": "a"}},
    )
    s.ready()
    s.call("get_function_response_postupdate", "GetFunction", FunctionName=name)
    s.call("update_code_response", "UpdateFunctionCode", FunctionName=name, ZipFile=package("other"))
    s.ready()
    s.call("get_function_response_postcodeupdate", "GetFunction", FunctionName=name)
    s.call("delete_response", "DeleteFunction", FunctionName=name)
    s.call("delete_postdelete", "DeleteFunction", FunctionName=name)


@play("TestLambdaFunction::test_function_arns")
def function_arns(s: Script) -> None:
    s.create("create-function-arn-response", s.arn(f"function:{s.name()}"))
    second = f"{s.account}:function:{s.name(2)}"
    s.create("create-function-partial-arn-response", second, Code={"ZipFile": package("another")})
    s.create("function_arn_other_account_exc", f"arn:aws:lambda:{s.region}:222222222222:function:f")
    s.create("function_arn_other_region_exc", f"arn:aws:lambda:ap-southeast-1:{s.account}:function:f")
    s.create("long_function_name_exc", "a" * 65)
    s.create("long_function_arn_exc", f"arn:aws:lambda:{s.region}:{s.account}:function:{'a' * 140}")
    s.create("invalid_function_name_exc", "invalid:function:name")


@play("TestLambdaFunction::test_lambda_code_location_zipfile")
def code_location(s: Script) -> None:
    name = s.name()
    s.created("create-response-zip-file", Handler="index.handler", Environment=None, Timeout=None)
    s.call("get-function-response", "GetFunction", FunctionName=name)
    s.call("update-function-response", "UpdateFunctionCode", FunctionName=name, ZipFile=package("new"))
    s.call("get-function-response-updated", "GetFunction", FunctionName=name)


@play("TestLambdaFunction::test_lambda_code_location_s3")
def code_in_s3(s: Script) -> None:
    name = s.name()
    s.stage.put_object("packages", "one.zip", package())
    s.stage.put_object("packages", "two.zip", package("new"))
    code = {"S3Bucket": "packages", "S3Key": "one.zip"}
    s.created("create_response_s3", Code=code, Handler="index.handler", Environment=None, Timeout=None)
    s.call("get-function-response", "GetFunction", FunctionName=name)
    s.call("update-function-response", "UpdateFunctionCode", FunctionName=name, S3Bucket="packages", S3Key="two.zip")
    s.call("get-function-response-updated", "GetFunction", FunctionName=name)


@play("TestLambdaFunction::test_lambda_code_location_s3_errors")
def code_that_is_not_in_s3(s: Script) -> None:
    s.stage.put_object("packages", "one.zip", package())
    nowhere = {"S3Bucket": "there-is-no-such-bucket", "S3Key": "one.zip"}
    missing = {"S3Bucket": "packages", "S3Key": "missing.zip"}
    s.create("create-error-wrong-bucket", Code=nowhere)
    s.create("create-error-wrong-key", Code=missing)
    s.created(None, Code={"S3Bucket": "packages", "S3Key": "one.zip"})
    s.call("update-error-wrong-bucket", "UpdateFunctionCode", FunctionName=s.name(), **nowhere)
    s.call("update-error-wrong-key", "UpdateFunctionCode", FunctionName=s.name(), **missing)


@play("TestLambdaFunction::test_redundant_updates")
def redundant_updates(s: Script) -> None:
    name, update = s.name(), {"Description": "1st update description"}
    s.created("create_response", Description="Initial description")
    s.call("first_update_result", "UpdateFunctionConfiguration", FunctionName=name, **update)
    s.ready()
    s.call("get_fn_config_result", "GetFunctionConfiguration", FunctionName=name)
    s.call("get_fn_result", "GetFunction", FunctionName=name)
    s.call("redundant_update_result", "UpdateFunctionConfiguration", FunctionName=name, **update)
    s.ready()
    s.call("get_fn_result_after_redundant_update", "GetFunction", FunctionName=name)


@play("TestLambdaFunction::test_lambda_concurrent_config_updates")
def concurrent_updates(s: Script) -> None:
    s.created("create-function-response")
    s.call(None, "UpdateFunctionConfiguration", FunctionName=s.name(), Timeout=10)
    s.call("update-during-in-progress-update-exc", "UpdateFunctionConfiguration", FunctionName=s.name(), Timeout=20)


@play("TestLambdaFunction::test_delete_on_nonexisting_version")
def delete_nonexisting_version(s: Script) -> None:
    s.created()
    assert s.call(None, "DeleteFunction", FunctionName=s.name(), Qualifier="1221")["StatusCode"] == 204
    missing = s.bind("<nonexisting-fn-name>", "missing")
    s.call("delete_function_response_non_existent", "DeleteFunction", FunctionName=missing)
    unknown = "delete_function_response_non_existent_with_qualifier"
    s.call(unknown, "DeleteFunction", FunctionName=missing, Qualifier="1221")


@play("TestLambdaFunction::test_ops_with_arn_qualifier_mismatch[delete_function]")
def qualifier_mismatch(s: Script) -> None:
    s.created()
    arn = s.arn(f"function:{s.name()}:$LATEST")
    s.call("not_match_exception", "DeleteFunction", FunctionName=arn, Qualifier="1")
    s.call("match_exception", "DeleteFunction", FunctionName=arn, Qualifier="$LATEST")


@play("TestLambdaFunction::test_ops_on_nonexisting_version[get_function]")
def nonexisting_version(s: Script) -> None:
    s.created()
    s.call("version_not_found_exception", "GetFunction", FunctionName=s.name(), Qualifier="1221")


@play("TestLambdaFunction::test_list_functions")
def list_functions(s: Script) -> None:
    s.created("create_response_1", Publish=True)
    s.created("create_response_2", s.name(2), Code={"ZipFile": package("second")})
    s.call("list_functions_invalid_functionversion", "ListFunctions", FunctionVersion="invalid")
    s.call("list_all", "ListFunctions", FunctionVersion="ALL")
    s.call("list_default", "ListFunctions")


@play("TestLambdaImages::test_lambda_zip_file_to_image")
def zip_to_image(s: Script) -> None:
    name = s.name()
    s.created("create-image-response", Environment=None, Timeout=None)
    s.call("get-function-code-response", "GetFunction", FunctionName=name)
    s.call("get-function-config-response", "GetFunctionConfiguration", FunctionName=name)
    s.call("zipfile-to-image-error", "UpdateFunctionCode", FunctionName=name, ImageUri="registry/image:tag")
    s.call("get-function-code-response-after-update", "GetFunction", FunctionName=name)
    s.call("get-function-config-response-after-update", "GetFunctionConfiguration", FunctionName=name)


@play("TestLambdaRevisions::test_function_revisions_basic")
def revisions(s: Script) -> None:
    name = s.name()
    first = s.created("create_function_response_rev1", Handler="index.handler")
    second = s.call("get_function_response_rev2", "GetFunction", FunctionName=name)
    update = {"FunctionName": name, "ZipFile": package()}
    s.call("update_function_revision_exception", "UpdateFunctionCode", **update, RevisionId=first["RevisionId"])
    revision = second["Configuration"]["RevisionId"]
    third = s.call("update_function_code_response_rev3", "UpdateFunctionCode", **update, RevisionId=revision)
    s.ready()
    fourth = s.call("get_function_response_rev4", "GetFunction", FunctionName=name)
    operation, update = "UpdateFunctionConfiguration", {"FunctionName": name, "Runtime": "python3.8"}
    wrong = "update_function_configuration_revision_exception"
    s.call(wrong, operation, **update, RevisionId=third["RevisionId"])
    revision = fourth["Configuration"]["RevisionId"]
    s.call("update_function_configuration_response_rev5", operation, **update, RevisionId=revision)
    s.ready()
    s.call("get_function_response_rev6", "GetFunction", FunctionName=name)
