"""SnapStart."""

from __future__ import annotations

from recorded.script import Script, cases, play


@play(*(name for name in cases() if name.startswith("TestLambdaSnapStart::test_snapstart_update_function_config")))
def update_configuration(s: Script) -> None:
    settings = {"Runtime": s.case.variant, "MemorySize": 1024, "Timeout": 5, "Environment": None}
    s.created("create_function_response", Handler=s.case.responses["create_function_response"]["Handler"], **settings)
    apply = {"ApplyOn": "PublishedVersions"}
    s.call("update_function_response", "UpdateFunctionConfiguration", FunctionName=s.name(), SnapStart=apply)
