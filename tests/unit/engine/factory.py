"""A function record with settings to taste."""

from __future__ import annotations

from typing import Any

from lambent.control.records import Function, FunctionKey, LoggingConfig


def make_function(name: str = "f", **settings: Any) -> Function:
    defaults = {
        "key": FunctionKey("000000000000", "us-east-1", name),
        "version": "$LATEST",
        "revision_id": "r1",
        "last_modified": "2026-01-01T00:00:00.000+0000",
        "role": "arn:aws:iam::000000000000:role/r",
        "runtime": "python3.11",
        "handler": "function.handler",
        "code_digest": "0" * 64,
        "code_size": 100,
        "logging": LoggingConfig("Text", f"/aws/lambda/{name}"),
    }
    return Function(**(defaults | settings))
