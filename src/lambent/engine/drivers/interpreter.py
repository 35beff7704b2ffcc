"""The server's own Python, to run inside a root of which nothing is known: a container image.

The image may have another C library or none, so the dynamic loader and its libraries come along.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from pathlib import Path

PLACE = "/.lambent"  # whoever lays out the root closes it to functions
GUEST = f"{PLACE}/guest"
PYTHON = f"{PLACE}/python"
_LIBRARIES = f"{PLACE}/lib"
_GUEST = Path(__file__).parent.parent / "guest"
_FLAGS = ("-I", "-S", "-B")
_INTERPRETER_SEGMENT = 3  # PT_INTERP of elf(5)


def own() -> Path:
    return Path(sys._base_executable).resolve()  # type: ignore[attr-defined]


def _inside() -> str:
    return f"{PYTHON}/{own().relative_to(Path(sys.base_prefix).resolve())}"


def flagged() -> tuple[str, ...]:
    """The beginning of a command where the machine's libraries are."""
    return (_inside(), *_FLAGS)


def self_contained() -> tuple[str, ...]:
    """The beginning of a command where nothing is but `binds`."""
    loader = _loader(own())
    if loader is None:  # linked statically
        return flagged()
    return (f"{_LIBRARIES}/{loader.name}", "--library-path", f"{_LIBRARIES}:{PYTHON}/lib", *flagged())


def binds() -> Mapping[Path, str]:
    """What lies where for `self_contained`: on this machine → inside."""
    loader = _loader(own())
    libraries = {} if loader is None else {loader.parent: _LIBRARIES}
    return {Path(sys.base_prefix): PYTHON, **libraries, _GUEST: GUEST}


def _loader(program: Path) -> Path | None:
    """The dynamic loader that a 64-bit little-endian ELF program names."""
    with open(program, "rb") as file:
        header = file.read(64)
        (table,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        for number in range(count):
            file.seek(table + number * size)
            kind, _flags, offset, _address, _physical, length = struct.unpack("<IIQQQQ", file.read(40))
            if kind == _INTERPRETER_SEGMENT:
                file.seek(offset)
                return Path(file.read(length).rstrip(b"\0").decode()).resolve()
    return None
