"""The URI of a container image: which registry it names, which repository, which image."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lambent.base.remote_registry import is_loopback
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Context

_URI = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(?::\d+)?|\[[0-9a-f:]+\](?::\d+)?)/(?P<name>[a-z0-9][a-z0-9._/-]*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha(?:256|512):[0-9a-f]+))?"
)
_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|localhost(?::\d+)?)")
_PORT = re.compile(r":\d+$")

IsOwn = Callable[[Context, str], bool]
"""Whether a host, as a request's URI has it ("127.0.0.1:4566"), is this server itself."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An image, in Lambent's own registry or in another one."""

    uri: str  # as it was given
    caller: Caller  # who asks, in the region of the registry
    repository: str
    tag: str | None
    digest: str | None
    host: str = ""  # of another registry; "": Lambent's own
    account: str = ""  # whose part of Lambent's own it is in; "": the caller's

    @classmethod
    def parse(cls, uri: str, context: Context, is_own: IsOwn) -> Reference:
        """Raises InvalidParameterValueException, and the clear refusal of what cannot be reached."""
        match = _URI.fullmatch(uri)
        if match is None:
            raise AwsError(
                "InvalidParameterValueException",
                f"Source image {uri} is not valid. Provide a valid source image.",
                Type="User",
            )
        host, caller = match["host"], context.caller
        tag = match["tag"] or (None if match["digest"] else "latest")
        found = cls(uri, caller, match["name"], tag, match["digest"])
        if (ecr := _ECR.fullmatch(host)) is not None:
            return replace(found, caller=replace(caller, region=ecr[2]), account=ecr[1])
        return found if is_own(context, host) else replace(found, host=host)

    @property
    def place(self) -> Mapping[str, str]:
        """The repository in the words of ECR."""
        return {"repositoryName": self.repository, "registryId": self.account or self.caller.account}

    @property
    def wanted(self) -> Mapping[str, str]:
        """The image's id in the words of ECR."""
        named = {"imageDigest": self.digest, "imageTag": None if self.digest else self.tag}
        return {name: value for name, value in named.items() if value}

    def pinned(self, digest: str) -> str:
        """The URI that will always mean the same image."""
        return f"{self.uri.partition('@')[0].rpartition('/')[0]}/{self.repository.rpartition('/')[2]}@{digest}"


def own_hosts(port: Callable[[], int]) -> IsOwn:
    """This server: as the client addressed it, or on loopback with its port or none."""

    def is_own(context: Context, host: str) -> bool:
        if host == context.endpoint.partition("://")[2]:
            return True
        given = _PORT.search(host)
        return is_loopback(host) and (given is None or int(given[0][1:]) == port())

    return is_own
