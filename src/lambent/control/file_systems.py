"""File systems of functions: access points whose ARNs the server's settings map to directories of this machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lambent.control.settings import invalid
from lambent.wire.errors import not_built

_DOTS = ("/mnt/.", "/mnt/..")


class FileSystems:
    def __init__(self, arns: Collection[str] = (), obstacle: str = "") -> None:
        """`arns` of the access points that there are; `obstacle` is why none can be mounted, "" where they can."""
        self._arns = frozenset(arns)
        self._obstacle = obstacle

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raises InvalidParameterValueException for an access point that is not there, or a path that is none.

        Also for every one while nothing can be mounted: better now than at the first invocation.
        """
        for config in parameters.get("FileSystemConfigs", ()):
            arn, path = config["Arn"], config["LocalMountPath"]
            if config.get("S3FilesConfig"):
                raise not_built("direct reads from S3 (S3FilesConfig)")
            if self._obstacle:
                raise invalid(f"The access point {arn} cannot be mounted: {self._obstacle}.")
            if path in _DOTS:
                raise invalid(f"The local mount path {path} is not a directory below /mnt.")
            if arn not in self._arns:
                raise invalid(
                    f"Access point {arn} does not exist. The file_systems setting of this server names those that do."
                )
