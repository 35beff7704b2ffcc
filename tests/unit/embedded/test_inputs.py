from __future__ import annotations

import json

import pytest

from lambent.embedded.inputs import of_target, transform

RULE = {"arn": "arn:aws:events:us-east-1:000000000000:rule/r", "name": "r"}
EVENT = {"source": "shop", "detail": {"who": 'ada "a"', "n": [1, {"x": None}]}}


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ('{"who": <who>, "n": <n>}', {"who": 'ada "a"', "n": [1, {"x": None}]}),
        ('{"text": "hello <who>!"}', {"text": 'hello ada "a"!'}),
        ('"<who> has <n>"', 'ada "a" has [1, {"x": null}]'),
        ('{"rule": "<aws.events.rule-name>", "all": <aws.events.event.json>}', {"rule": "r", "all": EVENT}),
        ('{"without": <aws.events.event>}', {"without": {"source": "shop"}}),
        ('{"missing": <gone>, "text": "<gone>"}', {"missing": "", "text": ""}),
    ],
)
def test_a_template_is_filled_in(template, made):
    paths = {"who": "$.detail.who", "n": "$.detail.n", "gone": "$.detail.nowhere"}
    target = {"InputTransformer": {"InputTemplate": template, "InputPathsMap": paths}}
    assert json.loads(of_target(target, EVENT, RULE)) == made


def test_a_constant_a_part_or_the_whole_event():
    assert of_target({"Input": '"fixed"'}, EVENT, RULE) == '"fixed"'
    assert json.loads(of_target({"InputPath": "$.detail.n"}, EVENT, RULE)) == [1, {"x": None}]
    assert json.loads(of_target({}, EVENT, RULE)) == EVENT


def test_a_name_that_stands_for_nothing_stays():
    assert transform("<p>text</p> <a>", {"a": 1}) == "<p>text</p> 1"
