"""One table: which implementation answers for which AWS service."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lambent.base.http_client import Origin
from lambent.wire import models

NATIVE, EMBEDDED, UPSTREAM, NONE = "native", "embedded", "upstream", "none"
MOVABLE = frozenset({"s3"})  # of our own services, those that may be somewhere else: nothing of Lambda lies in them
SHARED = frozenset({"cloudwatch"})  # native services whose operations that are not built the default answers
_DEFAULT = "default"


class UnusableChoice(Exception):
    """A choice of the setting `services` that cannot be. The message says why and what would do."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Where one service is."""

    mode: str  # NATIVE, EMBEDDED, UPSTREAM or NONE
    url: str = ""  # of an upstream; "{region}" in it stands for the request's
    credentials: str = ""  # that requests to an upstream are signed with anew: "env:NAME", "profile:NAME", or ""

    def __str__(self) -> str:
        return self.url if self.mode == UPSTREAM else self.mode


@dataclass(frozen=True, slots=True)
class Row:
    """One service, as `lambent status` shows it."""

    service: str
    choice: Choice
    durable: bool | None  # None: not ours to know


class Routes:
    """Answers `of(service)`: chosen, else native where Lambent has it, else the default."""

    def __init__(self, chosen: Mapping[str, Choice], native: Callable[[], Iterable[str]]) -> None:
        """`chosen` by botocore's names and "default"; `native` names the services that Lambent has. UnusableChoice."""
        self._chosen = {_known(name): choice for name, choice in chosen.items() if name != _DEFAULT}
        self._default = chosen.get(_DEFAULT, Choice(EMBEDDED))
        self._native = native
        self._cache: dict[str, Choice] = {}

    def check(self) -> None:
        """UnusableChoice for what cannot be. Once every native service is registered."""
        own = frozenset(self._native())
        for service, choice in self._chosen.items():
            if choice.mode == NATIVE and service not in own:
                raise UnusableChoice(f"services: {service} is not native (native are {', '.join(sorted(own))})")
            if choice.mode != NATIVE and service in own and service not in MOVABLE:
                raise UnusableChoice(
                    f"services: {service} is Lambent's own and cannot be {choice}: functions depend on it."
                    f" Of the native services only {', '.join(sorted(MOVABLE))} can be elsewhere"
                )
            if choice.mode == UPSTREAM:
                _check_url(service, choice.url)
        if self._default.mode in (NATIVE, UPSTREAM):
            raise UnusableChoice("services: the default can be embedded or none")
        self._cache.clear()

    def of(self, service: str) -> Choice:
        """Where `service` (botocore's name) is."""
        choice = self._cache.get(service)
        if choice is None:
            choice = self._chosen.get(service)
            if choice is None:
                choice = Choice(NATIVE) if service in self._native() else self._default
            self._cache[service] = choice
        return choice

    @property
    def default(self) -> Choice:
        return self._default

    @property
    def uses_embedded(self) -> bool:
        return self._default.mode == EMBEDDED or any(choice.mode == EMBEDDED for choice in self._chosen.values())

    def rows(self, further: Iterable[str] = ()) -> list[Row]:
        """The native services, the chosen ones, and `further` (those that have been asked for), sorted."""
        names = {*self._native(), *self._chosen, *further}
        return [Row(name, self.of(name), _durable(self.of(name))) for name in sorted(names)]


def _durable(choice: Choice) -> bool | None:
    return {NATIVE: True, EMBEDDED: False}.get(choice.mode)


def _known(name: str) -> str:
    """botocore's name for a service, which its signing name finds too."""
    found = models.candidates(name)
    if found:
        return found[0]
    near = difflib.get_close_matches(name, models.names(), n=1, cutoff=0.0)
    raise UnusableChoice(f"services: AWS has no service {name!r}; the nearest known one is {near[0]!r}")


def _check_url(service: str, url: str) -> None:
    try:
        Origin.of(url.replace("{region}", "us-east-1"))
    except ValueError:
        raise UnusableChoice(
            f"services: {service} must be native, embedded, none or a URL such as http://127.0.0.1:9000, not {url!r}"
        ) from None
