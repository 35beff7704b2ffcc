"""Signatures for requests that leave: botocore's own signers, which AWS's clients use."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import urlsplit

import botocore.session
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambent.wire import models

__all__ = ["Credentials", "of_profile", "of_text", "sign", "signing_name"]

_DIGEST = "x-amz-content-sha256"
_UNSIGNED = "UNSIGNED-PAYLOAD"


class _S3Signer(S3SigV4Auth):  # type: ignore[misc]
    """Signs for a body that it does not see."""

    def __init__(self, digest: str, *settings: object) -> None:
        super().__init__(*settings)
        self._digest = digest

    def payload(self, request: AWSRequest) -> str:
        return self._digest


def of_profile(name: str) -> Credentials:
    """The credentials of a profile in AWS's own files. LookupError, which shows no secret."""
    try:
        found = botocore.session.Session(profile=name).get_credentials()
    except Exception as error:
        raise LookupError(f"the profile cannot be used ({type(error).__name__})") from None
    if found is None:
        raise LookupError("the profile has no credentials")
    frozen = found.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def of_text(text: str) -> Credentials:
    """From KEY_ID:SECRET or KEY_ID:SECRET:SESSION_TOKEN. LookupError, which shows no secret."""
    parts = text.strip().split(":", 2)
    if len(parts) < 2 or not all(parts):
        raise LookupError("what it holds is not KEY_ID:SECRET")
    return Credentials(*parts)


def signing_name(service: str) -> str:
    """The name in the credential scope of requests for `service` (botocore's name)."""
    metadata = models.service(service).metadata
    return str(metadata.get("signingName") or metadata["endpointPrefix"])


def sign(
    keys: Credentials,
    name: str,
    region: str,
    method: str,
    url: str,
    headers: Sequence[tuple[str, str]],
    body: bytes | None,
) -> list[tuple[str, str]]:
    """The headers of a request to `url`, its signature among them. `body`: None when nobody has it whole.

    An `X-Amz-Content-SHA256` that the client sent stands for the body; without one the body is left out.
    """
    request = AWSRequest(method=method, url=url, data=body or b"", headers=dict(headers))
    if name == "s3":
        told = next((value for each, value in headers if each.lower() == _DIGEST), None)
        digest = told or (_UNSIGNED if body is None else hashlib.sha256(body).hexdigest())
        _S3Signer(digest, keys, name, region).add_auth(request)
    else:
        SigV4Auth(keys, name, region).add_auth(request)
    parts = urlsplit(url)
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    host = parts.netloc.rpartition("@")[2].removesuffix(usual)
    return [("Host", host), *((each, value) for each, value in request.headers.items() if each.lower() != "host")]
