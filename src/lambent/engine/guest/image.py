"""Makes a container image the root of an environment: called by its init, before the function starts.

The process that waits for the function comes along: a changed root is that of every process which had the old one.
"""

import os

import layout
import syscalls as sc


def mount(digests, user_namespace):
    """One read-only tree of the image's layers, lowest first, from where all trees are."""
    options = "lowerdir=" + ":".join(map(layout.inside, layout.stack(digests)))
    if user_namespace:
        options += ",userxattr"
    sc.mount("image", layout.IMAGE, "overlay", sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV, options)


def enter(taken):
    """Take along what is not the image's, and leave everything else behind. `taken`: where something is mounted."""
    sc.mount("/dev", layout.IMAGE + "/dev", None, sc.MS_BIND | sc.MS_REC)
    sc.mount("/proc", layout.IMAGE + "/proc", None, sc.MS_MOVE)
    for place in taken:
        sc.mount(place, layout.IMAGE + place, None, sc.MS_MOVE)
    os.chdir(layout.IMAGE)
    sc.pivot_root(".", ".")
    sc.umount(".")  # the old root, which lies over the new one until then
    os.chdir("/")
