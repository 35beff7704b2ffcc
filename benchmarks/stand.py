"""What a file of `rows/` gets: the contender that runs, the options, and the figures it adds to."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field

import wire
from contenders import Contender
from table import Figures

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
CODE = "def lambda_handler(event, context):\n    return {'greeting': 'Hello, ' + event['name'] + '!'}\n"


@dataclass
class Stand:
    """One contender under measurement."""

    contender: Contender
    options: argparse.Namespace
    begin: float  # time.perf_counter() when its process was started
    figures: Figures = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.contender.port

    async def connect(self) -> wire.Connection:
        return await wire.connect(self.port)


async def timed_invoke(connection: wire.Connection, name: str) -> float:
    """Seconds of one invoke of the function `CODE`; RuntimeError when the answer is not its answer."""
    begin = time.perf_counter()
    status, body = await connection.call(wire.invoke_request(name))
    taken = time.perf_counter() - begin
    if status != 200 or json.loads(body) != {"greeting": "Hello, Ada!"}:
        raise RuntimeError(f"invoking {name} answered {status}: {body.decode(errors='replace')[:300]}")
    return taken
