"""Why a caller is turned away, in AWS's words for each protocol.

Sources: "Common errors" of the Lambda, IAM, STS and KMS API references; "Troubleshooting Signature Version 4"; the
error responses of the S3 API reference.
"""

from __future__ import annotations

from enum import Enum

from lambent.wire import models
from lambent.wire.errors import AwsError
from lambent.wire.router import Route


class Kind(Enum):
    """What is wrong with who calls: its code in JSON, in query and in S3's answers."""

    MISSING = ("MissingAuthenticationTokenException", "MissingAuthenticationToken", "AccessDenied")
    INCOMPLETE = ("IncompleteSignatureException", "IncompleteSignature", "AuthorizationHeaderMalformed")
    SIGNATURE = ("InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch")
    UNKNOWN_KEY = ("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId")
    WRONG_TOKEN = ("UnrecognizedClientException", "InvalidClientTokenId", "InvalidToken")
    EXPIRED_TOKEN = ("ExpiredTokenException", "ExpiredToken", "ExpiredToken")
    SKEWED = ("InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed")
    EXPIRED = ("InvalidSignatureException", "SignatureDoesNotMatch", "AccessDenied")
    DIGEST = ("InvalidSignatureException", "SignatureDoesNotMatch", "XAmzContentSHA256Mismatch")
    DENIED = ("AccessDeniedException", "AccessDenied", "AccessDenied")


_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)
_TEXTS = {
    Kind.MISSING: ("Missing Authentication Token", "Request is missing Authentication Token", "Access Denied"),
    Kind.SIGNATURE: (
        _MISMATCH,
        _MISMATCH,
        "The request signature we calculated does not match the signature you provided. Check your key and signing"
        " method.",
    ),
    Kind.UNKNOWN_KEY: (
        "The security token included in the request is invalid.",
        "The security token included in the request is invalid.",
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    Kind.WRONG_TOKEN: (
        "The security token included in the request is invalid.",
        "The security token included in the request is invalid.",
        "The provided token is malformed or otherwise invalid.",
    ),
    Kind.EXPIRED_TOKEN: (
        "The security token included in the request is expired",
        "The security token included in the request is expired",
        "The provided token has expired.",
    ),
    Kind.DIGEST: (_MISMATCH, _MISMATCH, "The provided 'x-amz-content-sha256' header does not match what was computed."),
}
_OF_S3 = {Kind.SKEWED: "The difference between the request time and the current time is too large."}
_S3_400 = (Kind.INCOMPLETE, Kind.WRONG_TOKEN, Kind.EXPIRED_TOKEN, Kind.DIGEST)


class Refusal(AwsError):
    """Turned away. By itself it is a rest-json error; `styled` makes it that of another protocol."""

    def __init__(self, kind: Kind, message: str | None = None, *, key: str = "", token: str = "") -> None:
        """`message` where AWS's depends on the request; `key` and `token` of an access key that is not known."""
        text = message if message is not None else _TEXTS[kind][0]
        super().__init__(kind.value[0], text, status=403)
        self.kind = kind
        self.key = key
        self.token = token
        self._own = message


def styled(error: AwsError, route: Route | None) -> AwsError:
    """What the service of `route` would have answered in its protocol; other errors stay as they are."""
    if not isinstance(error, Refusal):
        return error
    kind, protocol = error.kind, route.protocol if route is not None else models.REST_JSON
    column = _column(route)
    status = 403
    if protocol in (models.JSON, models.CBOR) or (column == 2 and kind in _S3_400):
        status = 400
    message = error.message if error._own is not None else _TEXTS[kind][column]
    if column == 2:
        message = _OF_S3.get(kind, message)
    return AwsError(kind.value[column], message, status=status)


def _column(route: Route | None) -> int:
    if route is None:
        return 0
    if route.service.name == "s3":
        return 2
    return 1 if route.protocol in (models.QUERY, models.EC2, models.REST_XML) else 0


def denied(who: object, action: str, resource: str, because: str) -> Refusal:
    """AWS's sentence. `because`: "because no identity-based policy allows the … action"."""
    return Refusal(Kind.DENIED, f"User: {who} is not authorized to perform: {action} on resource: {resource} {because}")
