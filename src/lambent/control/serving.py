"""What is in memory of the functions: what invocations need, and which code is referred to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from lambent.control import states
from lambent.control.records import LATEST, Function, FunctionKey
from lambent.control.rows import Row


class Serving:
    """Belongs to one event loop. Brought up to date after each commit, in the order of commits."""

    def __init__(self) -> None:
        self._versions: dict[FunctionKey, dict[str, Function]] = {}
        self._busy: dict[tuple[FunctionKey, str], asyncio.Event] = {}
        self._digests: dict[tuple[FunctionKey, str], frozenset[str]] = {}
        self._references: Counter[str] = Counter()
        self._sizes: dict[tuple[FunctionKey, str], int] = {}
        self._stored: Counter[tuple[str, str]] = Counter()  # bytes of code, by account and region
        self._functions: Counter[tuple[str, str]] = Counter()

    def find(self, key: FunctionKey, version: str) -> Function | None:
        versions = self._versions.get(key)
        return versions.get(version) if versions is not None else None

    def versions(self, key: FunctionKey) -> Mapping[str, Function]:
        """What can be invoked of a function, by version."""
        return self._versions.get(key, {})

    def functions(self) -> Iterable[Function]:
        return (function for versions in self._versions.values() for function in versions.values())

    def busy(self, key: FunctionKey, version: str) -> asyncio.Event | None:
        """What is set once nothing prepares this version any more; None when nothing does."""
        return self._busy.get((key, version))

    def count(self) -> int:
        """How many functions there are, versions not counted."""
        return self._functions.total()

    def usage(self, account: str, region: str) -> tuple[int, int]:
        """How many functions an account has in a region, and the bytes of code of them and their versions."""
        return self._functions[account, region], self._stored[account, region]

    def digests(self) -> set[str]:
        return set(self._references)

    def refers_to(self, digest: str) -> bool:
        return digest in self._references

    def remember(self, key: FunctionKey, version: str, row: Row | None) -> Iterable[str]:
        """Bring the memory up to `row`; the digests that nothing refers to any more."""
        self._measure(key, version, row.document.code_size if row is not None else None)
        self._serve(key, version, row.serving if row is not None else None)
        if row is not None and states.is_busy(row.document):
            self._busy.setdefault((key, version), asyncio.Event())
        elif (event := self._busy.pop((key, version), None)) is not None:
            event.set()
        return self._count(key, version, row.digests if row is not None else frozenset())

    def _measure(self, key: FunctionKey, version: str, size: int | None) -> None:
        place = (key.account, key.region)
        before = self._sizes.pop((key, version), None)
        if size is not None:
            self._sizes[key, version] = size
        self._stored[place] += (size or 0) - (before or 0)
        if version == LATEST:
            self._functions[place] += (size is not None) - (before is not None)

    def _serve(self, key: FunctionKey, version: str, function: Function | None) -> None:
        if function is not None:
            self._versions.setdefault(key, {})[version] = function
        elif (versions := self._versions.get(key)) is not None:
            versions.pop(version, None)
            if not versions:
                del self._versions[key]

    def _count(self, key: FunctionKey, version: str, digests: frozenset[str]) -> Iterable[str]:
        before = self._digests.pop((key, version), frozenset())
        if digests:
            self._digests[key, version] = digests
        self._references.update(digests)
        self._references.subtract(before)
        released = [digest for digest in before if not self._references[digest]]
        for digest in released:
            del self._references[digest]
        return released
