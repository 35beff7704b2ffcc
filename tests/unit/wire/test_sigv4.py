"""Who signed a request."""

from __future__ import annotations

import pytest
from botocore.auth import S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from lambent.wire import sigv4
from lambent.wire.errors import AwsError
from lambent.wire.sigv4 import Accounts, Scope

from .oracle import plain_request

SCOPE = "AKID/20240229/eu-west-1/lambda/aws4_request"


def _read(authorization: str | None = None, query: str = "") -> Scope | None:
    headers = {} if authorization is None else {"Authorization": authorization}
    return sigv4.read(plain_request("GET", f"/?{query}", headers))


@pytest.mark.parametrize("token", [None, "session"])
def test_what_botocore_signs_is_read(token: str | None) -> None:
    request = AWSRequest("GET", "http://127.0.0.1/", headers={"Host": "127.0.0.1"})
    SigV4Auth(Credentials("AKID", "secret", token), "lambda", "eu-west-1").add_auth(request)
    assert _read(request.headers["Authorization"]) == Scope("AKID", "eu-west-1", "lambda")


@pytest.mark.parametrize("signer", [SigV4QueryAuth, S3SigV4QueryAuth])
def test_what_botocore_presigns_is_read(signer: type[SigV4QueryAuth]) -> None:
    request = AWSRequest("GET", "http://127.0.0.1/", headers={"Host": "127.0.0.1"})
    signer(Credentials("AKID", "secret"), "s3", "us-east-1").add_auth(request)
    assert _read(query=request.url.partition("?")[2]) == Scope("AKID", "us-east-1", "s3")


def test_spaces_around_the_fields_do_not_matter() -> None:
    header = f"AWS4-HMAC-SHA256  Credential={SCOPE},SignedHeaders=host ,  Signature=abc="
    assert _read(header) == Scope("AKID", "eu-west-1", "lambda")


def test_a_key_may_hold_slashes() -> None:
    header = f"AWS4-HMAC-SHA256 Credential=a/b/{SCOPE}, SignedHeaders=host, Signature=abc"
    assert _read(header) == Scope("a/b/AKID", "eu-west-1", "lambda")


def test_older_signatures_have_only_a_key() -> None:
    assert _read("AWS AKID:signature=") == Scope("AKID")
    assert _read(query="AWSAccessKeyId=AKID&Signature=x&Expires=1") == Scope("AKID")


@pytest.mark.parametrize("header", [None, "Bearer x", "Basic dXNlcjpwYXNz", ""])
def test_unsigned_requests(header: str | None) -> None:
    assert _read(header) is None


@pytest.mark.parametrize(
    "header",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=",
        f"AWS4-HMAC-SHA256 Credential={SCOPE}",
        f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host",
        "AWS4-HMAC-SHA256 Credential=AKID, SignedHeaders=host, Signature=x",
        "AWS4-HMAC-SHA256 Credential=AKID/20240229/eu-west-1/lambda/other, SignedHeaders=host, Signature=x",
        "AWS4-HMAC-SHA256 Credential=/20240229/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=x",
    ],
)
def test_signatures_that_cannot_be_read(header: str) -> None:
    with pytest.raises(AwsError) as caught:
        _read(header)
    assert (caught.value.code, caught.value.status) == ("IncompleteSignatureException", 400)


def test_presigned_scopes_that_cannot_be_read() -> None:
    with pytest.raises(AwsError) as caught:
        _read(query="X-Amz-Credential=AKID%2Fx")
    assert caught.value.code == "IncompleteSignatureException"


def test_multi_region_signatures_are_not_built() -> None:
    with pytest.raises(AwsError) as caught:
        _read("AWS4-ECDSA-P256-SHA256 Credential=AKID/20240229/s3/aws4_request, SignedHeaders=host, Signature=x")
    assert caught.value.status == 501
    assert "SigV4A" in (caught.value.message or "")


@given(
    st.text(alphabet=st.characters(max_codepoint=255)), st.text(alphabet="X-AmzCredential=&%/AWSKeyId2F", max_size=60)
)
def test_any_signature_is_read_or_refused(header: str, query: str) -> None:
    for authorization in (None, header, f"AWS4-HMAC-SHA256 {header}", f"AWS4-HMAC-SHA256 Credential={header}"):
        try:
            _read(authorization, query)
        except AwsError as error:
            assert error.status in (400, 501)


def test_accounts_of_keys() -> None:
    accounts = Accounts()
    assert accounts.account_of("123456789012") == "123456789012"
    assert accounts.account_of("test") == "000000000000"
    assert accounts.account_of("1234567890123") == "000000000000"
    assert accounts.account_of("١٢٣٤٥٦٧٨٩٠١٢") == "000000000000"
    accounts.issue("ASIA1", "210987654321")
    assert accounts.account_of("ASIA1") == "210987654321"
    accounts.forget("ASIA1")
    accounts.forget("ASIA1")
    assert accounts.account_of("ASIA1") == "000000000000"
