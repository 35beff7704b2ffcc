"""Tenant isolation: each tenant of a function has execution environments that no other tenant's events reach."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support import create, invoke, tail

CODE = """
import uuid
ME, seen = uuid.uuid4().hex, []
def handler(event, context):
    seen.append(context.tenant_id)
    return {"me": ME, "seen": seen}
"""
TENANCY = {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}


def test_tenants_share_nothing_that_a_function_keeps(lambda_client: Any, name: str) -> None:
    created = create(lambda_client, name, CODE, **TENANCY)
    assert created["TenancyConfig"] == {"TenantIsolationMode": "PER_TENANT"}
    found: dict[str, list[Any]] = {}
    for tenant in ("blue", "a b/c:=+-@._1", "blue", "green", "green"):
        found.setdefault(tenant, []).append(invoke(lambda_client, name, TenantId=tenant)[0])
    assert {answer["me"] for answer in found["blue"]} == {found["blue"][0]["me"]}
    assert len({answers[0]["me"] for answers in found.values()}) == 3
    assert all(set(answer["seen"]) == {tenant} for tenant, answers in found.items() for answer in answers)
    assert len(found["green"][1]["seen"]) == 2


def test_versions_and_updates_keep_it(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, CODE, Publish=True, **TENANCY)
    lambda_client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
    first = invoke(lambda_client, f"{name}:1", TenantId="blue")[0]
    assert invoke(lambda_client, f"{name}:1", TenantId="green")[0]["me"] != first["me"]
    lambda_client.update_function_configuration(FunctionName=name, Timeout=9)
    lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
    shown = lambda_client.get_function_configuration(FunctionName=name)
    assert shown["TenancyConfig"] == TENANCY["TenancyConfig"]
    assert invoke(lambda_client, name, TenantId="blue")[0]["seen"] == ["blue"]


def test_the_tenant_stands_in_json_logs(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, CODE, LoggingConfig={"LogFormat": "JSON"}, **TENANCY)
    _, response = invoke(lambda_client, name, TenantId="blue", LogType="Tail")
    records = [json.loads(line) for line in tail(response).splitlines()]
    named = {record["type"]: record["record"].get("tenantId") for record in records if "type" in record}
    assert (named["platform.start"], named["platform.report"]) == ("blue", "blue")


def test_a_function_needs_a_tenant_or_must_not_be_given_one(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, CODE, **TENANCY)
    create(lambda_client, f"{name}-plain", CODE)
    for target, given, message in (
        (name, {}, "is enabled with tenancy configuration. Add a valid tenant ID in"),
        (f"{name}-plain", {"TenantId": "t"}, "is not enabled with tenancy configuration. Remove the tenant ID from"),
    ):
        for kind in ("RequestResponse", "DryRun"):
            with pytest.raises(ClientError) as refused:
                invoke(lambda_client, target, InvocationType=kind, **given)
            error = refused.value.response["Error"]
            assert error["Code"] == "InvalidParameterValueException"
            assert error["Message"] == f"The invoked function {message} your request and try again."
    with pytest.raises(ClientError, match="failed to satisfy constraint"):
        invoke(lambda_client, name, TenantId="semi;colon")


def test_what_cannot_name_a_tenant_is_refused(lambda_client: Any, name: str) -> None:
    with pytest.raises(ClientError, match="SnapStart is not supported for functions with tenancy"):
        create(lambda_client, name, CODE, Runtime="python3.14", SnapStart={"ApplyOn": "PublishedVersions"}, **TENANCY)
    create(lambda_client, name, CODE, Publish=True, **TENANCY)
    queue = "arn:aws:sqs:us-east-1:000000000000:queue"
    for call, what in (
        (lambda: lambda_client.create_function_url_config(FunctionName=name, AuthType="NONE"), "FunctionUrlConfig"),
        (
            lambda: lambda_client.put_provisioned_concurrency_config(
                FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
            ),
            "Provisioned Concurrency",
        ),
        (
            lambda: lambda_client.create_event_source_mapping(FunctionName=name, EventSourceArn=queue),
            "Event source mapping",
        ),
    ):
        with pytest.raises(ClientError, match=f"{what} is not supported for functions with tenancy") as refused:
            call()
        assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"
