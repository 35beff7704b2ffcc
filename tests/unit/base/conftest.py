"""Fixtures for the HTTP server: every test runs on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop
from http_stage import App, Loop, Stage

from lambent.base.http import HttpServer


@pytest.fixture(scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def http_loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    running = Loop(request.param)
    yield running
    running.close()


@pytest.fixture
def stage(http_loop: Loop) -> Iterator[Stage]:
    stage = Stage(http_loop)
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def echo(http_loop: Loop) -> Iterator[tuple[Stage, App, HttpServer]]:
    """One echoing server for the tests with many examples."""
    stage, app = Stage(http_loop), App()
    yield stage, app, stage.serve(app)
    stage.close()
