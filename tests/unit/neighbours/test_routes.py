from __future__ import annotations

import pytest

from lambent.neighbours.routes import EMBEDDED, NATIVE, NONE, UPSTREAM, Choice, Routes, UnusableChoice


def routes(chosen: dict[str, Choice] | None = None, native: tuple[str, ...] = ("lambda", "s3", "kms")) -> Routes:
    made = Routes(chosen or {}, lambda: native)
    made.check()
    return made


def test_a_service_is_native_where_we_have_it_and_else_the_default():
    assert routes().of("lambda").mode == NATIVE
    assert routes().of("sqs").mode == EMBEDDED
    assert routes({"default": Choice(NONE)}).of("sqs").mode == NONE


def test_what_was_chosen_wins_and_s3_can_be_moved():
    upstream = Choice(UPSTREAM, "http://127.0.0.1:9000")
    table = routes({"s3": upstream, "sqs": Choice(NONE)})
    assert table.of("s3") == upstream
    assert table.of("sqs").mode == NONE
    assert routes({"s3": Choice(EMBEDDED)}).of("s3").mode == EMBEDDED


def test_a_signing_name_names_a_service_too():
    assert routes({"monitoring": Choice(NONE)}).of("cloudwatch").mode == NONE


@pytest.mark.parametrize(
    ("service", "choice", "message"),
    [
        ("kms", Choice(EMBEDDED), "kms is Lambent's own and cannot be embedded.*only s3"),
        ("sqs", Choice(NATIVE), r"sqs is not native \(native are kms, lambda, s3\)"),
        ("sqss", Choice(EMBEDDED), "no service 'sqss'; the nearest known one is 'sqs'"),
        ("default", Choice(UPSTREAM, "http://x"), "the default can be embedded or none"),
        ("sqs", Choice(UPSTREAM, "ftp://x"), "sqs must be native, embedded, none or a URL"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(service, choice, message):
    with pytest.raises(UnusableChoice, match=message):
        routes({service: choice})


def test_rows_tell_what_lasts():
    table = routes({"s3": Choice(UPSTREAM, "http://127.0.0.1:9000")})
    rows = {row.service: row.durable for row in table.rows(["sqs"])}
    assert rows == {"lambda": True, "kms": True, "s3": None, "sqs": False}
