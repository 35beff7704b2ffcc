"""Layers: what may be published, used and shared, and what is left of it afterwards."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent.control import attachments, code
from zip_attacks import ATTACKS

from .lab import ACCOUNT, FRIEND, ORGANIZATION, REGION, Lab, make_zip

STRANGER = "333333333333"
SHARE = {"Action": "lambda:GetLayerVersion", "StatementId": "s"}


async def publish(lab: Lab, name: str = "l", content: str = "layer", **members: Any) -> Any:
    wanted = {"LayerName": name, "Content": {"ZipFile": make_zip(content)}} | members
    return await lab.call("PublishLayerVersion", **wanted)


async def share(lab: Lab, name: str = "l", number: int = 1, **members: Any) -> Any:
    return await lab.call("AddLayerVersionPermission", LayerName=name, VersionNumber=number, **(SHARE | members))


def digest_of(content: str) -> str:
    return hashlib.sha256(make_zip(content)).hexdigest()


async def stored(lab: Lab, content: str) -> tuple[bool, bool]:
    """Whether the blob and the tree of a layer are there, once nothing is being removed."""
    await lab.orphans.stop()
    digest = digest_of(content)
    return await lab.blobs.exists(digest), lab.trees.exists(digest)


async def test_its_content_can_be_downloaded(lab: Lab) -> None:
    content = (await publish(lab))["Content"]
    assert content["CodeSha256"] == base64.b64encode(bytes.fromhex(digest_of("layer"))).decode()
    path, _, query = content["Location"].removeprefix("http://127.0.0.1:4566").partition("?")
    answer = await lab.functions.download(path, query)
    assert (answer.status, answer.body) == (200, make_zip("layer"))


async def test_what_was_not_said_is_not_shown(lab: Lab) -> None:
    shown = await publish(lab)
    assert not {"CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo"} & shown.keys()


async def test_content_comes_from_s3(lab: Lab) -> None:
    await lab.put_object("layers", "layer.zip", make_zip("layer"))
    shown = await lab.call("PublishLayerVersion", LayerName="l", Content={"S3Bucket": "layers", "S3Key": "layer.zip"})
    assert shown["Content"]["CodeSize"] == len(make_zip("layer"))
    assert await stored(lab, "layer") == (True, True)


async def test_no_content_is_refused(lab: Lab) -> None:
    error = await lab.refusal("PublishLayerVersion", LayerName="l", Content={})
    assert error.code == "InvalidParameterValueException"
    assert (await lab.call("ListLayers"))["Layers"] == []


async def test_a_damaged_zip_leaves_nothing(lab: Lab) -> None:
    error = await lab.refusal("PublishLayerVersion", LayerName="l", Content={"ZipFile": b"no zip"})
    message = "Could not unzip uploaded file. Please check your file, then try to upload again."
    assert (error.code, error.message) == ("InvalidParameterValueException", message)
    assert (await publish(lab))["Version"] == 1
    await lab.orphans.stop()
    assert set(await asyncio.to_thread(lambda: {path.name for path in (lab.root / "blobs").iterdir()})) == {
        digest_of("layer")
    }


@pytest.mark.parametrize("attack", ATTACKS)
async def test_no_attack_gets_in_as_a_layer(lab: Lab, attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "UNZIPPED", 1_000_000)
    outside = await asyncio.to_thread(lambda: sorted(lab.root.iterdir()))
    error = await lab.refusal("PublishLayerVersion", LayerName="l", Content={"ZipFile": ATTACKS[attack]})
    assert error.code == "InvalidParameterValueException"
    await lab.orphans.stop()
    assert await asyncio.to_thread(lambda: sorted(lab.root.iterdir())) == outside
    assert await asyncio.to_thread(lambda: [*(lab.root / "blobs").iterdir()]) == []
    assert not lab.trees.exists(hashlib.sha256(ATTACKS[attack]).hexdigest())
    assert (await lab.call("ListLayers"))["Layers"] == []


async def test_what_layers_take_of_the_accounts_storage_is_known_after_a_restart_too(tmp_path: Path) -> None:
    lab = await Lab.open(tmp_path)
    sizes = [(await publish(lab, name, content))["Content"]["CodeSize"] for name, content in (("l", "1"), ("m", "22"))]
    await publish(lab, account=FRIEND)
    await lab.close()
    lab = await Lab.open(tmp_path)
    try:
        assert (await lab.call("GetAccountSettings"))["AccountUsage"]["TotalCodeSize"] == sum(sizes)
        await lab.call("DeleteLayerVersion", LayerName="l", VersionNumber=1)
        assert (await lab.call("GetAccountSettings"))["AccountUsage"]["TotalCodeSize"] == sizes[1]
    finally:
        await lab.close()


async def test_lists_filter_and_go_on_where_they_stopped(lab: Lab) -> None:
    for number in range(3):
        await publish(lab, "a", f"{number}", CompatibleRuntimes=["python3.12"])
    await publish(lab, "a", "no runtime")
    await publish(lab, "b", "b", CompatibleArchitectures=["arm64"])
    await publish(lab, "c", "c", CompatibleRuntimes=["python3.12", "python3.13"], CompatibleArchitectures=["arm64"])

    async def layers(**members: Any) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        marker: dict[str, str] = {}
        while True:
            answer = await lab.call("ListLayers", **members, **marker)
            found += [(layer["LayerName"], layer["LatestMatchingVersion"]["Version"]) for layer in answer["Layers"]]
            if "NextMarker" not in answer:
                return found
            marker = {"Marker": answer["NextMarker"]}

    assert await layers(MaxItems=1) == await layers() == [("a", 4), ("b", 1), ("c", 1)]
    assert await layers(CompatibleRuntime="python3.12") == [("a", 3), ("c", 1)]
    assert await layers(CompatibleRuntime="python3.12", CompatibleArchitecture="arm64", MaxItems=1) == [("c", 1)]

    first = await lab.call("ListLayerVersions", LayerName="a", MaxItems=2, CompatibleRuntime="python3.12")
    assert [version["Version"] for version in first["LayerVersions"]] == [3, 2]
    await publish(lab, "a", "new", CompatibleRuntimes=["python3.12"])  # shifts nothing
    rest = {"LayerName": "a", "Marker": first["NextMarker"], "CompatibleRuntime": "python3.12"}
    assert [version["Version"] for version in (await lab.call("ListLayerVersions", **rest))["LayerVersions"]] == [1]
    for operation, name in (("ListLayers", {}), ("ListLayerVersions", {"LayerName": "a"})):
        for marker in ("!", base64.b64encode(b"{}").decode()):
            error = await lab.refusal(operation, **name, Marker=marker)
            assert error.code == "InvalidParameterValueException"


async def test_state_is_apart_by_account_and_region(lab: Lab) -> None:
    await publish(lab)
    for elsewhere in ({"account": STRANGER}, {"region": "eu-central-1"}):
        assert (await lab.call("ListLayers", **elsewhere))["Layers"] == []
        assert (await lab.call("PublishLayerVersion", LayerName="l", Content={"ZipFile": make_zip("x")}, **elsewhere))[
            "Version"
        ] == 1
    assert len((await lab.call("ListLayerVersions", LayerName="l"))["LayerVersions"]) == 1
    elsewhere_arn = f"arn:aws:lambda:eu-central-1:{ACCOUNT}:layer:l"
    error = await lab.refusal("GetLayerVersion", LayerName=elsewhere_arn, VersionNumber=1)
    assert error.code == "ResourceNotFoundException"


async def test_a_layer_goes_by_its_arn_too(lab: Lab) -> None:
    arn = (await publish(lab))["LayerArn"]
    assert (await publish(lab, arn))["LayerVersionArn"] == f"{arn}:2"
    assert (await lab.call("GetLayerVersion", LayerName=arn, VersionNumber=2))["Version"] == 2


async def test_tags_are_of_the_layer_and_go_with_its_last_version(lab: Lab) -> None:
    arn = (await publish(lab))["LayerArn"]
    await publish(lab)
    assert (await lab.call("ListTags", Resource=arn))["Tags"] == {}
    await lab.call("TagResource", Resource=arn, Tags={"a": "1", "b": "2"})
    await lab.call("UntagResource", Resource=arn, TagKeys=["b"])
    await lab.call("DeleteLayerVersion", LayerName="l", VersionNumber=1)
    assert (await lab.call("ListTags", Resource=arn))["Tags"] == {"a": "1"}
    many = {f"k{number}": "" for number in range(50)}
    assert (await lab.refusal("TagResource", Resource=arn, Tags=many)).code == "InvalidParameterValueException"
    assert (await lab.refusal("ListTags", Resource=arn, account=STRANGER)).code == "AccessDeniedException"
    await lab.call("DeleteLayerVersion", LayerName="l", VersionNumber=2)
    for operation, members in (
        ("ListTags", {}),
        ("TagResource", {"Tags": {"a": "1"}}),
        ("UntagResource", {"TagKeys": ["a"]}),
    ):
        assert (await lab.refusal(operation, Resource=arn, **members)).code == "ResourceNotFoundException"
    await publish(lab)
    assert (await lab.call("ListTags", Resource=arn))["Tags"] == {}


# Functions


async def test_a_function_shows_its_layers_in_order_and_loses_them(lab: Lab) -> None:
    arns = [(await publish(lab, name, name))["LayerVersionArn"] for name in "ab"]
    created = await lab.create("f", Layers=arns[::-1])
    assert [layer["Arn"] for layer in created["Layers"]] == arns[::-1]
    assert created["Layers"][0]["CodeSize"] == len(make_zip("b"))
    await lab.ready("f")
    updated = await lab.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=5)
    assert updated["Layers"] == created["Layers"]
    await lab.ready("f")
    assert "Layers" not in await lab.call("UpdateFunctionConfiguration", FunctionName="f", Layers=[])


async def test_a_deleted_version_stays_for_the_functions_that_hold_it(lab: Lab) -> None:
    arn = (await publish(lab))["LayerVersionArn"]
    created = await lab.create("f", Layers=[arn])
    await lab.ready("f")
    await lab.call("DeleteLayerVersion", LayerName="l", VersionNumber=1)
    assert await stored(lab, "layer") == (True, True)
    assert (await lab.call("GetFunctionConfiguration", FunctionName="f"))["Layers"] == created["Layers"]
    error = await lab.refusal("create", name="g", Layers=[arn])
    assert error.message == f"Layer version {arn} does not exist."
    await lab.call("DeleteFunction", FunctionName="f")
    lab.orphans.look_again()
    assert await stored(lab, "layer") == (False, False)


async def test_a_version_stays_without_functions_until_it_is_deleted(lab: Lab) -> None:
    await publish(lab)
    await publish(lab, "another", "layer")
    assert await stored(lab, "layer") == (True, True)
    await lab.call("DeleteLayerVersion", LayerName="l", VersionNumber=1)
    assert await stored(lab, "layer") == (True, True)
    await lab.call("DeleteLayerVersion", LayerName="another", VersionNumber=1)
    assert await stored(lab, "layer") == (False, False)


async def test_code_and_layers_together_have_a_limit(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "UNZIPPED", 100)
    half = (await publish(lab, "half", "x" * 60))["LayerVersionArn"]
    other = (await publish(lab, "other", "y" * 60))["LayerVersionArn"]
    error = await lab.refusal("create", name="f", Layers=[half, other])
    assert error.message == "Layers consume more than the available size of 100 bytes"
    total = len("z" * 50) + 60
    expected = (
        "Function code combined with layers exceeds the maximum allowed size of 100 bytes."
        f" The actual size is {total} bytes."
    )
    large, small = ({"ZipFile": make_zip("z" * size)} for size in (50, 40))
    error = await lab.refusal("create", name="f", Code=large, Layers=[half])
    assert error.message == expected
    await lab.create("f", Code=small, Layers=[half])
    await lab.ready("f")
    error = await lab.refusal("UpdateFunctionCode", FunctionName="f", **large)
    assert error.message == expected
    error = await lab.refusal("UpdateFunctionConfiguration", FunctionName="f", Layers=[half, other])
    assert error.message == "Layers consume more than the available size of 100 bytes"
    assert code.UNZIPPED == 262_144_000


async def test_an_update_of_nothing_with_layers_is_not_found(lab: Lab) -> None:
    arn = (await publish(lab))["LayerVersionArn"]
    error = await lab.refusal("UpdateFunctionConfiguration", FunctionName="none", Layers=[arn])
    assert error.code == "ResourceNotFoundException"


async def test_layers_of_aws_itself_are_not_here(lab: Lab) -> None:
    arn = "arn:aws:lambda:::awslayer:AmazonLinux1803"
    error = await lab.refusal("create", name="f", Layers=[arn])
    assert error.message == f"Layer version {arn} does not exist."
    assert (await lab.refusal("GetLayerVersionByArn", Arn=arn)).code == "ResourceNotFoundException"


# Other accounts


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ({"Principal": "*"}, {FRIEND, STRANGER}),
        ({"Principal": STRANGER}, {STRANGER}),
        ({"Principal": f"arn:aws:iam::{FRIEND}:root"}, {FRIEND}),
        ({"Principal": "*", "OrganizationId": ORGANIZATION}, {FRIEND}),
        ({"Principal": "*", "OrganizationId": "o-another0000"}, set()),
        (None, set()),
    ],
)
async def test_a_policy_decides_which_accounts_may_use_a_version(
    lab: Lab, statement: dict[str, str] | None, allowed: set[str]
) -> None:
    arn = (await publish(lab))["LayerVersionArn"]
    unshared = (await publish(lab, content="second version"))["LayerVersionArn"]
    if statement is not None:
        await share(lab, **statement)
    for account in (FRIEND, STRANGER):
        if account in allowed:
            assert (await lab.call("GetLayerVersionByArn", Arn=arn, account=account))["LayerVersionArn"] == arn
            await lab.create("f", Layers=[arn], account=account, Role=f"arn:aws:iam::{account}:role/r-ole")
        for refused in {arn, unshared, f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:none:1"} - (
            {arn} if account in allowed else set()
        ):
            expected = (
                f"User: arn:aws:iam::{account}:root is not authorized to perform: lambda:GetLayerVersion on resource:"
                f" {refused} because no resource-based policy allows the lambda:GetLayerVersion action"
            )
            error = await lab.refusal("GetLayerVersionByArn", Arn=refused, account=account)
            assert (error.status, error.code, error.message) == (403, "AccessDeniedException", expected)
            error = await lab.refusal("create", name="g", Layers=[refused], account=account)
            assert (error.status, error.code, error.message) == (403, "AccessDeniedException", expected)


async def test_a_policy_that_is_taken_back_counts_no_more(lab: Lab) -> None:
    arn = (await publish(lab))["LayerVersionArn"]
    await share(lab, Principal="*")
    await lab.call("GetLayerVersionByArn", Arn=arn, account=STRANGER)
    await lab.call("RemoveLayerVersionPermission", LayerName="l", VersionNumber=1, StatementId="s")
    assert (await lab.refusal("GetLayerVersionByArn", Arn=arn, account=STRANGER)).code == "AccessDeniedException"
    error = await lab.refusal("GetLayerVersionPolicy", LayerName="l", VersionNumber=1)
    assert error.message == "No policy is associated with the given resource."


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("PublishLayerVersion", {"Content": {"ZipFile": b"x"}}),
        ("ListLayerVersions", {}),
        ("DeleteLayerVersion", {"VersionNumber": 1}),
        ("AddLayerVersionPermission", {"VersionNumber": 1, "Principal": "*", **SHARE}),
        ("RemoveLayerVersionPermission", {"VersionNumber": 1, "StatementId": "s"}),
        ("GetLayerVersionPolicy", {"VersionNumber": 1}),
    ],
)
async def test_nobody_else_may_manage_a_shared_layer(lab: Lab, operation: str, members: dict[str, Any]) -> None:
    arn = (await publish(lab))["LayerArn"]
    await share(lab, Principal="*")
    error = await lab.refusal(operation, account=STRANGER, LayerName=arn, **members)
    assert (error.status, error.code) == (403, "AccessDeniedException")
    assert (await lab.call("GetLayerVersion", LayerName="l", VersionNumber=1))["Version"] == 1


async def test_a_statement_is_printed_in_aws_order(lab: Lab) -> None:
    await publish(lab)
    answer = await share(lab, Principal=FRIEND)
    assert answer["Statement"] == (
        '{"Sid":"s","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::222222222222:root"},'
        '"Action":"lambda:GetLayerVersion","Resource":"arn:aws:lambda:us-east-1:111111111111:layer:l:1"}'
    )
    policy = (await lab.call("GetLayerVersionPolicy", LayerName="l", VersionNumber=1))["Policy"]
    assert policy == '{"Version":"2012-10-17","Id":"default","Statement":[' + answer["Statement"] + "]}"


async def test_an_organisation_is_of_everybody_only(lab: Lab) -> None:
    await publish(lab)
    error = await lab.refusal(
        "AddLayerVersionPermission",
        LayerName="l",
        VersionNumber=1,
        Principal=FRIEND,
        OrganizationId=ORGANIZATION,
        **SHARE,
    )
    assert error.code == "InvalidParameterValueException"


async def test_a_policy_has_a_largest_size(lab: Lab) -> None:
    await publish(lab)
    message = None
    for number in range(200):
        try:
            await share(lab, Principal="*", StatementId=f"statement-{number:0>80}")
        except Exception as error:
            message = str(error)
            break
    size = len((await lab.call("GetLayerVersionPolicy", LayerName="l", VersionNumber=1))["Policy"])
    assert size < 20_480
    assert message is not None
    assert message.startswith("PolicyLengthExceededException: The final policy size (")
    assert message.endswith(") is bigger than the limit (20480).")


class LayerMachine(RuleBasedStateMachine):
    """Layers, their policies and the functions that hold them, against a model of a few dictionaries."""

    names = st.sampled_from(["one", "two"])
    contents = st.sampled_from(["a", "b", "c"])
    numbers = st.integers(1, 4)
    accounts = st.sampled_from([ACCOUNT, FRIEND, STRANGER])

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.lab = self.run(Lab.open(Path(self.directory.name)))
        self.lab.gate.set()
        self.last: dict[str, int] = {}
        self.versions: dict[tuple[str, int], str] = {}  # content
        self.shared: dict[tuple[str, int], set[str]] = {}  # principals
        self.made = 0
        self.functions: dict[str, list[tuple[str, int, str]]] = {}
        self.made = 0  # names are not used twice

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.lab.close())
        self.loop.close()
        self.directory.cleanup()

    @rule(name=names, content=contents)
    def publish(self, name: str, content: str) -> None:
        answer = self.run(publish(self.lab, name, content))
        self.last[name] = self.last.get(name, 0) + 1
        assert answer["Version"] == self.last[name]
        self.versions[name, self.last[name]] = content

    @rule(name=names, number=numbers)
    def delete(self, name: str, number: int) -> None:
        self.run(self.lab.call("DeleteLayerVersion", LayerName=name, VersionNumber=number))
        self.versions.pop((name, number), None)
        self.shared.pop((name, number), None)

    @rule(name=names, number=numbers, principal=st.sampled_from(["*", FRIEND]))
    def share(self, name: str, number: int, principal: str) -> None:
        members = {"LayerName": name, "VersionNumber": number, "Principal": principal} | SHARE
        members["StatementId"] = "all" if principal == "*" else principal
        taken = self.shared.setdefault((name, number), set())
        if (name, number) in self.versions and principal not in taken:
            self.run(self.lab.call("AddLayerVersionPermission", **members))
            taken.add(principal)
        else:
            error = self.run(self.lab.refusal("AddLayerVersionPermission", **members))
            known = (name, number) in self.versions
            assert error.code == ("ResourceConflictException" if known else "ResourceNotFoundException")

    @rule(name=names, number=numbers, principal=st.sampled_from(["*", FRIEND]))
    def unshare(self, name: str, number: int, principal: str) -> None:
        members = {"LayerName": name, "VersionNumber": number, "StatementId": "all" if principal == "*" else principal}
        if principal in self.shared.get((name, number), ()):
            self.run(self.lab.call("RemoveLayerVersionPermission", **members))
            self.shared[name, number].remove(principal)
        else:
            error = self.run(self.lab.refusal("RemoveLayerVersionPermission", **members))
            assert error.code == "ResourceNotFoundException"

    @rule(account=accounts, asked=st.lists(st.tuples(names, numbers), max_size=3))
    def create(self, account: str, asked: list[tuple[str, int]]) -> None:
        self.made += 1
        name = f"f{self.made}"
        arns = [f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{layer}:{number}" for layer, number in asked]
        expected = self.refusal(account, asked)
        if expected is None:
            self.run(self.lab.create(name, Layers=arns, account=account, Role=f"arn:aws:iam::{account}:role/r-ole"))
            self.functions[f"{account}/{name}"] = [(*one, self.versions[one]) for one in asked]
        else:
            assert self.run(self.lab.refusal("create", name=name, Layers=arns, account=account)).code == expected

    def refusal(self, account: str, asked: list[tuple[str, int]]) -> str | None:
        seen = set()
        for one in asked:
            allowed = {ACCOUNT} | self.shared.get(one, set())
            if account != ACCOUNT and (one not in self.versions or not allowed & {account, "*"}):
                return "AccessDeniedException"
            if one not in self.versions or one[0] in seen:
                return "InvalidParameterValueException"
            seen.add(one[0])
        return None

    @precondition(lambda self: self.functions)
    @rule(data=st.data())
    def delete_function(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from(sorted(self.functions)))
        account, name = which.split("/")
        self.run(self.lab.call("DeleteFunction", FunctionName=name, account=account))
        del self.functions[which]

    @invariant()
    def everything_needed_is_there_and_nothing_else(self) -> None:
        listed: set[tuple[str, int]] = set()
        for name in ("one", "two"):
            answer = self.run(self.lab.call("ListLayerVersions", LayerName=name))
            listed |= {(name, version["Version"]) for version in answer["LayerVersions"]}
        assert listed == set(self.versions)
        held = {content for layers in self.functions.values() for _, _, content in layers}
        needed = {digest_of(content) for content in {*self.versions.values(), *held}}
        self.run(self.lab.orphans.stop())
        trees = {path.name for path in (Path(self.directory.name) / "trees").iterdir() if len(path.name) == 64}
        blobs = {path.name for path in (Path(self.directory.name) / "blobs").iterdir()}
        code = {hashlib.sha256(make_zip()).hexdigest()} if self.functions else set()
        assert trees == blobs == needed | code
        for which, layers in self.functions.items():
            account, name = which.split("/")
            shown = self.run(self.lab.call("GetFunctionConfiguration", FunctionName=name, account=account))
            arns = [layer["Arn"].split(":")[-2:] for layer in shown.get("Layers", [])]
            assert arns == [[layer, str(number)] for layer, number, _ in layers]


LayerMachine.TestCase.settings = hypothesis_settings(max_examples=15, stateful_step_count=20, deadline=None)
TestLayerMachine = LayerMachine.TestCase
