"""Power cuts: the server is killed at random moments of a mix of changes, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from support import ROLE, RUNTIME, Server, eventually, zip_files

CYCLES = int(os.environ.get("CRASH_CYCLES", "200"))
Content = str | None  # what a function answers; None: there is no such function


class Model:
    """What each function may be after a crash: what was acknowledged, and what was under way."""

    def __init__(self) -> None:
        self.possible: dict[str, set[Content]] = {}

    def attempt(self, name: str, content: Content) -> None:
        self.possible.setdefault(name, {None}).add(content)

    def acknowledged(self, name: str, content: Content) -> None:
        self.possible[name] = {content}


def archive(content: str) -> bytes:
    return zip_files({"function.py": f"def handler(event, context):\n    return {content!r}\n"})


class Worker(threading.Thread):
    """Creates, updates, invokes and deletes its own functions until the server is gone."""

    def __init__(self, server: Server, model: Model, names: list[str], seed: int) -> None:
        super().__init__(daemon=True)
        self.client = server.client()
        self.model = model
        self.names = names
        self.random = random.Random(seed)
        self.wrong: list[str] = []
        self.replaced: dict[str, set[Content]] = {}  # what an update that is still under way may leave serving
        self.done = 0

    def run(self) -> None:
        try:
            while True:
                self.step(self.random.choice(self.names))
                self.done += 1
        except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError):
            pass  # the server was killed

    def step(self, name: str) -> None:
        current = self.model.possible.get(name, {None})
        content = f"{name}-{self.random.randrange(10**9)}"
        if current == {None}:
            self.model.attempt(name, content)
            code = {"ZipFile": archive(content)}
            self.client.create_function(
                FunctionName=name, Code=code, Runtime=RUNTIME, Role=ROLE, Handler="function.handler"
            )
            self.model.acknowledged(name, content)
            return
        action = self.random.choice(("code", "configuration", "invoke", "delete"))
        try:
            if action == "code":
                self.model.attempt(name, content)
                self.client.update_function_code(FunctionName=name, ZipFile=archive(content))
                self.model.acknowledged(name, content)
                self.replaced[name] = current
            elif action == "configuration":
                self.client.update_function_configuration(FunctionName=name, Description=content)
            elif action == "delete":
                self.model.attempt(name, None)
                self.client.delete_function(FunctionName=name)
                self.model.acknowledged(name, None)
            else:
                answer = json.loads(self.client.invoke(FunctionName=name)["Payload"].read())
                if answer not in current | self.replaced.get(name, set()):
                    self.wrong.append(f"{name} answered {answer}, not one of {current}")
        except self.client.exceptions.ResourceConflictException:
            self.model.possible[name] = current  # an update was in progress: this one was refused


def observe(client: Any, name: str) -> Content:
    """What the function is now, by running it."""
    try:
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    except botocore.exceptions.WaiterError as error:
        assert "ResourceNotFoundException" in str(error), error
        return None
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    response = client.invoke(FunctionName=name)
    answer: str = json.loads(response["Payload"].read())
    return answer


def digests(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if len(path.name) == 64 and path.parent.name != "function.py"}


@pytest.mark.timeout(900)  # two hundred servers
def test_nothing_acknowledged_is_lost_and_nothing_is_left_over(tmp_path: Path) -> None:
    model = Model()
    data = tmp_path / "data"
    chance = random.Random(20261121)
    done = 0
    server = Server(data)
    for cycle in range(CYCLES):
        workers = [
            Worker(server, model, [f"w{number}-{i}" for i in range(3)], seed=cycle * 10 + number) for number in range(2)
        ]
        for worker in workers:
            worker.start()
        time.sleep(chance.uniform(0.01, 0.25))
        server.kill()
        for worker in workers:
            worker.join(30)
            assert not worker.is_alive()
            assert worker.wrong == []
            done += worker.done
        server = Server(data)
        client = server.client()
        for name, possible in model.possible.items():
            found = observe(client, name)
            assert found in possible, f"cycle {cycle}: {name} is {found}, not one of {possible}"
            model.possible[name] = {found}
        wanted = {content for possible in model.possible.values() for content in possible if content is not None}
        kept = len(wanted)
        assert eventually(lambda kept=kept: len(digests(data / "blobs")) == kept), f"cycle {cycle}: orphaned blobs"
        assert eventually(lambda kept=kept: len(digests(data / "trees")) == kept), f"cycle {cycle}: orphaned trees"
    assert server.stop() == 0
    assert done > CYCLES, "the workers did hardly anything"
