"""Whose turn it is: the functions that wait for environments, account by account."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator


class Turns:
    """Accounts take turns, and the functions of an account do. Whoever has been served goes to the back."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def add(self, account: str, function: str) -> None:
        """At the back of the queue; nothing happens to one that is in it."""
        self._accounts.setdefault(account, OrderedDict()).setdefault(function, None)

    def remove(self, account: str, function: str) -> None:
        functions = self._accounts.get(account)
        if functions is None:
            return
        functions.pop(function, None)
        if not functions:
            del self._accounts[account]

    def served(self, account: str, function: str) -> None:
        functions = self._accounts.get(account)
        if functions is not None and function in functions:
            functions.move_to_end(function)
            self._accounts.move_to_end(account)

    def __iter__(self) -> Iterator[str]:
        """The functions, those of the account whose turn it is first. Not to be changed meanwhile."""
        for functions in self._accounts.values():
            yield from functions

    def __bool__(self) -> bool:
        return bool(self._accounts)
