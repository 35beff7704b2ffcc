"""Makes a container image the root of an environment: called by its init, before the function starts.

The process that waits for the function comes along: a changed root is that of every process which had the old one.
"""

import os

import layout
import syscalls as sc


def mount(digests, user_namespace):
    """One read-only tree of the image's layers, lowest first, from where all trees are."""
    options = "lowerdir=" + ":".join("/.trees/" + name for name in layout.stack(digests))
    if user_namespace:
        options += ",userxattr"
    sc.mount("image", layout.IMAGE, "overlay", sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV, options)


def enter(tmp_size, shared):
    """Take along what is not the image's, and leave everything else behind. `shared`: file systems lie below /mnt."""
    sc.mount("/dev", layout.IMAGE + "/dev", None, sc.MS_BIND | sc.MS_REC)
    sc.mount("/proc", layout.IMAGE + "/proc", None, sc.MS_MOVE)
    if tmp_size is None:
        sc.mount("/tmp", layout.IMAGE + "/tmp", None, sc.MS_MOVE)
    if shared:
        sc.mount("/mnt", layout.IMAGE + "/mnt", None, sc.MS_MOVE)
    os.chdir(layout.IMAGE)
    sc.pivot_root(".", ".")
    sc.umount(".")  # the old root, which lies over the new one until then
    os.chdir("/")
