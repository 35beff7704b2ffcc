"""Functions as JSON, the form in which the database keeps them."""

from __future__ import annotations

from typing import Any

import orjson

from lambent.base.db import DatabaseError
from lambent.control.records import Function, FunctionKey, Layer, LoggingConfig, SealedVariables


def to_document(function: Function) -> str:
    return orjson.dumps(function).decode()


def from_document(document: str) -> Function:
    """Raises DatabaseError for a document with members this Lambent does not know."""
    members: dict[str, Any] = orjson.loads(document)
    try:
        key = FunctionKey(**members.pop("key"))
        logging = LoggingConfig(**members.pop("logging"))
        layers = tuple(Layer(**layer) for layer in members.pop("layers", ()))
        sealed = members.pop("environment", None)
        environment = SealedVariables(**sealed) if sealed is not None else None
        return Function(key=key, logging=logging, layers=layers, environment=environment, **members)
    except (KeyError, TypeError) as error:
        message = f"the database holds a function that this version of Lambent cannot read ({error})"
        raise DatabaseError(message) from error
