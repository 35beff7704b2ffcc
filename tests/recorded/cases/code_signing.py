"""Code signing configurations."""

from __future__ import annotations

from typing import Any

from recorded.script import Script, play


def _create(s: Script) -> str:
    answer = s.call(
        "create_code_signing_config",
        "CreateCodeSigningConfig",
        Description="Testing CodeSigning Config",
        AllowedPublishers={"SigningProfileVersionArns": [s.arn("/signing-profiles/test", "signer")]},
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
    )
    return str(answer["CodeSigningConfig"]["CodeSigningConfigArn"])


@play("TestCodeSigningConfig::test_function_code_signing_config")
def lifecycle(s: Script) -> None:
    name = s.created()["FunctionName"]
    arn = _create(s)
    warn = {"UntrustedArtifactOnDeployment": "Warn"}
    s.call("update_code_signing_config", "UpdateCodeSigningConfig", CodeSigningConfigArn=arn, CodeSigningPolicies=warn)
    s.call("get_code_signing_config", "GetCodeSigningConfig", CodeSigningConfigArn=arn)
    put = {"CodeSigningConfigArn": arn, "FunctionName": name}
    s.call("put_function_code_signing_config", "PutFunctionCodeSigningConfig", **put)
    s.call("get_function_code_signing_config", "GetFunctionCodeSigningConfig", FunctionName=name)
    listed = s.call(None, "ListCodeSigningConfigs")
    s.compare("list_code_signing_configs", listed["CodeSigningConfigs"][0])
    s.call("list_functions_by_code_signing_config", "ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=arn)
    s.call("delete_function_code_signing_config", "DeleteFunctionCodeSigningConfig", FunctionName=name)
    s.call("delete_code_signing_config", "DeleteCodeSigningConfig", CodeSigningConfigArn=arn)


@play("TestCodeSigningConfig::test_code_signing_not_found_excs")
def not_found(s: Script) -> None:
    name = s.created()["FunctionName"]
    arn, missing = _create(s), "csc-test-doesnotexist"
    bad = s.bind("<csc_arn_invalid>", arn[:-1] + ("x" if arn[-1] != "x" else "y"))
    listing, put = "ListFunctionsByCodeSigningConfig", "PutFunctionCodeSigningConfig"

    def of(code_signing_config: str) -> dict[str, Any]:
        return {"CodeSigningConfigArn": code_signing_config}

    s.calls(
        {
            "delete_csc_notfound": ("DeleteCodeSigningConfig", of(bad)),
            "nothing_to_delete_response": ("DeleteFunctionCodeSigningConfig", {"FunctionName": name}),
            "delete_function_csc_fnnotfound": ("DeleteFunctionCodeSigningConfig", {"FunctionName": missing}),
            "put_function_csc_invalid_fnname": (put, {"FunctionName": missing, **of(arn)}),
            "put_function_csc_invalid_csc_arn": (put, {"FunctionName": name, **of(bad)}),
            "put_function_csc_invalid_both": (put, {"FunctionName": missing, **of(bad)}),
            "update_csc_invalid_csc_arn": ("UpdateCodeSigningConfig", {**of(bad), "Description": "new"}),
            "update_csc_noupdates": ("UpdateCodeSigningConfig", of(bad)),
            "update_csc_noupdate_response": ("UpdateCodeSigningConfig", of(arn)),
            "get_csc_invalid": ("GetCodeSigningConfig", of(bad)),
            "get_function_csc_fnwithoutcsc": ("GetFunctionCodeSigningConfig", {"FunctionName": name}),
            "get_function_csc_nonexistingfn": ("GetFunctionCodeSigningConfig", {"FunctionName": missing}),
            "list_functions_by_csc_fnwithoutcsc": (listing, of(arn)),
            "list_functions_by_csc_invalid_cscarn": (listing, of(bad)),
        }
    )
