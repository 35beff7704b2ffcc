"""Versions and aliases, invoked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import botocore.exceptions
import pytest

from support import ROLE, RUNTIME, Server, create, invoke, zip_files

CODE = """
def handler(event, context):
    return {{"word": {word!r}, "version": context.function_version, "arn": context.invoked_function_arn}}
"""


def two_versions(client: Any, name: str) -> None:
    """Version 1 says one, version 2 says two, $LATEST says three."""
    create(client, name, CODE.format(word="one"), Publish=True)
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
    for word in ("two", "three"):
        client.update_function_code(FunctionName=name, ZipFile=zip_files({"function.py": CODE.format(word=word)}))
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        if word == "two":
            client.publish_version(FunctionName=name)


def test_each_qualifier_runs_its_own_code(lambda_client: Any, name: str) -> None:
    two_versions(lambda_client, name)
    lambda_client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    arn = lambda_client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    for target, qualifier, word, version in (
        (name, None, "three", "$LATEST"),
        (name, "$LATEST", "three", "$LATEST"),
        (name, "1", "one", "1"),
        (f"{name}:2", None, "two", "2"),
        (name, "live", "one", "1"),
        (f"{arn}:live", None, "one", "1"),
        (f"{arn}:live", "live", "one", "1"),
    ):
        given = {"Qualifier": qualifier} if qualifier else {}
        answer, response = invoke(lambda_client, target, **given)
        shown = qualifier or target.removeprefix(arn).removeprefix(name).lstrip(":")
        assert answer == {"word": word, "version": version, "arn": f"{arn}:{shown}" if shown else arn}
        assert response["ExecutedVersion"] == version
    lambda_client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert invoke(lambda_client, name, Qualifier="live")[0]["word"] == "two"
    with pytest.raises(botocore.exceptions.ClientError, match=rf"Function not found: {arn}:missing"):
        invoke(lambda_client, name, Qualifier="missing")


def test_weights_split_what_is_invoked(lambda_client: Any, name: str) -> None:
    two_versions(lambda_client, name)
    routing = {"AdditionalVersionWeights": {"2": 0.3}}
    lambda_client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=routing)
    count = 300
    answers = [invoke(lambda_client, name, Qualifier="live") for _ in range(count)]
    assert all(answer["version"] == response["ExecutedVersion"] for answer, response in answers)
    found = Counter(response["ExecutedVersion"] for _, response in answers)
    deviation = (count * 0.3 * 0.7) ** 0.5
    assert abs(found["2"] - count * 0.3) < 6 * deviation  # fails once in a billion runs
    assert set(found) == {"1", "2"}


def test_a_deleted_version_runs_no_more_and_the_others_do(lambda_client: Any, name: str) -> None:
    two_versions(lambda_client, name)
    invoke(lambda_client, name, Qualifier="1")
    lambda_client.delete_function(FunctionName=name, Qualifier="1")
    with pytest.raises(botocore.exceptions.ClientError, match="Function not found"):
        invoke(lambda_client, name, Qualifier="1")
    assert invoke(lambda_client, name, Qualifier="2")[0]["word"] == "two"


def test_versions_and_aliases_survive_kill(tmp_path: Any, name: str) -> None:
    server = Server(tmp_path / "data")
    client = server.client()
    two_versions(client, name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="2")
    client.delete_function(FunctionName=name, Qualifier="1")
    server.kill()
    server = Server(tmp_path / "data")
    try:
        client = server.client()
        assert invoke(client, name, Qualifier="live")[0]["word"] == "two"
        client.update_function_configuration(FunctionName=name, Description="changed")
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        assert client.publish_version(FunctionName=name)["Version"] == "3"
        client.delete_function(FunctionName=name)
        code = {"ZipFile": zip_files({"function.py": CODE.format(word="new")})}
        made = {"Runtime": RUNTIME, "Role": ROLE, "Handler": "function.handler", "Code": code}
        assert client.create_function(FunctionName=name, Publish=True, **made)["Version"] == "4"
    finally:
        server.stop()
