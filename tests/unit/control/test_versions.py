"""Versions: published, listed, deleted, and a model of AWS's rules that random sequences are held against."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent.wire.errors import AwsError

from .lab import ACCOUNT, REGION, Lab, key_of, make_zip

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"


async def active(lab: Lab, **members: Any) -> None:
    await lab.create("f", **members)
    await lab.ready("f")


async def change(lab: Lab, description: str) -> None:
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", Description=description)
    await lab.ready("f")


async def publish(lab: Lab, **members: Any) -> str:
    return (await lab.call("PublishVersion", FunctionName="f", **members))["Version"]


async def test_numbers_are_never_used_again_not_even_for_a_new_function_of_that_name(lab):
    await active(lab)
    assert await publish(lab) == "1"
    await lab.call("DeleteFunction", FunctionName="f", Qualifier="1")
    assert await publish(lab) == "2"
    await lab.call("DeleteFunction", FunctionName="f")
    await active(lab)
    assert await publish(lab) == "3"


async def test_a_version_is_immutable_and_served_beside_latest(lab):
    await active(lab, Environment={"Variables": {"AA": "1"}})
    await publish(lab)
    before = await lab.call("GetFunctionConfiguration", FunctionName="f", Qualifier="1")
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", Environment={"Variables": {"AA": "2"}})
    await lab.ready("f")
    await lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=make_zip("other"))
    await lab.ready("f")
    assert await lab.call("GetFunctionConfiguration", FunctionName="f", Qualifier="1") == before
    assert await lab.secrets.open(lab.store.serving(key_of("f"), "1")) == {"AA": "1"}
    assert await lab.secrets.open(lab.store.serving(key_of("f"))) == {"AA": "2"}


@pytest.mark.parametrize("operation", ["UpdateFunctionConfiguration", "UpdateFunctionCode", "PublishVersion"])
async def test_a_version_cannot_be_changed(lab, operation):
    await active(lab)
    await publish(lab)
    code = {"ZipFile": make_zip()} if operation == "UpdateFunctionCode" else {}
    error = await lab.refusal(operation, FunctionName=f"{ARN}:1", **code)
    assert error.code == "InvalidParameterValueException"
    assert error.message.startswith("This operation is permitted on Lambda functions only.")


@pytest.mark.parametrize(
    ("name", "qualifier", "arn"),
    [
        ("f", "1", f"{ARN}:1"),
        ("f:1", None, f"{ARN}:1"),
        (f"{ACCOUNT}:function:f", "1", f"{ARN}:1"),
        (f"{ACCOUNT}:function:f:1", "1", f"{ARN}:1"),
        (ARN, "$LATEST", f"{ARN}:$LATEST"),
        (f"{ARN}:live", None, f"{ARN}:live"),
        ("f", None, ARN),
    ],
)
async def test_every_form_of_name_and_qualifier(lab, name, qualifier, arn):
    await active(lab)
    await publish(lab)
    await lab.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    given = {"Qualifier": qualifier} if qualifier else {}
    shown = await lab.call("GetFunctionConfiguration", FunctionName=name, **given)
    assert shown["FunctionArn"] == arn
    assert shown["Version"] == ("1" if arn.endswith((":1", ":live")) else "$LATEST")


@pytest.mark.parametrize(
    "operation",
    ["GetFunction", "GetFunctionConfiguration", "DeleteFunction", "GetProvisionedConcurrencyConfig"],
)
async def test_two_different_qualifiers_are_refused(lab, operation):
    if lab.operations.find("lambda", operation) is None:
        pytest.skip("not built yet")
    await active(lab)
    error = await lab.refusal(operation, FunctionName="f:2", Qualifier="1")
    assert error.message == "The derived qualifier from the function name does not match the specified qualifier."


async def test_a_failed_function_cannot_be_published(lab):
    await lab.create("f")
    await lab.ready("f", ("InvalidRuntime", "no"))
    error = await lab.refusal("PublishVersion", FunctionName="f")
    assert error.code == "ResourceConflictException"
    assert error.message.endswith("The function is currently in the following state: Failed")


async def test_what_is_under_way_cannot_be_published(lab):
    await lab.create("f")
    assert (await lab.refusal("PublishVersion", FunctionName="f")).message.endswith("state: Pending")
    await lab.ready("f")
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=5)
    error = await lab.refusal("PublishVersion", FunctionName="f")
    assert error.message.endswith(f"An update is in progress for resource: {ARN}")


async def test_after_a_failed_update_the_settings_shown_are_published_and_prepared_again(lab):
    await active(lab)
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=5)
    await lab.ready("f", ("InvalidRuntime", "no"))
    made = await lab.call("PublishVersion", FunctionName="f")
    assert (made["State"], made["Timeout"]) == ("Pending", 5)
    await lab.ready("f")
    assert lab.store.serving(key_of("f"), "1").timeout == 5


async def test_with_snap_start_a_version_waits_for_the_engine_and_latest_does_not(lab):
    await active(lab, SnapStart={"ApplyOn": "PublishedVersions"})
    made = await lab.call("PublishVersion", FunctionName="f")
    assert (made["State"], made["SnapStart"]["OptimizationStatus"]) == ("Pending", "On")
    assert lab.store.serving(key_of("f"), "1") is None
    await lab.ready("f")
    shown = await lab.call("GetFunctionConfiguration", FunctionName="f", Qualifier="1")
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
    latest = await lab.call("GetFunctionConfiguration", FunctionName="f")
    assert latest["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}


async def test_the_last_alias_lets_go_of_a_version(lab):
    await active(lab)
    for number in range(2):
        await change(lab, f"change {number}")
        await publish(lab)
    await lab.call("CreateAlias", FunctionName="f", Name="b", FunctionVersion="1")
    weights = {"AdditionalVersionWeights": {"1": 0.5}}
    await lab.call("CreateAlias", FunctionName="f", Name="a", FunctionVersion="2", RoutingConfig=weights)
    error = await lab.refusal("DeleteFunction", FunctionName="f", Qualifier="1")
    assert error.code == "ResourceConflictException"
    assert error.message == "Unable to delete version because the following aliases reference it: [a, b]"
    await lab.call("DeleteAlias", FunctionName="f", Name="b")
    await lab.call("UpdateAlias", FunctionName="f", Name="a", RoutingConfig={})
    assert (await lab.call("DeleteFunction", FunctionName="f", Qualifier="1"))["StatusCode"] == 204
    assert await lab.versions("f") == ["$LATEST", "2"]


async def test_lists_are_in_the_order_of_numbers_and_markers_survive_what_comes_and_goes(lab):
    await active(lab)
    for number in range(12):
        await change(lab, f"change {number}")
        await publish(lab)
    first = await lab.call("ListVersionsByFunction", FunctionName="f", MaxItems=3)
    assert [version["Version"] for version in first["Versions"]] == ["$LATEST", "1", "2"]
    await lab.call("DeleteFunction", FunctionName="f", Qualifier="2")
    await change(lab, "last")
    await publish(lab)
    rest = await lab.call("ListVersionsByFunction", FunctionName="f", Marker=first["NextMarker"])
    assert [version["Version"] for version in rest["Versions"]] == [str(number) for number in range(3, 14)]
    assert "NextMarker" not in rest
    everything = await lab.call("ListFunctions", FunctionVersion="ALL")
    assert [function["Version"] for function in everything["Functions"]] == await lab.versions("f")


async def test_unknown_functions_have_no_versions(lab):
    error = await lab.refusal("ListVersionsByFunction", FunctionName="missing")
    assert (error.code, error.message) == (
        "ResourceNotFoundException",
        f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:missing",
    )


async def test_latest_published_is_named_as_not_built(lab):
    await active(lab)
    error = await lab.refusal("PublishVersion", FunctionName="f", PublishTo="LATEST_PUBLISHED")
    assert (error.status, error.code) == (501, "NotImplementedException")


@dataclass
class Model:
    """AWS's rules for the versions of one function name."""

    latest: str | None = None  # its description, None when there is no function
    versions: dict[int, str] = field(default_factory=dict)  # number → description of $LATEST when published
    last: int = 0  # the highest number ever given
    aliases: dict[str, tuple[int, int | None]] = field(default_factory=dict)


class VersionsMachine(RuleBasedStateMachine):
    """Publishes, changes, deletes, points aliases and restarts, and compares with the model after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.model = Model()
        self.lab = self.run(Lab.open(self.root))

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.lab.close())
        self.loop.close()
        shutil.rmtree(self.root)

    def call(self, operation: str, **members: Any) -> Any:
        try:
            return self.run(self.lab.call(operation, FunctionName="f", **members))
        except AwsError as error:
            return error.code

    @precondition(lambda self: self.model.latest is None)
    @rule(publish=st.booleans())
    def create(self, publish: bool) -> None:
        made = self.run(self.lab.create("f", Description="0", Publish=publish))
        self.model.latest = "0"
        if publish:
            self.published("0")
        assert made["Version"] == (str(self.model.last) if publish else "$LATEST")
        self.run(self.lab.ready("f"))

    def published(self, description: str) -> int:
        if self.model.versions and self.model.versions[max(self.model.versions)] == description:
            return max(self.model.versions)
        self.model.last += 1
        self.model.versions[self.model.last] = description
        return self.model.last

    @rule(description=st.sampled_from("012"))
    def change(self, description: str) -> None:
        answer = self.call("UpdateFunctionConfiguration", Description=description)
        if self.model.latest is None:
            assert answer == "ResourceNotFoundException"
            return
        self.model.latest = description
        self.run(self.lab.ready("f"))

    @rule(override=st.sampled_from([None, "described"]))
    def publish(self, override: str | None) -> None:
        answer = self.call("PublishVersion", **({"Description": override} if override else {}))
        if self.model.latest is None:
            assert answer == "ResourceNotFoundException"
        else:
            assert answer["Version"] == str(self.published(self.model.latest))

    @rule()
    def publish_with_update(self) -> None:
        if self.model.latest is not None:
            answer = self.call("UpdateFunctionCode", ZipFile=make_zip(), Publish=True)
            assert answer["Version"] == str(self.published(self.model.latest))
            self.run(self.lab.ready("f"))

    @rule(number=st.integers(1, 6))
    def delete_version(self, number: int) -> None:
        answer = self.call("DeleteFunction", Qualifier=str(number))
        if self.model.latest is None:
            assert answer == "ResourceNotFoundException"
        elif any(number in pointed for pointed in self.model.aliases.values()):
            assert answer == "ResourceConflictException"
        else:
            assert answer == {"StatusCode": 204}
            self.model.versions.pop(number, None)

    @rule()
    def delete(self) -> None:
        answer = self.call("DeleteFunction")
        assert answer == ("ResourceNotFoundException" if self.model.latest is None else {"StatusCode": 204})
        self.model = Model(last=self.model.last)

    @rule(name=st.sampled_from("ab"), number=st.integers(1, 4), other=st.sampled_from([None, 1, 2, 3]))
    def point(self, name: str, number: int, other: int | None) -> None:
        weights = {"RoutingConfig": {"AdditionalVersionWeights": {str(other): 0.3} if other else {}}}
        members = {"Name": name, "FunctionVersion": str(number), **weights}
        known = name in self.model.aliases
        answer = self.call("UpdateAlias" if known else "CreateAlias", **members)
        if number not in self.model.versions:
            assert answer == "ResourceNotFoundException"
        elif other == number:
            assert answer == "InvalidParameterValueException"
        elif other is not None and other not in self.model.versions:
            assert answer == "ResourceNotFoundException"
        else:
            assert answer["FunctionVersion"] == str(number)
            self.model.aliases[name] = (number, other)

    @rule(name=st.sampled_from("ab"))
    def delete_alias(self, name: str) -> None:
        answer = self.call("DeleteAlias", Name=name)
        assert answer == ("ResourceNotFoundException" if self.model.latest is None else {})
        self.model.aliases.pop(name, None)

    @rule()
    def restart(self) -> None:
        self.run(self.lab.close())
        self.lab = self.run(Lab.open(self.root))

    @invariant()
    def agrees(self) -> None:
        key, model = key_of("f"), self.model
        numbers = [str(number) for number in sorted(model.versions)]
        wanted = [] if model.latest is None else ["$LATEST", *numbers]
        assert self.run(self.lab.versions("f")) == wanted
        assert set(self.lab.store.versions(key)) == set(wanted)
        for number, description in model.versions.items():
            version = self.lab.store.serving(key, str(number))
            assert (version.source_description, version.state) == (description, "Active")
        aliases = self.lab.aliases.of(key)
        assert {name: _points(alias) for name, alias in aliases.items()} == model.aliases
        if model.latest is not None:
            listed = self.call("ListAliases")["Aliases"]
            assert [alias["Name"] for alias in listed] == sorted(model.aliases)


def _points(alias: Any) -> tuple[int, int | None]:
    return int(alias.function_version), next((int(other) for other in alias.weights), None)


VersionsMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_versions_and_aliases_agree_with_their_model = VersionsMachine.TestCase


def test_the_content_of_a_version_is_compared_not_its_identity() -> None:
    from lambent.control import states
    from lambent.control.records import Function

    latest = Function(key_of("f"), "$LATEST", "r1", "then", "role", "python3.12", "h.h", "00", 1, description="d")
    version = states.published(latest, "1", "r2", "another description")
    assert version.description == "another description"
    assert states.same(version, replace(latest, tags={"a": "b"}, last_modified="later", revision_id="r9"))
    assert not states.same(version, replace(latest, description="e"))
    assert not states.same(version, replace(latest, code_digest="01"))
