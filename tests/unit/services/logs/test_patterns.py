"""Filter patterns: AWS's own examples, and what nobody should write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.logs import patterns
from lambent.services.logs.expressions import glob
from lambent.wire.errors import AwsError

EVENT = json.dumps(
    {
        "eventType": "UpdateTrail",
        "sourceIPAddress": "111.111.111.111",
        "arrayKey": ["value", "another value"],
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "SomeObject": None,
        "cluster.name": "c",
        "thisFlag": True,
        "level": "ERROR",
        "took": 12.5,
        "status": 404,
        "size": "2048",
    }
)
ACCESS = '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534\n'


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        ('" "', "any thing", True),
        ("ERROR", "[ERROR 400] BAD REQUEST", True),
        ("ERROR", "[error 400]", False),
        ("ERROR ARGUMENTS", "[ERROR] 419 MISSING ARGUMENTS", True),
        ("ERROR ARGUMENTS", "[ERROR 400] BAD REQUEST", False),
        ("?ERROR ?ARGUMENTS", "[ERROR 400] BAD REQUEST", True),
        ("?ERROR ?ARGUMENTS", "fine", False),
        ("INFO ?ERROR", "INFO", True),  # `?` is ignored beside other terms
        ('"INTERNAL SERVER ERROR"', "[ERROR 500] INTERNAL SERVER ERROR", True),
        ('"INTERNAL SERVER ERROR"', "INTERNAL ERROR SERVER", False),
        ("ERROR -ARGUMENTS", "[ERROR 400] BAD REQUEST", True),
        ("ERROR -ARGUMENTS", "[ERROR] MISSING ARGUMENTS", False),
        ('-"out of memory"', "fine", True),
        (r'"say \"hi\""', 'they say "hi"', True),
    ],
)
def test_terms(pattern: str, message: str, expected: bool) -> None:
    assert patterns.compile(pattern)(message) is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{ $.eventType = UpdateTrail }", True),
        ('{$.eventType="UpdateTrai"}', False),
        ("{ $.sourceIPAddress != 123.123.* }", True),
        ("{ $.sourceIPAddress = 111.111.* }", True),
        ('{ $.arrayKey[0] = "value" }', True),
        ('{ $.arrayKey[1] = "value" }', False),
        ('{ $.arrayKey[*] = "another value" }', True),
        ("{ $.objectList[1].id = 2 }", True),
        ("{ $.objectList[*].id > 2 }", False),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.SomeOtherObject NOT EXISTS }", True),
        ("{ $.SomeObject NOT EXISTS }", False),
        ("{ $.thisFlag IS TRUE }", True),
        ("{ $.thisFlag IS FALSE }", False),
        ("{ $.['cluster.name'] = c }", None),
        ("{ $['cluster.name'] = c }", True),
        ('{ $["cluster.name"] = "c" }', True),
        ("{ $.took >= 12.5 && $.took < 1.3e1 }", True),
        ("{ $.size > 1000 }", True),
        ("{ $.status = 4* }", True),
        ("{ $.status = 404 }", True),
        ("{ $.status != 404 }", False),
        ("{ $.missing != 404 }", False),
        ('{ ($.level = "ERROR" || $.level = "WARN") && ($.status = 500) }', False),
        ('{ $.level = "ERROR" || $.level = "WARN" && $.status = 500 }', True),
        ("{ $.objectList = a }", False),
        ("{ $.* = ERROR }", True),
        ("{ $.level }", None),
        ("{ $.level = }", None),
        ("{ level = ERROR }", None),
        ('{ $.level = "ERROR }', None),
        ("{ $.level > ERROR }", None),
        ("{ $.level = ERROR", None),
        ("{ ($.level = ERROR }", None),
        ("{ $.level = ERROR $.a = b }", None),
        ("{ " + "(" * 400 + "$.a = b" + ")" * 400 + " }", None),
    ],
)
def test_json(pattern: str, expected: bool | None) -> None:
    """None: AWS refuses the pattern."""
    if expected is None:
        with pytest.raises(AwsError, match="InvalidParameterException: Invalid filter pattern"):
            patterns.compile(pattern)
    else:
        assert patterns.compile(pattern)(EVENT + "\n") is expected
        assert patterns.compile(pattern)("{ not json }") is False


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[ip, user, username, timestamp, request, status_code, bytes]", True),
        ("[ip, user, username, timestamp, request, status_code]", False),
        ("[ip, user, username, timestamp, request, status_code = 404, bytes > 1000]", True),
        ("[ip, ..., status_code = 4*, bytes]", True),
        ("[ip, ..., status_code = 5*, bytes]", False),
        ("[..., request = *html*, status_code, bytes]", True),
        ('[ip, user, username, timestamp, request = "GET /index.html HTTP/1.0", status_code, bytes]', True),
        ("[ip = 127.*, ...]", True),
        ("[..., status_code = 500 || status_code = 404, bytes]", True),
        ("[..., status_code != 500 && status_code != 404, bytes]", False),
        ("[..., a, ...]", None),
        ("[ip,, user]", None),
        ("[ip", None),
        ('[ip = "a]', None),
    ],
)
def test_columns(pattern: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(AwsError, match="Invalid filter pattern"):
            patterns.compile(pattern)
    else:
        assert patterns.compile(pattern)(ACCESS) is expected


@pytest.mark.parametrize("pattern", ["%ERR.*%", "{ $.a = %x% }", "[a = %x%]"])
def test_regular_expressions_are_refused_by_name(pattern: str) -> None:
    with pytest.raises(AwsError, match="regular expressions") as refusal:
        patterns.compile(pattern)
    assert refusal.value.status == 501


PIECES = st.sampled_from(
    [*'{}[]()"\\$.*=<>!&|,?-% \t', "&&", "||", "$.a", "$.a[0]", "IS NULL", "NOT EXISTS", "...", "1e5", "é", "\0"]
) | st.text(max_size=5)
PATTERNS = st.lists(PIECES, max_size=40).map("".join) | st.lists(PIECES, max_size=40).map(
    lambda p: "{" + "".join(p) + "}"
)
MESSAGES = st.text(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
).map(json.dumps)


@given(PATTERNS | PATTERNS.map(lambda text: f"[{text}]"), MESSAGES)
def test_any_pattern_is_refused_or_answers(pattern: str, message: str) -> None:
    try:
        matches = patterns.compile(pattern)
    except AwsError as error:
        assert error.code == "InvalidParameterException" or error.status == 501
        return
    assert matches(message) in (True, False)


def naive(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and text[0] == pattern[0] and naive(pattern[1:], text[1:])


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_asterisks_stand_for_any_text(pattern: str, text: str) -> None:
    assert glob(pattern)(text) == naive(pattern, text)


def test_hostile_patterns_and_events_end() -> None:
    """Each would take ages if anything went back over what it has read."""
    for pattern in ("{ $.a = " + "*a" * 500 + "*b }", "[" + "a=" + "*a" * 400 + "*b]", "[a, ..., b = x]", "ab" * 512):
        matches = patterns.compile(pattern)
        for message in (json.dumps({"a": "a" * 200_000}), "a" * 200_000, "[ " * 100_000, '" ' * 100_000, "[" * 200_000):
            assert matches(message) is False
    deep = "[" * 100_000 + "]" * 100_000
    assert patterns.compile("{ $.a" + "[*]" * 300 + " = 1 }")(deep) is False
