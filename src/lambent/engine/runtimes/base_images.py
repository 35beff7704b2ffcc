"""Runtimes that came as a container image: AWS calls them base images. They bring their whole root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lambent.engine.guest import layout
from lambent.engine.runtimes.runtime import LIBRARIES, SEARCH, Runtime, Start

CONFIG = "image.json"  # the image's configuration, beside its layers
LAYERS = "layers"
PLACES = ("opt", "var/task")  # where the function's code and layers go: the image may lack them
_SUFFIX = "-image"


def directory_of(name: str) -> str:
    """Where the runtime called `name` lies among what is installed."""
    return name + _SUFFIX


def find(name: str, directory: Path) -> Runtime | None:
    """The runtime called `name`, where `directory` holds an image for it."""
    place = directory / directory_of(name)
    try:
        config = json.loads((place / CONFIG).read_text())
    except (OSError, ValueError):
        return None
    settings: dict[str, Any] = config.get("config") or {}
    program = tuple(settings.get("Entrypoint") or ())
    own = dict(entry.partition("=")[::2] for entry in settings.get("Env") or () if "=" in entry)
    layers = sorted((place / LAYERS).iterdir())
    return Runtime(
        name,
        str(config["digest"])[7:19],
        build=f"{name}:{str(config['digest'])[7:19]}",
        source=place,
        start=Start.EXEC,
        command=lambda environment: (*program, environment["_HANDLER"]),
        binds=((place / LAYERS, layout.RUNTIME),),
        layers=tuple(layers),
        variables={
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{name}",
            "LANG": "en_US.UTF-8",
            "LD_LIBRARY_PATH": LIBRARIES,
            "PATH": SEARCH,
            **own,
        },
    )
