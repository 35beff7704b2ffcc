"""What functions may ask of the gateway."""

from __future__ import annotations

from typing import Any

import pytest

from lambent.base.clock import SystemClock
from lambent.base.http import Exchange, Headers, Request, Response
from lambent.wire.doorway import Doorway
from lambent.wire.gateway import Gateway
from lambent.wire.operations import Operations


class Connection:
    """Keeps the answer."""

    def __init__(self) -> None:
        self.answers: list[Response] = []

    def answer(self, request: Request, response: Response) -> None:
        self.answers.append(response)

    def start_stream(self, request: Request, response: Response, length: int | None) -> Any:
        raise AssertionError

    def close(self) -> None: ...


def request(target: str) -> Request:
    return Request("GET", target, Headers([(b"host", b"127.0.0.1:4566")]))


@pytest.fixture
def doorway() -> Doorway:
    gateway = Gateway(Operations(), SystemClock())
    return Doorway(gateway, open_to_all=["/_lambent/code/"])


@pytest.mark.parametrize(
    "target",
    [
        "/_lambent/status",
        "/_lambent/logs/f?region=us-east-1",
        "/_lambent/code",
        "/_lambent/",
        "/_localstack/health",
        "/health",
        "http://127.0.0.1:4566/_lambent/status",
    ],
)
def test_the_servers_own_pages_do_not_exist_for_functions(doorway: Doorway, target: str) -> None:
    refusal = doorway.admit(request(target))
    assert refusal is not None
    assert refusal.status == 403
    connection = Connection()
    doorway.handle(Exchange(connection, request(target)))
    assert [answer.status for answer in connection.answers] == [403]


@pytest.mark.parametrize("target", ["/_lambent/code/abc", "/2015-03-31/functions", "/", "/bucket/_lambent/status"])
def test_awss_api_does(doorway: Doorway, target: str) -> None:
    assert doorway.admit(request(target)) is None


class Renaming(Gateway):
    """Finds the real path only while it admits, as with buckets in the name of the host."""

    def admit(self, request: Request) -> Response | None:
        request.path = "/_lambent" + request.path
        return super().admit(request)


def test_a_path_that_the_gateway_finds_is_looked_at_too() -> None:
    refusal = Doorway(Renaming(Operations(), SystemClock())).admit(request("/status"))
    assert refusal is not None
    assert refusal.status == 403
