"""The job behind CreateFunction and updates: makes sure that the function can run, then says so."""

from __future__ import annotations

import asyncio
import logging

from lambent.base.blobs import Blobs
from lambent.base.jobs import Job
from lambent.base.trees import Trees
from lambent.control.records import FunctionKey
from lambent.control.store import FunctionStore
from lambent.engine.runtimes import Missing, Runtimes
from lambent.engine.sandbox import Driver, SandboxError

_log = logging.getLogger("lambent.preparation")
