"""The container registry, as the commands call it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import quote, urlencode

from lambent.cli.client import Client, Refused

_TARGET = "AmazonEC2ContainerRegistry_V20150921."


class Registry:
    """Raises Unreachable or Refused."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._login: str | None = None

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """An operation of ECR's control API."""
        body = json.dumps(parameters).encode()
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": _TARGET + operation}
        answer = self._client.signed("ecr", "POST", "/", body, headers)
        found: dict[str, Any] = json.loads(answer.body or b"{}")
        return found

    def ensure(self, repository: str) -> bool:
        """Create the repository unless it is there; whether it was created."""
        try:
            self.call("CreateRepository", repositoryName=repository)
        except Refused as error:
            if "RepositoryAlreadyExistsException" in str(error):
                return False
            raise
        return True

    def has(self, repository: str, digest: str) -> bool:
        return self._ask("HEAD", f"/v2/{repository}/blobs/{digest}").status == 200

    def upload(self, repository: str, digest: str, file: IO[bytes], size: int) -> None:
        target = f"/v2/{repository}/blobs/uploads/?{urlencode({'digest': digest})}"
        self._ask("POST", target, file, {"Content-Length": str(size)}, expected=201)

    def put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> str:
        """The digest under which it is kept."""
        target = f"/v2/{repository}/manifests/{quote(reference, safe=':')}"
        answer = self._ask("PUT", target, content, {"Content-Type": media_type}, expected=201)
        return answer.headers["Docker-Content-Digest"] or ""

    def blob(self, repository: str, digest: str) -> bytes:
        return self._ask("GET", f"/v2/{repository}/blobs/{digest}", expected=200).read()

    def _ask(
        self,
        method: str,
        target: str,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        expected: int | None = None,
    ) -> http.client.HTTPResponse:
        if self._login is None:
            data = self.call("GetAuthorizationToken")["authorizationData"][0]
            self._login = "Basic " + data["authorizationToken"]
        response = self._client.stream(method, target, body, {**(headers or {}), "Authorization": self._login})
        if expected is not None and response.status != expected:
            raise Refused(f"HTTP {response.status}: {response.read(2000).decode(errors='replace')}")
        return response
