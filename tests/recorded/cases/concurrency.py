"""Reserved and provisioned concurrency, and the account's settings."""

from __future__ import annotations

from recorded.script import Script, play


@play("TestLambdaAccountSettings::test_account_settings")
def account_settings(s: Script) -> None:
    answer = s.call(None, "GetAccountSettings")
    names = {part: sorted(answer[part]) for part in ("AccountLimit", "AccountUsage")}  # recorded without the values
    s.compare("acc_settings_modded", {**answer, **names})


@play("TestLambdaReservedConcurrency::test_function_concurrency_exceptions")
def reserved_exceptions(s: Script) -> None:
    put, missing = "PutFunctionConcurrency", s.arn("function:doesnotexist")
    not_found = "put_function_concurrency_with_function_name_doesnotexist"
    s.call(not_found, put, FunctionName="doesnotexist", ReservedConcurrentExecutions=1)
    s.call(f"{not_found}_and_invalid_concurrency", put, FunctionName=missing, ReservedConcurrentExecutions=1_000_000)
    s.created()
    qualified = f"{s.name()}:$LATEST"
    s.call("put_function_concurrency_with_qualified_arn", put, FunctionName=qualified, ReservedConcurrentExecutions=0)


@play("TestLambdaReservedConcurrency::test_function_concurrency_limits")
def reserved_limits(s: Script) -> None:
    s.bind("<min_unreserved_concurrency>", "100")
    s.created()
    fn = s.name()
    limit = s.call(None, "GetAccountSettings")["AccountLimit"]["ConcurrentExecutions"]
    for response, executions in (
        ("put_function_concurrency_account_limit_exceeded", limit + 1),
        ("put_function_concurrency_below_unreserved_min_value", limit - 99),
    ):
        s.call(response, "PutFunctionConcurrency", FunctionName=fn, ReservedConcurrentExecutions=executions)


@play("TestLambdaProvisionedConcurrency::test_provisioned_concurrency_limits")
def provisioned_limits(s: Script) -> None:
    s.bind("<min_unreserved_concurrency>", "100")
    s.bind("<unreserved_concurrency>", "1000")
    s.created(Publish=True)
    operation, version = "PutProvisionedConcurrencyConfig", {"FunctionName": s.name(), "Qualifier": "1"}
    for response, executions in (
        ("put_provisioned_concurrency_account_limit_exceeded", 1001),
        ("put_provisioned_concurrency_below_unreserved_min_value", 901),
    ):
        s.call(response, operation, **version, ProvisionedConcurrentExecutions=executions)
