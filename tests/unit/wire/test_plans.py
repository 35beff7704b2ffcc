"""Plans read a request as router, parser and validator do, whatever was asked before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.wire import parser, plans, router, validator
from lambent.wire.errors import AwsError
from lambent.wire.plans import Plans

from .oracle import client_request, plain_request

INVOKE = "/2015-03-31/functions/{}/invocations"
kept = Plans()  # one for all examples: what it remembers must not show

requests = st.builds(
    lambda path, name, query, headers, body: (path.format(name) + query, headers, body),
    st.sampled_from([INVOKE, "/2021-11-15/functions/{}/response-streaming-invocations", "/2015-03-31/functions/{}"]),
    st.sampled_from(["a", "b", "a%20b", "arn:aws:lambda:us-east-1:000000000000:function:a", "x" * 600]),
    st.sampled_from(["", "?Qualifier=1", "?Qualifier=", "?Qualifier=%24LATEST", "?other=1"]),
    st.fixed_dictionaries(
        {},
        optional={
            "X-Amz-Invocation-Type": st.sampled_from(["DryRun", "Event", "RequestResponse", "wrong"]),
            "X-Amz-Log-Type": st.sampled_from(["Tail", "None", "wrong"]),
            "X-Amz-Client-Context": st.sampled_from(["e30=", "x" * 600]),
            "X-Unknown": st.just("1"),
        },
    ),
    st.sampled_from([b"", b"{}", b"no json"]),
)


def outcome(work: object) -> object:
    try:
        return work()  # type: ignore[operator]
    except AwsError as error:
        return (error.code, error.message)


@given(st.sampled_from(["GET", "POST"]), requests)
def test_they_read_what_the_parser_reads(method: str, asked: tuple[str, dict[str, str], bytes]) -> None:
    target, headers, body = asked
    request = plain_request(method, target, headers, body)

    def plainly() -> object:
        route = router.route(request, "lambda")
        parameters = parser.parse(route, request, body)
        validator.validate(route.operation, parameters)
        return route.operation.name, route.labels, parameters

    def planned() -> object:
        plan = kept.find(request, "lambda")
        return plan.route.operation.name, plan.route.labels, plan.parameters(request, body)

    assert outcome(planned) == outcome(plainly)


def test_only_what_does_not_depend_on_the_body_is_kept() -> None:
    found = Plans()
    invoke = plain_request("POST", INVOKE.format("f"), {}, b"{}")
    assert found.find(invoke, "lambda") is found.find(invoke, "lambda")
    create = client_request("lambda", "CreateFunction", {"FunctionName": "f", "Role": "r", "Code": {}})
    assert found.find(create, "lambda") is not found.find(create, "lambda")
    put = plain_request("PUT", "/bucket/key", {}, b"")
    assert found.find(put, "s3").route.operation.name == "PutObject"
    copy = plain_request("PUT", "/bucket/key", {"x-amz-copy-source": "a/b"}, b"")
    assert found.find(copy, "s3").route.operation.name == "CopyObject"


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_PLANS", 3)
    found = Plans()
    for number in range(10):
        found.find(plain_request("POST", INVOKE.format(f"f{number}")), "lambda")
        assert len(found._plans) <= 3
    plan = found.find(plain_request("POST", INVOKE.format("f")), "lambda")
    for number in range(40):
        request = plain_request("POST", INVOKE.format("f"), {"X-Amz-Client-Context": str(number)})
        assert plan.parameters(request, b"1")["ClientContext"] == str(number)
    assert len(plan._kept) <= 16
