"""Who calls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, taken from the credential scope of the request's signature."""

    account: str  # 12 digits
    region: str  # "us-east-1"
    access_key_id: str = ""  # "" when the request is unsigned
    partition: str = "aws"
    via: str = ""  # the service that asks in the caller's name: "lambda.amazonaws.com"; never set by a request
    proven: bool = False  # the signature was verified: what other accounts share is then for the gate to decide
    user: str = ""  # the name of the IAM user that calls, where one does and has proven it
    source: str = ""  # the IP address that the request came from
