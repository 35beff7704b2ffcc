"""Filter patterns: what EventBridge's language is, and what is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.control import filter_patterns

VALID = (
    {"body": {"my-key": ["my-value"]}},
    {"body": {"a": ["x", 1, None, True]}},
    {"body": {"a": [{"exists": False}]}},
    {"body": {"a": [{"numeric": [">", 100]}]}},
    {"body": {"a": [{"numeric": [">=", 100, "<", 200.5]}]}},
    {"body": {"a": [{"prefix": "us-"}, {"suffix": ".png"}]}},
    {"body": {"a": [{"prefix": {"equals-ignore-case": "US"}}]}},
    {"body": {"a": [{"anything-but": ["x", "y"]}, {"anything-but": {"prefix": "z"}}]}},
    {"$or": [{"a": ["x"]}, {"b": {"c": [1]}}]},
    {"a": [""]},
)
INVALID = (
    {},
    [],
    None,
    "text",
    {"a": "x"},
    {"a": 1},
    {"a": None},
    {"a": []},
    {"a": {}},
    {"a": [["x"]]},
    {"a": [{}]},
    {"a": [{"unknown": 1}]},
    {"a": [{"prefix": 1}]},
    {"a": [{"numeric": [">"]}]},
    {"a": [{"numeric": ["~", 1]}]},
    {"a": [{"numeric": [">", True]}]},
    {"a": [{"exists": "true"}]},
    {"a": [{"exists": True, "prefix": "x"}]},
    {"a": [{"anything-but": []}]},
)


@pytest.mark.parametrize("pattern", VALID, ids=json.dumps)
def test_is_a_pattern(pattern):
    assert filter_patterns.is_valid(json.dumps(pattern))


@pytest.mark.parametrize("pattern", INVALID, ids=json.dumps)
def test_is_no_pattern(pattern):
    assert not filter_patterns.is_valid(json.dumps(pattern))


@given(
    st.text()
    | st.recursive(st.none() | st.booleans() | st.text(), lambda i: st.lists(i) | st.dictionaries(st.text(), i)).map(
        json.dumps
    )
)
def test_nothing_makes_it_fail(text):
    assert filter_patterns.is_valid(text) in (True, False)
