"""The OCI runtimes of this machine: where they are, and whether they can make a container here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lambent.base.machine import MISSING, OK, Check, try_out

RUNTIMES: Mapping[str, tuple[str, ...]] = {"oci": ("crun", "runc"), "gvisor": ("runsc",)}
"""The commands that serve an isolation, the quickest first."""
_WITHOUT_ROOT = "crun"  # the one that makes containers for a user inside that user's own namespace
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(isolation: str, wanted: str = "auto") -> Path | None:
    """The command for `isolation` ("oci" or "gvisor"): the one `wanted` (a name or a path), or the best there is."""
    names = RUNTIMES[isolation] if wanted == "auto" else (wanted,)
    found = (shutil.which(name, path=_PATH) for name in names)
    return next((Path(path) for path in found if path is not None), None)


def options(isolation: str) -> tuple[str, ...]:
    """What every command of the OCI runtime begins with."""
    if isolation == "gvisor":
        # The sandbox has a network namespace of its own, in which the server listens: gVisor's own network cannot.
        return ("--network=host",)
    return () if os.geteuid() == 0 else ("--cgroup-manager=disabled",)


def check(isolation: str, wanted: str = "auto") -> Check:
    """Make a container. Status MISSING when it fails: call it for the isolation that a server is to use."""
    command = find(isolation, wanted)
    if command is None:
        names = " or ".join(RUNTIMES[isolation]) if wanted == "auto" else wanted
        remedy = f"sudo apt-get install {RUNTIMES[isolation][0]}"
        return Check(isolation, MISSING, f"isolation {isolation} needs {names}, which is not installed", remedy)
    if os.geteuid() != 0 and command.name != _WITHOUT_ROOT:
        detail = f"{command} makes containers with limits and user ids of their own only for root"
        return Check(isolation, MISSING, detail, "start Lambent as root, or use --isolation namespaces")
    if why := try_out("container", str(command), *options(isolation)):
        detail = f"{command} cannot make a container here: {why}"
        return Check(isolation, MISSING, detail, "use --isolation namespaces")
    return Check(isolation, OK, f"{command} makes containers: --isolation {isolation}")


def checks(isolation: str, wanted: str = "auto") -> list[Check]:
    """For `doctor`: the isolation that was asked for, and every other that is installed."""
    found = []
    for name in RUNTIMES:
        if name == isolation:
            found.append(check(name, wanted))
        elif find(name) is not None:
            other = check(name)
            if other.status != OK:  # nobody has asked for it
                other = Check(name, OK, f"{other.detail} (only --isolation {name} needs it)")
            found.append(other)
    return found
