"""Code and layers as detached read-only mounts, handed to a sandbox as descriptors: it never sees any other tree."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from lambent.engine.drivers import interpreter, root
from lambent.engine.guest import layout
from lambent.engine.guest import syscalls as sc


def available(trees: Path) -> str | None:
    """Why this server cannot do it; None when it can."""
    if os.geteuid() != 0:
        return "mounting takes root"
    try:
        os.close(_clone(trees))
    except OSError as error:
        return str(error)
    return None


def make_skeleton(trees: Path, resolv_conf: str = "") -> None:
    """What every container image gets on top: the places of what the platform mounts, and its few settings.

    One that becomes a container of an OCI runtime has a place for the container's init as well, closed to functions.
    """
    private = trees / layout.INIT / interpreter.PLACE.lstrip("/")
    for inside in interpreter.binds().values():
        (private / Path(inside).name).mkdir(parents=True, exist_ok=True)
    private.chmod(0o700)
    private.parent.chmod(0o755)
    skeleton = trees / layout.SKELETON
    for name in ("dev", "etc", "mnt", "proc", "tmp"):
        (skeleton / name).mkdir(parents=True, exist_ok=True)
    skeleton.chmod(0o755)
    (skeleton / "tmp").chmod(0o1777)
    for path, text in (root.SETTINGS | {root.RESOLVER: resolv_conf}).items():
        place = skeleton / path.lstrip("/")
        place.write_text(text)
        place.chmod(0o644)


def _clone(directory: Path) -> int:
    fd = sc.open_tree(str(directory))
    try:
        sc.make_read_only(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


class Mounts:
    """A mount is for one sandbox: attaching it uses it up."""

    def __init__(self, trees: Path, above: Sequence[str] = ()) -> None:
        """`trees` holds the unpacked code and layers by digest; those named `above` go on top of every image."""
        self._trees = trees
        self._above = above

    def tree(self, digest: str) -> int:
        """The tree as a descriptor for `move_mount`. Takes microseconds."""
        return _clone(self._trees / digest)

    def layers(self, digests: Sequence[str]) -> int | None:
        """The layers, lowest first, as one tree; None where there are none. Nothing is copied. Blocks."""
        upmost_first = list(dict.fromkeys(reversed(digests)))  # no overlay takes the same content twice
        if len(upmost_first) < 2:
            return self.tree(upmost_first[0]) if upmost_first else None
        return _in_thread(lambda: self._overlay(upmost_first))

    def image(self, digests: Sequence[str]) -> int:
        """An image's layers, lowest first, as one tree with the skeleton on top. Nothing is copied. Blocks.

        A layer that is no tree is a directory of the machine's, by its absolute path.
        """
        return _in_thread(lambda: self._overlay([*self._above, *layout.stack(digests)]))

    def _overlay(self, upmost_first: Sequence[str]) -> int:
        """Mounted where nobody sees it: in a mount namespace that ends with this thread."""
        sc.unshare(sc.CLONE_NEWNS)
        sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
        os.chdir(self._trees)  # this thread's own: short names, for the options have to fit into a page
        flags = sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV
        with ExitStack() as opened:
            names = [_shown(name, opened) for name in upmost_first]
            sc.mount("layers", "/mnt", "overlay", flags, "lowerdir=" + ":".join(names))
        return sc.open_tree("/mnt")


def _shown(name: str, opened: ExitStack) -> str:
    """The name of a lower directory as functions see it in their list of mounts: none of them tells of the machine."""
    if "/" not in name:
        return name
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.callback(os.close, fd)
    return f"/proc/self/fd/{fd}"


def _in_thread(work: Callable[[], int]) -> int:
    """The result of `work` in a thread of its own: namespaces and the working directory are a thread's."""
    outcome: list[int | BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name="layers")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
