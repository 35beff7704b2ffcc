"""Functions as JSON, the form in which the database keeps them."""

from __future__ import annotations

from typing import Any

import orjson

from lambent.base.db import DatabaseError
from lambent.control.records import (
    Function,
    FunctionKey,
    Image,
    ImageLayer,
    Layer,
    LoggingConfig,
    SealedVariables,
)


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
        image = _image(members.pop("image", None))
        return Function(key=key, logging=logging, layers=layers, environment=environment, image=image, **members)
    except (KeyError, TypeError) as error:
        message = f"the database holds a function that this version of Lambent cannot read ({error})"
        raise DatabaseError(message) from error


def _image(members: dict[str, Any] | None) -> Image | None:
    if members is None:
        return None
    layers = tuple(ImageLayer(**layer) for layer in members.pop("layers"))
    entrypoint, command = tuple(members.pop("entrypoint")), tuple(members.pop("command"))
    return Image(layers=layers, entrypoint=entrypoint, command=command, **members)
