"""`/_lambent/denials` and `/_lambent/explain`: why calls were, or would be, denied."""

from __future__ import annotations

import urllib.parse
from dataclasses import asdict

import orjson

from lambent.base.http import Request, Response
from lambent.services.iam import principals
from lambent.services.iam.gate import IamGate
from lambent.services.iam.principals import Principal
from lambent.wire.callers import Caller
from lambent.wire.gate import Access
from lambent.wire.gateway import Gateway

_JSON = ("Content-Type", "application/json")


class Explanations:
    """Handlers for administrators."""

    def __init__(self, gate: IamGate, region: str) -> None:
        self._gate = gate
        self._region = region

    def mount(self, gateway: Gateway) -> None:
        gateway.route("/_lambent/denials", self.denials)
        gateway.route("/_lambent/explain", self.explain)

    async def denials(self, request: Request) -> Response:
        return _answer({"denials": [asdict(denial) for denial in reversed(self._gate.denials)]})

    async def explain(self, request: Request) -> Response:
        """`/_lambent/explain?principal=&action=&resource=&region=`."""
        query = dict(urllib.parse.parse_qsl(request.query))
        principal, action = _principal(query.get("principal", "")), query.get("action", "")
        if principal is None or ":" not in action:
            message = "ask for /_lambent/explain?principal=<ARN of a user, a role or a session>&action=…&resource=…"
            return _answer({"message": message}, 400)
        caller = Caller(principal.account or "", query.get("region", self._region), proven=True)
        decision = await self._gate.explain(principal, caller, Access(action, query.get("resource", "*")))
        return _answer({"allowed": decision.allowed, "because": decision.because})


def _principal(arn: str) -> Principal | None:
    """A role stands for any session of it."""
    head, role, name = arn.partition(":role/")
    if role and head.startswith("arn:aws") and head.count(":") == 4:
        account = head.rpartition(":")[2]
        session = f"arn:aws:sts::{account}:assumed-role/{name.rpartition('/')[2]}/explained"
        return Principal(account, session, arn)
    return principals.from_arn(arn)


def _answer(body: object, status: int = 200) -> Response:
    return Response(status, (_JSON,), orjson.dumps(body))
