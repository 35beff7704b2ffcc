"""Cases that do not match what was recorded, and why. Everything else must, member by member.

A case that names responses is played, and all others must match; of one that names none, nothing is expected.
A case that has come to match must leave this table: the test says so.
"""

from __future__ import annotations

from typing import NamedTuple


class Exemption(NamedTuple):
    reason: str
    responses: tuple[str, ...] = ()


_NO_EC2 = "there is no EC2 here: ids of subnets and security groups are kept as given, none is looked up"
_OLDER = "recorded when answers had fewer members; the newer cases of the same operations match"
_NOTHING = "nothing was recorded: there is no answer to compare with"


def _not_built(what: str) -> str:
    return f"{what}: not built yet"


EXCEPTIONS: dict[str, Exemption] = {
    "TestLambdaFunction::test_invalid_vpc_config_security_group": Exemption(
        _NO_EC2, ("create-response-non-existent-security-group",)
    ),
    "TestLambdaFunction::test_invalid_vpc_config_subnet": Exemption(
        _NO_EC2, ("create-response-non-existent-subnet-id",)
    ),
    "TestLambdaFunction::test_function_name_and_qualifier_validation[function_name_and_qualifier_too_long-create_function]": Exemption(
        _NOTHING
    ),
    "TestLambdaFunction::test_function_name_and_qualifier_validation[qualifier_too_long1-create_function]": Exemption(
        _NOTHING
    ),
    "TestLambdaPermissions::test_lambda_permission_revisions": Exemption(
        "recorded in 2022, before functions had LoggingConfig, RuntimeVersionConfig and SnapStart",
        ("get_function_fn8", "get_function_fn8_v1", "get_function_fn9", "get_function_fn9_v1"),
    ),
    "TestLambdaPermissions::test_add_lambda_permission_optional_fields": Exemption(_NOTHING),
    "TestLambdaVersions::test_publish_with_wrong_revisionid": Exemption(
        _OLDER, ("create_response", "get_fn_response", "publish_result")
    ),
    "TestLambdaEventSourceMappings::test_create_event_source_self_managed": Exemption(
        "recorded in 2024, before mappings had an EventSourceMappingArn; those recorded later have it",
        ("event-source-mapping-default", "event-source-mapping-values"),
    ),
    "TestLambdaEventSourceMappings::test_event_source_mapping_lifecycle": Exemption(
        "nothing polls an event source yet, so no mapping is Enabled; there is no DynamoDB",
        ("get_response", "update_table_response"),
    ),
}
