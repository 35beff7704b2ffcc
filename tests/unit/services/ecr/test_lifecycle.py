"""ECR user guide, "Lifecycle policies": which images have had their time."""

import json

import pytest

from lambent.services.ecr.lifecycle import DAY, InvalidLifecycle, evaluate, read
from lambent.services.ecr.records import Image

NOW = 100 * DAY


def image(name, age, *tags, pulled=None):
    """`age` and `pulled` in days before now."""
    return Image(name, "", 1, NOW - age * DAY, tags, pulled=None if pulled is None else NOW - pulled * DAY)


def rule(priority=1, status="any", kind="imageCountMoreThan", count=1, **more):
    selection = {"tagStatus": status, "countType": kind, "countNumber": count, **more}
    if kind != "imageCountMoreThan":
        selection["countUnit"] = "days"
    return {"rulePriority": priority, "selection": selection, "action": {"type": "expire"}}


def policy(*rules):
    return read(json.dumps({"rules": list(rules)}))


def expired(images, *rules):
    return [(found.digest, priority) for found, priority in evaluate(policy(*rules), images, NOW)]


def test_the_newest_are_kept():
    images = [image("a", 3), image("b", 1), image("c", 2)]
    assert expired(images, rule(count=2)) == [("a", 1)]
    assert expired(images, rule(count=5)) == []


def test_age():
    images = [image("old", 31), image("young", 29)]
    assert expired(images, rule(kind="sinceImagePushed", count=30)) == [("old", 1)]


def test_age_since_the_last_pull():
    images = [image("used", 90, pulled=1), image("unused", 90), image("forgotten", 90, pulled=60)]
    assert expired(images, rule(kind="sinceImagePulled", count=30)) == [("unused", 1), ("forgotten", 1)]


def test_tags():
    images = [image("a", 9, "prod-1"), image("b", 9, "dev-1"), image("c", 9), image("d", 9, "dev-2", "prod-2")]
    old = {"kind": "sinceImagePushed", "count": 1}
    assert expired(images, rule(status="untagged", **old)) == [("c", 1)]
    assert expired(images, rule(status="tagged", tagPrefixList=["dev"], **old)) == [("d", 1), ("b", 1)]
    assert expired(images, rule(status="tagged", tagPrefixList=["dev", "prod"], **old)) == [("d", 1)]
    assert expired(images, rule(status="tagged", tagPatternList=["*-1"], **old)) == [("b", 1), ("a", 1)]


def test_what_one_rule_selects_no_later_rule_sees():
    images = [image("a", 9, "prod-1"), image("b", 8, "prod-2"), image("c", 7)]
    rules = [rule(2, count=1), rule(1, status="tagged", tagPrefixList=["prod"], count=2)]
    assert expired(images, *rules) == []


def test_rules_are_taken_by_their_priority():
    images = [image("a", 9, "x"), image("b", 8)]
    rules = [rule(9, kind="sinceImagePushed", count=1), rule(3, status="untagged", kind="sinceImagePushed", count=1)]
    assert expired(images, *rules) == [("b", 3), ("a", 9)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"rules": []}',
        '{"rules": [1]}',
        json.dumps({"rules": [rule()], "more": 1}),
        json.dumps({"rules": [rule(0)]}),
        json.dumps({"rules": [rule(1), rule(1)]}),
        json.dumps({"rules": [rule(1), rule(2)]}),
        json.dumps({"rules": [rule(status="some")]}),
        json.dumps({"rules": [rule(status="tagged")]}),
        json.dumps({"rules": [rule(tagPrefixList=["a"])]}),
        json.dumps({"rules": [rule(status="tagged", tagPrefixList=["a"], tagPatternList=["a"])]}),
        json.dumps({"rules": [rule(status="tagged", tagPrefixList=[1])]}),
        json.dumps({"rules": [rule(kind="sometimes")]}),
        json.dumps({"rules": [rule(count=0)]}),
        json.dumps({"rules": [rule(count=True)]}),
        json.dumps({"rules": [rule(countUnit="days")]}),
        json.dumps({"rules": [rule() | {"action": {"type": "keep"}}]}),
        json.dumps({"rules": [rule() | {"extra": 1}]}),
    ],
)
def test_refused(text):
    with pytest.raises(InvalidLifecycle):
        read(text)
