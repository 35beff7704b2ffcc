"""The public HTTP API, as the commands call it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from lambent.config import ClientConfig, ConfigError

_SHORT_SECONDS = 30
_INVOKE_SECONDS = 930  # a function may run for 900


class Unreachable(Exception):
    """Nobody answers, or it is not Lambent. The message says what to do."""


class Refused(Exception):
    """The server answered with an error."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # lower-cased names
    body: bytes


class Client:
    """Calls one server. Every method raises Unreachable or Refused."""

    def __init__(self, config: ClientConfig) -> None:
        parts = urlsplit(config.endpoint)
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or not port:
            raise ConfigError(f"the endpoint must look like http://127.0.0.1:4566, not {config.endpoint!r}")
        self.config = config
        self._https, self._host, self._port = parts.scheme == "https", parts.hostname, port

    def status(self) -> dict[str, Any]:
        """What the server says of itself."""
        return self._own("/_lambent/status")

    def denials(self) -> dict[str, Any]:
        """{"denials": [{"time", "principal", "action", "resource", "because"}]}, the newest first."""
        return self._own("/_lambent/denials")

    def explain(self, principal: str, action: str, resource: str) -> dict[str, Any]:
        """{"allowed", "because"}."""
        query = {"principal": principal, "action": action, "resource": resource, "region": self.config.region}
        return self._own(f"/_lambent/explain?{urlencode(query)}")

    def runtimes(self) -> dict[str, Any]:
        """{"runtimes": [{"name", "available", "source", "detail", "install"}]}."""
        return self._own("/_lambent/runtimes")

    def logs(self, function: str, after: int, limit: int) -> dict[str, Any]:
        """{"events": [{"sequence", "timestamp", "stream", "message"}], "next": sequence}, oldest first."""
        query = {
            "region": self.config.region,
            "account": self.config.account,
            "after": after,
            "limit": limit,
        }
        return self._own(f"/_lambent/logs/{quote(function, safe='')}?{urlencode(query)}")

    def invoke(self, function: str, payload: bytes, *, qualifier: str | None, tail: bool) -> Answer:
        """The Lambda operation Invoke, synchronously. Refused when Lambda, not the function, failed."""
        target = f"/2015-03-31/functions/{quote(function, safe='')}/invocations"
        if qualifier:
            target += "?" + urlencode({"Qualifier": qualifier})
        headers = {"Content-Type": "application/json", "X-Amz-Log-Type": "Tail" if tail else "None"}
        return self.signed("lambda", "POST", target, payload, headers, _INVOKE_SECONDS)

    def signed(
        self,
        service: str,
        method: str,
        target: str,
        body: bytes,
        headers: dict[str, str],
        seconds: float = _SHORT_SECONDS,
    ) -> Answer:
        """A call of an AWS operation."""
        answer = self._send(method, target, body, self._signed(service, method, target, body, headers), seconds)
        if answer.status >= 300:
            raise Refused(_explain(answer))
        return answer

    def stream(
        self, method: str, target: str, body: bytes | IO[bytes] | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """An unsigned call whose bodies may be larger than memory: the response reads on from its own connection."""
        try:
            connection = self._connect(_INVOKE_SECONDS)
            connection.request(method, target, body, dict(headers))
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self._unreachable(error)) from None

    def _own(self, target: str) -> dict[str, Any]:
        answer = self._send("GET", target, b"", self._signed("lambda", "GET", target, b"", {}), _SHORT_SECONDS)
        value = _json(answer.body)
        if isinstance(value, dict):
            if answer.status == 200:
                return value
            if _message(value):
                raise Refused(_explain(answer))
        raise Unreachable(f"what answers at {self.config.endpoint} is not Lambent (HTTP {answer.status})")

    def _signed(self, service: str, method: str, target: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        chosen = self.config
        credentials = Credentials(chosen.access_key_id, chosen.secret_access_key, chosen.session_token)
        request = AWSRequest(method, chosen.endpoint.rstrip("/") + target, data=body, headers=headers)
        SigV4Auth(credentials, service, chosen.region).add_auth(request)
        return dict(request.headers.items())

    def _send(self, method: str, target: str, body: bytes, headers: Mapping[str, str], seconds: float) -> Answer:
        connection = self._connect(seconds)
        try:
            connection.request(method, target, body or None, dict(headers))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self._unreachable(error)) from None
        finally:
            connection.close()

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=seconds)

    def _unreachable(self, error: Exception) -> str:
        if isinstance(error, ConnectionRefusedError):
            return f"no server listens at {self.config.endpoint}. Start one with: lambent serve"
        if isinstance(error, TimeoutError):
            return f"{self.config.endpoint} did not answer in time. See what it does with: lambent status"
        return f"cannot talk to {self.config.endpoint}: {error or type(error).__name__}"


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _message(value: Mapping[str, Any]) -> str:
    return value.get("message") or value.get("Message") or ""


def _explain(answer: Answer) -> str:
    """ "CODE: message" of an AWS error answer."""
    code = answer.headers.get("x-amzn-errortype", f"HTTP {answer.status}").partition(":")[0]
    value = _json(answer.body)
    message = _message(value) if isinstance(value, dict) else answer.body.decode(errors="replace").strip()[:500]
    return f"{code}: {message}" if message else code
