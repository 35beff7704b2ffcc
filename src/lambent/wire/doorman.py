"""Asks everybody who comes for their signature: `--auth iam`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache

from lambent.base.http import Request
from lambent.wire.callers import Caller
from lambent.wire.refusals import Kind, Refusal
from lambent.wire.signatures import Proof, Verifier

Recall = Callable[[str, str], Awaitable[bool]]
"""(key, session token) → whether it turned out to be one after all: made by another process, or lent before."""

_LARGE = 1 << 20  # bytes of a body that is hashed in a thread


@lru_cache(maxsize=4096)
def _caller(account: str, region: str, key: str, user: str, source: str) -> Caller:
    return Caller(account, region, key, proven=True, user=user, source=source)


class Doorman:
    """Turns a request into a proven caller."""

    def __init__(self, verifier: Verifier, *recalls: Recall) -> None:
        """`recalls` are asked about keys that are not known."""
        self._verifier = verifier
        self._recalls = recalls

    async def prove(self, request: Request, body: bytes | None) -> tuple[Caller, Proof]:
        """Who calls. `body` as it was sent; None while it has not come: then it is the proof's to check it.

        Raises Refusal.
        """
        try:
            proof = await self._verify(request, body)
        except Refusal as refusal:
            if refusal.kind is not Kind.UNKNOWN_KEY or not await self._is_recalled(refusal.key, refusal.token):
                raise
            proof = await self._verify(request, body)
        issued, scope = proof.issued, proof.scope
        region = scope.region or ""
        return _caller(issued.account, region, scope.access_key_id, issued.user, request.peer), proof

    async def _is_recalled(self, key: str, token: str) -> bool:
        for recall in self._recalls:
            if await recall(key, token):
                return True
        return False

    async def _verify(self, request: Request, body: bytes | None) -> Proof:
        if body is not None and len(body) >= _LARGE:
            return await asyncio.to_thread(self._whole, request, body)
        return self._whole(request, body)

    def _whole(self, request: Request, body: bytes | None) -> Proof:
        proof = self._verifier.verify(request, body)
        if body is not None:
            proof.check(body)
        return proof
