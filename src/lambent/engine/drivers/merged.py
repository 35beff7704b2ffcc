"""Layer sets as directories of hard links, for drivers that cannot mount: what `/opt` would hold, without a copy."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from lambent.base.archives import remove_tree
from lambent.base.files import ASIDE


class MergedLayers:
    """The merged layer sets of one driver, each made when it is first needed and kept until the next start."""

    def __init__(self, directory: Path, trees: Path) -> None:
        """`directory` is ours, on the same file system as `trees`."""
        self._directory = directory
        self._trees = trees

    def start(self) -> None:
        """Clear what the last run left. Blocks."""
        remove_tree(self._directory)
        self._directory.mkdir(mode=0o700, parents=True)

    async def directory(self, layers: Sequence[str]) -> Path | None:
        """Where the files of `layers`, lowest first, lie together; None where there are no layers."""
        distinct = list(dict.fromkeys(reversed(layers)))[::-1]
        if len(distinct) < 2:
            return self._trees / distinct[0] if distinct else None
        return await asyncio.to_thread(self._merge, distinct)

    def _merge(self, layers: Sequence[str]) -> Path:
        target = self._directory / hashlib.sha256("\n".join(layers).encode()).hexdigest()
        if target.is_dir():
            return target
        aside = self._directory / (ASIDE + os.urandom(8).hex())
        try:
            for layer in layers:
                _link_tree(self._trees / layer, aside)
            with contextlib.suppress(OSError):  # another has just made the same
                aside.rename(target)
        finally:
            remove_tree(aside)
        return target


def _link_tree(source: Path, target: Path) -> None:
    """Lay `source` over `target`: directories become one, of anything else the later stays."""
    if target.is_symlink() or not target.is_dir():
        target.unlink(missing_ok=True)
        target.mkdir()
    for entry in os.scandir(source):
        place = target / entry.name
        if entry.is_dir(follow_symlinks=False):
            _link_tree(Path(entry.path), place)
            continue
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        os.link(entry.path, place, follow_symlinks=False)
