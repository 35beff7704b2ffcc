"""The ways to isolate that this machine can test, each as `lambent serve` is told of it."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lambent.base import containers, machine
from support import Server, clean_environment

NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups")


@dataclass(frozen=True, slots=True)
class Isolation:
    name: str
    arguments: tuple[str, ...]
    prefix: tuple[str, ...] = ()  # a command that runs the server in its turn

    def missing(self) -> str | None:
        """Why it cannot be tested here."""
        if self.prefix and (why := _no_user_namespaces()):
            return why
        if self.prefix:
            return None if self.name != "rootless" or containers.find("oci", "crun") else "crun is not installed"
        if "--oci-runtime" in self.arguments:
            check = containers.check(self.arguments[1], self.arguments[3])
            return None if check.status == machine.OK else check.detail
        return None

    def serve(self, data_dir: Path, *arguments: str) -> Server:
        if self.prefix:
            give_to_nobody(data_dir)
        return Server(data_dir, *self.arguments, *arguments, prefix=self.prefix)


ISOLATIONS = {
    isolation.name: isolation
    for isolation in (
        Isolation("namespaces", ("--isolation", "namespaces")),
        Isolation("unprivileged", ("--isolation", "namespaces"), AS_NOBODY),
        Isolation("crun", ("--isolation", "oci", "--oci-runtime", "crun")),
        Isolation("rootless", ("--isolation", "oci", "--oci-runtime", "crun"), AS_NOBODY),
        Isolation("runc", ("--isolation", "oci", "--oci-runtime", "runc")),
        Isolation("gvisor", ("--isolation", "gvisor", "--oci-runtime", "auto")),
        Isolation("process", ("--isolation", "process")),
    )
}


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, env=clean_environment()).returncode == 0


def _no_user_namespaces() -> str | None:
    if os.geteuid() != 0:
        return "these tests give root up themselves"
    if not _works(*AS_NOBODY, sys.executable, "-c", "import lambent.app"):
        return "the user nobody cannot read this checkout"
    if not _works(*AS_NOBODY, "unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "true"):
        return "this machine gives users no namespaces"
    return None


def give_to_nobody(data_dir: Path) -> None:
    """Make `data_dir` nobody's, where nobody may come to it."""
    for parent in data_dir.parents:
        if parent.stat().st_uid == 0 and parent.parent != parent and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o001)
    data_dir.mkdir()
    os.chown(data_dir, NOBODY.pw_uid, NOBODY.pw_gid)
