"""Archives unpacked, each under the sha256 of the archive: made once, never changed.

On disk, below the root (0700):

    <digest>/       one archive, unpacked
    .new-<random>/  a tree being built; what a crash left of these goes at the next start
    .boot           the boot of this machine that wrote the trees, and whether all of them reached the disk

Trees are not synced one by one: that costs a call to the disk for each file, and nothing is lost without it, because
each can be unpacked again from its archive, which is durable. What must not happen is that a tree cut short by a
power failure is taken for whole. As long as the machine has not been restarted, a tree that is in place is whole: it
was renamed there after its last write, and a crash of the server loses no writes. After a restart of the machine
trees are believed only if `close` had synced them all and said so in `.boot`; else all are removed at start.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import secrets
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from lambent.base.archives import Limits, remove_tree, unpack
from lambent.base.blobs import DIGEST
from lambent.base.files import ASIDE, spread, write_durably
from lambent.base.retention import Retention

_log = logging.getLogger("lambent.trees")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Trees:
    """The unpacked archives of one data directory. Only one process may use it at a time."""

    def __init__(self, root: Path, *, boot_id: str | None = None) -> None:
        """Make the directory where it is missing; remove leftovers and trees that may be incomplete. Blocks.

        `boot_id` stands in for the machine's own.
        """
        self._root = root
        self._marker = root / ".boot"
        self._boot_id = boot_id or _BOOT_ID.read_text(encoding="ascii").strip()
        self._retention = Retention()
        self._sizes: dict[str, int] = {}
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        spread(root)
        trusted = self._believable()
        for entry in os.listdir(root):
            if entry.startswith(ASIDE) or (DIGEST.fullmatch(entry) and not trusted):
                _remove(root / entry)
        self._mark(synced=False)

    def _believable(self) -> bool:
        try:
            boot_id, state = self._marker.read_text(encoding="ascii").split()
        except (OSError, ValueError):  # none yet, or cut short
            return False
        return boot_id == self._boot_id or state == "synced"

    def _mark(self, *, synced: bool) -> None:
        write_durably(self._marker, f"{self._boot_id} {'synced' if synced else 'open'}\n".encode())

    def path(self, digest: str) -> Path:
        """Where the tree is or would be. Raises ValueError for what is no digest."""
        if not DIGEST.fullmatch(digest):
            raise ValueError(f"not a digest: {digest!r}")
        return self._root / digest

    def exists(self, digest: str) -> bool:
        """Whether the tree is there, which means: whole."""
        return self.path(digest).is_dir()

    def size(self, digest: str) -> int:
        """Bytes of the regular files in a tree that is there. May walk the tree: blocks."""
        if digest not in self._sizes:
            paths = (os.path.join(place, name) for place, _, names in os.walk(self.path(digest)) for name in names)
            self._sizes[digest] = sum(os.path.getsize(path) for path in paths if not os.path.islink(path))
        return self._sizes[digest]

    async def unpack(self, digest: str, archive: bytes | Path, limits: Limits | None = None) -> Path:
        """Unpack `archive` under its `digest`, unless it is there; the tree. Raises ArchiveError."""
        return await self.build(digest, lambda target: unpack(archive, target, limits).size)

    async def build(self, digest: str, make: Callable[[Path], int]) -> Path:
        """Have `make` fill a directory that does not exist yet, unless the tree is there; the tree.

        `make` runs in a thread and gives the bytes of what it made. What it raises comes out here, and nothing is left.
        """
        path = self.path(digest)
        async with self._retention.making(digest):
            if not path.is_dir():
                await asyncio.to_thread(self._build, path, make)
        return path

    def _build(self, path: Path, make: Callable[[Path], int]) -> None:
        aside = self._root / (ASIDE + secrets.token_hex(8))
        try:
            self._sizes[path.name] = make(aside)
        except BaseException:
            if aside.exists():
                remove_tree(aside)
            raise
        try:
            aside.rename(path)
        except OSError:
            remove_tree(aside)
            if not path.is_dir():  # else another has just unpacked the same
                raise

    async def collect(self, keep: Callable[[], Collection[str]], among: Iterable[str] | None = None) -> list[str]:
        """Remove the trees that `keep()` does not hold, with the promises of `Blobs.collect`."""
        names = await asyncio.to_thread(os.listdir, self._root) if among is None else list(among)
        present = [name for name in names if DIGEST.fullmatch(name) and (self._root / name).is_dir()]
        return await self._retention.sweep(present, keep, self._remove)

    def _remove(self, digests: Collection[str]) -> None:
        for digest in digests:
            self._sizes.pop(digest, None)
            _remove(self._root / digest)

    async def close(self) -> None:
        """Sync all trees to the disk and note it: a restart of the machine keeps them. Unpack nothing after."""
        await asyncio.to_thread(self._sync)

    def _sync(self) -> None:
        fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
                reason = os.strerror(ctypes.get_errno())
                _log.warning("the trees could not be synced (%s): a restart of the machine drops them", reason)
                return
        finally:
            os.close(fd)
        self._mark(synced=True)


def _remove(tree: Path) -> None:
    """Out of its place in one step, then piece by piece: no half tree is ever in place."""
    aside = tree.with_name(ASIDE + secrets.token_hex(8))
    try:
        tree.rename(aside)
    except FileNotFoundError:
        return
    if aside.is_dir():
        remove_tree(aside)
    else:
        aside.unlink()
