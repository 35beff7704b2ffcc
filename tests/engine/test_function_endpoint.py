"""Functions use AWS's SDKs as they are, and reach this server as their execution role."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from sdk import boto3_layer
from support import ROLE, RUNTIMES, Server, create, deploy, invoke, needs, zip_files

CALLS = """
import boto3, json, os
def handler(event, context):
    if event == "who":
        return boto3.client("sts").get_caller_identity()["Arn"]
    kms, logs, functions = boto3.client("kms"), boto3.client("logs"), boto3.client("lambda")
    meant = {"LambdaFunctionName": os.environ["AWS_LAMBDA_FUNCTION_NAME"]}  # as the console's helpers encrypt variables
    sealed = kms.encrypt(KeyId=event["key"], Plaintext=b"secret", EncryptionContext=meant)["CiphertextBlob"]
    group, stream = "/mine", context.aws_request_id
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[{"timestamp": event["now"], "message": "hello"}])
    other = functions.invoke(FunctionName=context.function_name, Payload=json.dumps("who"))
    return {
        "who": boto3.client("sts").get_caller_identity()["Arn"],
        "plain": kms.decrypt(CiphertextBlob=sealed, EncryptionContext=meant)["Plaintext"].decode(),
        "logged": [one["message"] for one in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]],
        "invoked": json.loads(other["Payload"].read()),
        "region": kms.meta.region_name,
    }
"""
LOOK = "import os\ndef handler(event, context):\n    return os.environ.get('AWS_ENDPOINT_URL')\n"


@pytest.fixture
def boto3(lambda_client: Any) -> str:
    layer = {"ZipFile": boto3_layer("sts", "kms", "logs", "lambda")}
    return str(lambda_client.publish_layer_version(LayerName="boto3", Content=layer)["LayerVersionArn"])


@pytest.mark.isolations
def test_boto3_calls_our_services_as_the_role(server: Server, lambda_client: Any, name: str, boto3: str) -> None:
    key = server.client("kms").create_key()["KeyMetadata"]["KeyId"]
    logs = server.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix="/mine")["logGroups"]:
        logs.create_log_group(logGroupName="/mine")
    create(lambda_client, name, CALLS, Layers=[boto3], Timeout=60, MemorySize=512)
    now = time.time_ns() // 1_000_000
    found, response = invoke(lambda_client, name, {"key": key, "now": now})
    role = ROLE.rpartition("/")[2]
    who = f"arn:aws:sts::000000000000:assumed-role/{role}/{name}"
    assert found == {"who": who, "plain": "secret", "logged": ["hello"], "invoked": who, "region": "us-east-1"}, (
        response
    )


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_python_brings_boto3_and_the_function_s_own_wins(lambda_client: Any, name: str, version: str) -> None:
    needs(f"python{version}")
    code = "import boto3\ndef handler(event, context):\n    return boto3.__file__, boto3.client('sts').get_caller_identity()['Account']"
    deploy(lambda_client, name, f"python{version}", zip_files({"index.py": code}), Timeout=60, MemorySize=512)
    assert invoke(lambda_client, name)[0] == ["/var/runtime/boto3/__init__.py", "000000000000"]
    code = "import boto3\ndef handler(event, context):\n    return boto3.__file__"
    own = zip_files({"index.py": code, "boto3.py": ""})
    lambda_client.update_function_code(FunctionName=name, ZipFile=own)
    lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert invoke(lambda_client, name)[0] == "/var/task/boto3.py"


def test_what_the_function_says_of_its_endpoint_wins(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, LOOK, Environment={"Variables": {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}})
    assert invoke(lambda_client, name)[0] == "http://127.0.0.1:1"


def test_it_has_the_port_of_the_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(tmp_path / "data", "--runtimes-dir", str(RUNTIMES), "--port", str(port))
    try:
        create(server.client(), "looks", LOOK)
        assert invoke(server.client(), "looks")[0] == server.endpoint
    finally:
        assert server.stop() == 0


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    code = LOOK.replace(
        "    return", "    import socket\n    s = socket.socket()\n    return s.connect_ex(('127.0.0.1', 4566)),"
    )
    server = Server(tmp_path / "data", "--runtimes-dir", str(RUNTIMES), "--function-endpoint", "off")
    try:
        create(server.client(), "closed", code)
        refused, endpoint = invoke(server.client(), "closed")[0]
        assert refused == 111, "ECONNREFUSED"
        assert endpoint is None
    finally:
        assert server.stop() == 0


def test_a_link_to_code_works_where_it_was_asked_for(lambda_client: Any, name: str) -> None:
    code = """
import json, os, urllib.request
def handler(event, context):
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    found = json.load(urllib.request.urlopen(f"{endpoint}/2015-03-31/functions/{context.function_name}"))
    return len(urllib.request.urlopen(found["Code"]["Location"]).read()), found["Configuration"]["CodeSize"]
"""
    create(lambda_client, name, code)
    fetched, size = invoke(lambda_client, name)[0]
    assert fetched == size > 0


def test_a_connection_survives_the_freeze_between_invocations(lambda_client: Any, name: str) -> None:
    code = """
import http.client
there = http.client.HTTPConnection("127.0.0.1", 4566)
def handler(event, context):
    there.request("GET", "/2015-03-31/functions")
    answer = there.getresponse()
    answer.read()
    return answer.status, there.sock.getsockname()[1]
"""
    create(lambda_client, name, code)
    first = invoke(lambda_client, name)[0]
    time.sleep(0.2)  # frozen after 50 ms without an event
    assert invoke(lambda_client, name)[0] == first
    assert first[0] == 200


def test_a_function_from_another_account_is_another_caller(server: Server, name: str) -> None:
    client = server.client(account="333333333333")
    layer = {"ZipFile": boto3_layer("sts", "kms", "logs", "lambda")}
    arn = client.publish_layer_version(LayerName="boto3", Content=layer)["LayerVersionArn"]
    code = """
import boto3
def handler(event, context):
    return boto3.client("sts").get_caller_identity()["Account"], len(boto3.client("lambda").list_functions()["Functions"])
"""
    role = "arn:aws:iam::333333333333:role/r"
    create(client, name, code, Layers=[arn], Timeout=60, MemorySize=512, Role=role)
    assert invoke(client, name)[0] == ["333333333333", 1]


def test_a_role_that_does_not_trust_lambda_is_refused(server: Server, lambda_client: Any, name: str) -> None:
    iam = server.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = {"Version": "2012-10-17", "Statement": [trust]}
    role = iam.create_role(RoleName=name[-60:], AssumeRolePolicyDocument=json.dumps(document))["Role"]
    with pytest.raises(lambda_client.exceptions.InvalidParameterValueException, match="cannot be assumed by Lambda"):
        create(lambda_client, name, LOOK, Role=role["Arn"])
    trust["Principal"] = {"Service": "lambda.amazonaws.com"}
    iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=json.dumps(document))
    create(lambda_client, name, LOOK, Role=role["Arn"])


def test_the_session_of_a_function_whose_name_has_one_letter(server: Server, boto3: str) -> None:
    code = "import boto3\ndef handler(event, context):\n    return boto3.client('sts').get_caller_identity()['Arn']\n"
    create(server.client(), "f", code, Layers=[boto3], Timeout=60, MemorySize=512)
    assert invoke(server.client(), "f")[0].endswith(":assumed-role/lambda-role/f@lambda_function")


def test_a_restored_function_asks_for_its_credentials(lambda_client: Any, name: str, boto3: str) -> None:
    """botocore reads AWS_CONTAINER_CREDENTIALS_FULL_URI by itself."""
    needs("python3.12")
    code = """
import boto3, os
sts = boto3.client("sts")
BEFORE = sts.get_caller_identity()["Arn"]
def handler(event, context):
    return BEFORE, sts.get_caller_identity()["Arn"], "AWS_ACCESS_KEY_ID" in os.environ
"""
    snap_start = {"ApplyOn": "PublishedVersions"}
    create(lambda_client, name, code, Runtime="python3.12", Layers=[boto3], MemorySize=512, SnapStart=snap_start)
    version = lambda_client.publish_version(FunctionName=name)["Version"]
    lambda_client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
    before, after, in_variables = invoke(lambda_client, name, Qualifier=version)[0]
    assert before == after == f"arn:aws:sts::000000000000:assumed-role/lambda-role/{name}"
    assert not in_variables
