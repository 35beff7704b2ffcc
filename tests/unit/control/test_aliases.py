"""Aliases: which version takes an invocation, and what may not be asked."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from lambent.control.alias_store import AliasStore

from .lab import ACCOUNT, REGION, Lab, key_of

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
KEY = key_of("f")


@pytest.fixture
async def published(lab: Lab) -> Lab:
    """A function with versions 1 and 2."""
    await lab.create("f", Publish=True)
    await lab.ready("f")
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", Description="changed")
    await lab.ready("f")
    await lab.call("PublishVersion", FunctionName="f")
    return lab


async def weighted(lab: Lab, weight: float) -> AliasStore:
    routing = {"AdditionalVersionWeights": {"2": weight}}
    await lab.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1", RoutingConfig=routing)
    store = AliasStore(lab.db, lab.clock, random.Random(4).random)
    await store.load()
    return store


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
async def test_weights_split_invocations(published, weight):
    store = await weighted(published, weight)
    drawn = 10_000
    found = Counter(store.route(KEY, "live") for _ in range(drawn))
    deviation = (drawn * weight * (1 - weight)) ** 0.5
    assert abs(found["2"] - drawn * weight) < 4 * deviation
    assert found["1"] + found["2"] == drawn


@pytest.mark.parametrize(("weight", "version"), [(0.0, "1"), (1.0, "2")])
async def test_the_ends_of_the_scale_are_exact(published, weight, version):
    store = await weighted(published, weight)
    assert {store.route(KEY, "live") for _ in range(1000)} == {version}


async def test_an_alias_without_weights_always_goes_to_its_version(published):
    await published.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="2")
    assert published.aliases.route(KEY, "live") == "2"
    assert published.aliases.route(KEY, "other") is None
    assert published.aliases.route(key_of("other"), "live") is None


async def test_an_update_keeps_what_is_not_given_and_an_empty_routing_takes_the_weights_away(published):
    await weighted(published, 0.5)
    update = {"operation": "UpdateAlias", "FunctionName": "f", "Name": "live"}
    kept = await published.call(**update, Description="words")
    assert (kept["FunctionVersion"], kept["RoutingConfig"]) == ("1", {"AdditionalVersionWeights": {"2": 0.5}})
    cleared = await published.call(**update, RoutingConfig={"AdditionalVersionWeights": {}})
    assert "RoutingConfig" not in cleared
    assert cleared["Description"] == "words"


async def test_pages_follow_the_names(published):
    for name in ("c", "a", "b"):
        await published.call("CreateAlias", FunctionName="f", Name=name, FunctionVersion="1")
    await published.call("CreateAlias", FunctionName="f", Name="d", FunctionVersion="2")

    async def page(**members: Any) -> tuple[list[str], str | None]:
        answer = await published.call("ListAliases", FunctionName="f", **members)
        return [alias["Name"] for alias in answer["Aliases"]], answer.get("NextMarker")

    first, marker = await page(MaxItems=2)
    assert first == ["a", "b"]
    await published.call("DeleteAlias", FunctionName="f", Name="b")
    await published.call("CreateAlias", FunctionName="f", Name="bb", FunctionVersion="1")
    assert await page(MaxItems=2, Marker=marker) == (["bb", "c"], (await page(MaxItems=3))[1])
    assert await page(FunctionVersion="2") == (["d"], None)
    assert await page(FunctionVersion="$LATEST.PUBLISHED") == ([], None)
    error = await published.refusal("ListAliases", FunctionName="f", Marker="WzFd")
    assert (error.code, error.message) == ("InvalidParameterValueException", "Invalid value for Marker")


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GetAlias", {"Name": "live"}),
        ("UpdateAlias", {"Name": "live"}),
        ("DeleteAlias", {"Name": "live"}),
        ("ListAliases", {}),
    ],
)
async def test_of_a_function_that_is_not_there(lab, operation, members):
    error = await lab.refusal(operation, FunctionName="f", **members)
    assert (error.code, error.message) == ("ResourceNotFoundException", f"Function not found: {ARN}")


async def test_an_alias_of_an_alias_is_refused(published):
    await published.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    error = await published.refusal("GetAlias", FunctionName=f"{ARN}:live", Name="live")
    assert error.message.startswith("This operation is permitted on Lambda functions only.")


async def test_aliases_go_with_their_function(published):
    await published.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    await published.call("DeleteFunction", FunctionName="f")
    assert published.aliases.route(KEY, "live") is None
    await published.create("f")
    assert (await published.call("ListAliases", FunctionName="f"))["Aliases"] == []
    error = await published.refusal("DeleteFunction", FunctionName="f", Qualifier="live")
    assert error.message == "Deletion of aliases is not currently supported."
