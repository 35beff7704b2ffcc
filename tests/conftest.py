"""Fixtures for every test; see `support.py` for what they hand out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from isolations import ISOLATIONS, Isolation
from support import RUNTIMES, Server

settings.register_profile("any machine", deadline=None)  # no test asserts a time
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--isolation", choices=[*ISOLATIONS], help="run every test that uses the server under this one")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test marked `isolations` runs under each that it names, or all; the others under namespaces."""
    marker = metafunc.definition.get_closest_marker("isolations")
    chosen = metafunc.config.getoption("--isolation")
    if "isolation" in metafunc.fixturenames and (marker is not None or chosen):
        names = [chosen] if chosen else (marker.args if marker is not None and marker.args else ISOLATIONS)
        metafunc.parametrize("isolation", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def isolation(request: pytest.FixtureRequest) -> Isolation:
    """How the server of this test fences functions in."""
    chosen = ISOLATIONS[getattr(request, "param", "namespaces")]
    if why := chosen.missing():
        pytest.skip(why)
    return chosen


@pytest.fixture(scope="session")
def server(isolation: Isolation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not need their own."""
    running = isolation.serve(tmp_path_factory.mktemp("server") / "data", "--runtimes-dir", str(RUNTIMES))
    yield running
    assert running.stop() == 0


@pytest.fixture
def lambda_client(server: Server) -> Any:
    return server.client()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A function name that no other test uses."""
    readable = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:40]
    return f"{readable}-{os.urandom(4).hex()}"
