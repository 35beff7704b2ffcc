"""Where a container image lies before it becomes a root, and in which order its layers do. Runs inside and outside."""

from __future__ import annotations

from collections.abc import Iterable

IMAGE = "/.image"  # where the image is mounted before it becomes the root
SKELETON = ".root"  # among the trees: what every image gets on top, such as the places of /proc, /dev and /tmp
INIT = ".init"  # among the trees: a place for the init of a container, on top of an image that is its root
RUNTIME = "/.runtime"  # the layers of a runtime that came as an image, for an init that mounts them itself


def inside(tree: str) -> str:
    """Where an init that mounts for itself finds a tree: a digest, or a directory of a runtime on the machine."""
    return RUNTIME + "/" + tree.rpartition("/")[2] if "/" in tree else "/.trees/" + tree


def stack(digests: Iterable[str]) -> list[str]:
    """The names of an overlay's lower directories, upmost first; `digests` are the image's layers, lowest first."""
    return [SKELETON, *dict.fromkeys(reversed(list(digests)))]  # no overlay takes the same one twice
