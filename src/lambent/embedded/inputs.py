"""What a rule of EventBridge sends to a target: the event, a part of it, a constant, or what a template makes of it.

Source: EventBridge user guide, "Amazon EventBridge input transformation".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonpath_ng.ext.parser import parse

_VARIABLE = re.compile(r"<([\w.-]+)>")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


def of_target(target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, str]) -> str:
    """JSON, or the text that a template makes. `rule`: its "arn" and "name"."""
    if "Input" in target:
        return str(target["Input"])
    if path := target.get("InputPath"):
        return json.dumps(_find(path, event))
    if transformer := target.get("InputTransformer"):
        values = {name: _find(path, event) for name, path in transformer.get("InputPathsMap", {}).items()}
        return transform(transformer.get("InputTemplate", ""), values | _predefined(event, rule))
    return json.dumps(event)


def transform(template: str, values: Mapping[str, Any]) -> str:
    """Fill in the variables: inside of a JSON string as text, elsewhere as JSON. A missing value is an empty text."""

    def in_text(match: re.Match[str]) -> str:
        return _VARIABLE.sub(lambda variable: _text(values, variable), match[0])

    pieces, at = [], 0
    for literal in _TEXT.finditer(template):
        pieces += [_VARIABLE.sub(lambda variable: _json(values, variable), template[at : literal.start()])]
        pieces += [in_text(literal)]
        at = literal.end()
    return "".join([*pieces, _VARIABLE.sub(lambda variable: _json(values, variable), template[at:])])


def _text(values: Mapping[str, Any], variable: re.Match[str]) -> str:
    if variable[1] not in values:
        return variable[0]
    value = values[variable[1]]
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text)[1:-1]


def _json(values: Mapping[str, Any], variable: re.Match[str]) -> str:
    if variable[1] not in values:
        return variable[0]
    value = values[variable[1]]
    return '""' if value is None else json.dumps(value)


def _find(path: str, event: Mapping[str, Any]) -> Any:
    found = [match.value for match in parse(path).find(event)]
    return found[0] if found else None


def _predefined(event: Mapping[str, Any], rule: Mapping[str, str]) -> dict[str, Any]:
    return {
        "aws.events.rule-arn": rule["arn"],
        "aws.events.rule-name": rule["name"],
        "aws.events.event.ingestion-time": event.get("ingestion-time"),
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": dict(event),
    }
