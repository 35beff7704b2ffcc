"""Every operation that works, driven by the AWS CLI, and what a person reads of it.

The CLI takes half a second to start, so it runs in this process; `test_clients.py` starts it as people do.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from awscli.clidriver import create_clidriver
from botocore import xform_name

from support import RUNTIME, Server, zip_files

CODE = "def handler(event, context):\n    return 'hello ' + event['name']\n"
ROLE = "arn:aws:iam::000000000000:role/lambda-role"
ARN = "arn:aws:lambda:us-east-1:000000000000"
PROFILE = "SigningProfileVersionArns=arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/v"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "whole",
            "Effect": "Allow",
            "Principal": {"AWS": "000000000000"},
            "Action": "lambda:InvokeFunction",
            "Resource": f"{ARN}:function:f",
        }
    ],
}
# The command line behind `aws lambda`, and what its output must hold, as text. `NAME=` keeps the output as $NAME.
SCRIPT = rf"""
create-function --function-name f --runtime {RUNTIME} --role {ROLE} --handler function.handler --zip-file fileb://$zip --query State  # Pending
wait function-active-v2 --function-name f  #
get-function --function-name f --query Configuration.[FunctionName,State,LastUpdateStatus]  # f\tActive\tSuccessful
get-function-configuration --function-name f --query [Runtime,MemorySize,Timeout]  # {RUNTIME}\t128\t3
list-functions --query Functions[].FunctionName  # f
invoke --function-name f --payload {{"name":"Ada"}} $out --query [StatusCode,ExecutedVersion]  # 200\t$LATEST
invoke-async --function-name f --invoke-args $event --query Status  # 202
update-function-configuration --function-name f --timeout 9 --description second --query [Timeout,LastUpdateStatus]  # 9\tInProgress
wait function-updated-v2 --function-name f  #
update-function-code --function-name f --zip-file fileb://$zip --query LastUpdateStatus  # InProgress
wait function-updated-v2 --function-name f  #
publish-version --function-name f --description one --query [Version,Description]  # 1\tone
list-versions-by-function --function-name f --query Versions[].Version  # $LATEST\t1
create-alias --function-name f --name live --function-version 1 --query AliasArn  # {ARN}:function:f:live
update-alias --function-name f --name live --description newest --query Description  # newest
get-alias --function-name f --name live --query [Name,FunctionVersion,Description]  # live\t1\tnewest
list-aliases --function-name f --query Aliases[].Name  # live
publish-layer-version --layer-name l --zip-file fileb://$zip --compatible-runtimes {RUNTIME} --query LayerVersionArn  # {ARN}:layer:l:1
list-layers --query Layers[].LayerName  # l
list-layer-versions --layer-name l --query LayerVersions[].Version  # 1
get-layer-version --layer-name l --version-number 1 --query CompatibleRuntimes  # {RUNTIME}
get-layer-version-by-arn --arn {ARN}:layer:l:1 --query Version  # 1
add-layer-version-permission --layer-name l --version-number 1 --statement-id s --action lambda:GetLayerVersion --principal * --query Statement  # "Action":"lambda:GetLayerVersion"
get-layer-version-policy --layer-name l --version-number 1 --query Policy  # "Sid":"s"
remove-layer-version-permission --layer-name l --version-number 1 --statement-id s  #
add-permission --function-name f --statement-id s --action lambda:InvokeFunction --principal events.amazonaws.com --query Statement  # "Service":"events.amazonaws.com"
get-policy --function-name f --query Policy  # "Sid":"s"
remove-permission --function-name f --statement-id s  #
put-resource-policy --resource-arn {ARN}:function:f --policy file://$policy --query RevisionId  # -
get-resource-policy --resource-arn {ARN}:function:f --query Policy  # "Sid":"whole"
delete-resource-policy --resource-arn {ARN}:function:f  #
tag-resource --resource {ARN}:function:f --tags team=blue,cost=low  #
list-tags --resource {ARN}:function:f --query Tags.[cost,team]  # low\tblue
untag-resource --resource {ARN}:function:f --tag-keys cost  #
create-function-url-config --function-name f --auth-type NONE --query FunctionUrl  # .lambda-url.us-east-1.localhost:
update-function-url-config --function-name f --auth-type AWS_IAM --query AuthType  # AWS_IAM
get-function-url-config --function-name f --query [AuthType,InvokeMode]  # AWS_IAM\tBUFFERED
list-function-url-configs --function-name f --query FunctionUrlConfigs[].FunctionArn  # {ARN}:function:f
delete-function-url-config --function-name f  #
put-function-event-invoke-config --function-name f --maximum-retry-attempts 1 --query MaximumRetryAttempts  # 1
update-function-event-invoke-config --function-name f --maximum-event-age-in-seconds 60 --query [MaximumRetryAttempts,MaximumEventAgeInSeconds]  # 1\t60
get-function-event-invoke-config --function-name f --query FunctionArn  # {ARN}:function:f:$LATEST
list-function-event-invoke-configs --function-name f --query FunctionEventInvokeConfigs[].MaximumEventAgeInSeconds  # 60
delete-function-event-invoke-config --function-name f  #
put-function-recursion-config --function-name f --recursive-loop Allow --query RecursiveLoop  # Allow
get-function-recursion-config --function-name f --query RecursiveLoop  # Allow
put-runtime-management-config --function-name f --update-runtime-on FunctionUpdate --query UpdateRuntimeOn  # FunctionUpdate
get-runtime-management-config --function-name f --query [UpdateRuntimeOn,FunctionArn]  # FunctionUpdate\t{ARN}:function:f
put-function-concurrency --function-name f --reserved-concurrent-executions 5 --query ReservedConcurrentExecutions  # 5
get-function-concurrency --function-name f --query ReservedConcurrentExecutions  # 5
delete-function-concurrency --function-name f  #
put-provisioned-concurrency-config --function-name f --qualifier live --provisioned-concurrent-executions 1 --query Status  # IN_PROGRESS
get-provisioned-concurrency-config --function-name f --qualifier live --query RequestedProvisionedConcurrentExecutions  # 1
list-provisioned-concurrency-configs --function-name f --query ProvisionedConcurrencyConfigs[].FunctionArn  # {ARN}:function:f:live
delete-provisioned-concurrency-config --function-name f --qualifier live  #
get-account-settings --query AccountUsage.FunctionCount  # 1
signing=create-code-signing-config --allowed-publishers {PROFILE} --query CodeSigningConfig.CodeSigningConfigArn  # {ARN}:code-signing-config:csc-
update-code-signing-config --code-signing-config-arn $signing --description new --query CodeSigningConfig.Description  # new
get-code-signing-config --code-signing-config-arn $signing --query CodeSigningConfig.CodeSigningPolicies  # Warn
list-code-signing-configs --query CodeSigningConfigs[].Description  # new
put-function-code-signing-config --function-name f --code-signing-config-arn $signing --query FunctionName  # f
get-function-code-signing-config --function-name f --query CodeSigningConfigArn  # {ARN}:code-signing-config:csc-
list-functions-by-code-signing-config --code-signing-config-arn $signing --query FunctionArns  # {ARN}:function:f
delete-function-code-signing-config --function-name f  #
delete-code-signing-config --code-signing-config-arn $signing  #
mapping=create-event-source-mapping --function-name f --event-source-arn arn:aws:sqs:us-east-1:000000000000:q --query UUID  # -
get-event-source-mapping --uuid $mapping --query [State,StateTransitionReason]  # Disabled\tLambent does not poll event sources yet
list-event-source-mappings --function-name f --query EventSourceMappings[].BatchSize  # 10
update-event-source-mapping --uuid $mapping --batch-size 3 --query [State,BatchSize]  # Updating\t3
delete-event-source-mapping --uuid $mapping --query State  # Deleting
delete-alias --function-name f --name live  #
delete-layer-version --layer-name l --version-number 1  #
delete-function --function-name f  #
list-functions --query Functions  #
"""
LINE = re.compile(r"(?:(?P<keep>\w+)=)?(?P<command>.*?)  #(?P<wanted>.*)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of this module alone: it lists everything there is."""
    running = Server(tmp_path_factory.mktemp("server") / "data")
    yield running
    assert running.stop() == 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
    }.items():
        monkeypatch.setenv(name, value)
    return create_clidriver()


def working() -> set[str]:
    text = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
    return {xform_name(name, "-") for name in re.findall(r"^\| (\w+) \| works \|", text, re.MULTILINE)}


def test_the_cli_drives_every_operation_that_works(server, driver, tmp_path, capfd):
    (tmp_path / "code.zip").write_bytes(zip_files({"function.py": CODE}))
    (tmp_path / "policy.json").write_text(json.dumps(POLICY, separators=(",", ":")))
    (tmp_path / "event.json").write_text('{"name": "Ada"}')
    files = {"zip": "code.zip", "event": "event.json", "out": "out.json", "policy": "policy.json"}
    known = {name: str(tmp_path / file) for name, file in files.items()}
    commands = set(driver._get_command_table()["lambda"]._get_command_table())
    driven = set()
    for line in SCRIPT.strip().splitlines():
        keep, command, wanted = LINE.fullmatch(line).groups()
        name = command.split()[0]
        if name != "wait" and name not in working():
            continue
        driven.add(name)
        lexer = shlex.shlex(command, posix=True)
        lexer.whitespace_split, lexer.quotes, lexer.commenters = True, "", ""
        words = [re.sub(r"\$([a-z]+)", lambda match: known[match[1]], word) for word in lexer]
        status = driver.main(["lambda", *words, "--endpoint-url", server.endpoint, "--output", "text"])
        shown, problem = capfd.readouterr()
        assert (status, problem) == (0, ""), line
        assert wanted.strip().replace("\\t", "\t") in shown, line
        if not wanted.strip():
            assert shown.strip() in ("", "None", "204"), line
        if keep:
            known[keep] = shown.strip()
    assert (tmp_path / "out.json").read_text() == '"hello Ada"'
    assert driven - {"wait"} == working() & commands
