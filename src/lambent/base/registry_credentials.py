"""Logins for other registries, from what `docker login`, `podman login` and `skopeo login` write.

Sources: Docker's config.json (`auths`, `credHelpers`, `credsStore` and the helpers' protocol), containers-auth.json(5).
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_SECONDS = 30
_TOKEN_USER = "<token>"  # noqa: S105  what helpers say in the place of a user's name
_HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")


class CredentialError(Exception):
    """The logins cannot be used. The message says why and shows none of them."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user with a password, or a token that stands for both."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def from_file(path: Path) -> str:
    """The text of a file that nobody else may read. CredentialError."""
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise CredentialError(f"{path} holds logins and others may read it. chmod 600 {path}")
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialError(f"the logins in {path} cannot be read: {error}") from None


class Credentials:
    """Finds the login for a repository. Read anew each time: who logs in need not start the server again."""

    def __init__(self, read: Callable[[], str]) -> None:
        """`read` gives the JSON. It blocks, and raises CredentialError."""
        self._read = read

    def find(self, host: str, repository: str) -> Login | None:
        """The login for `host` ("registry.example:5000") and a repository there; None when there is none. Blocks.

        Raises CredentialError.
        """
        try:
            document = json.loads(self._read() or "{}")
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise CredentialError("the logins of registry_auth are not the JSON that `docker login` writes")
        hosts = _HUB if host == "docker.io" else (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/")
        helpers = document.get("credHelpers") or {}
        if helper := next((helpers[name] for name in hosts if name in helpers), document.get("credsStore")):
            return _from_helper(str(helper), hosts[0])
        entries = document.get("auths") or {}
        found = next((entries[name] for name in (*_spaces(host, repository), *hosts) if name in entries), None)
        return _login(found, host) if found else None


def _spaces(host: str, repository: str) -> list[str]:
    """A login may be for one repository, or for all below a path: the narrowest first."""
    parts = repository.split("/")
    return ["/".join([host, *parts[:count]]) for count in range(len(parts), 0, -1)]


def _login(entry: Any, host: str) -> Login:
    wrong = CredentialError(f"the login for {host} is damaged")
    if not isinstance(entry, Mapping):
        raise wrong
    if token := entry.get("identitytoken"):
        return Login(identity_token=str(token))
    if entry.get("username"):
        return Login(str(entry["username"]), str(entry.get("password", "")))
    try:
        user, colon, password = base64.b64decode(str(entry.get("auth", "")), validate=True).decode().partition(":")
    except ValueError:
        raise wrong from None
    if not colon:
        raise wrong
    return Login(user, password.rstrip("\0"))


def _from_helper(name: str, server: str) -> Login | None:
    """Ask the program `docker-credential-NAME`."""
    if not _HELPER.fullmatch(name):
        raise CredentialError("a credential helper has a name of letters, digits, dots and dashes")
    command = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [command, "get"], input=server, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
        if done.returncode != 0:
            if "credentials not found" in done.stdout + done.stderr:
                return None
            raise CredentialError(f"{command} failed with status {done.returncode}")
        found = json.loads(done.stdout)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (OSError, subprocess.SubprocessError) as error:
        raise CredentialError(f"{command} cannot be asked: {type(error).__name__}") from None
    except (ValueError, KeyError, TypeError):
        raise CredentialError(f"{command} gives no login") from None
    return Login(identity_token=secret) if user == _TOKEN_USER else Login(user, secret)
