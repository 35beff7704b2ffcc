"""The composition root: the only file that knows every room."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import socket
import string
from collections.abc import Mapping

from lambent import endpoints
from lambent.base.blobs import LocalBlobs
from lambent.base.clock import SystemClock
from lambent.base.db import SqliteDatabase, migrate
from lambent.base.http import HttpServer
from lambent.base.jobs import Jobs
from lambent.base.lockfile import Lockfile
from lambent.base.trees import Trees
from lambent.config import Config
from lambent.control.functions import Functions
from lambent.control.orphans import Orphans
from lambent.control.records import Function
from lambent.control.store import MIGRATIONS, FunctionStore
from lambent.engine.drivers.namespaces import NamespaceDriver
from lambent.engine.drivers.process import ProcessDriver
from lambent.engine.invoker import Invoker
from lambent.engine.logs import LogBook
from lambent.engine.operations import Invocations
from lambent.engine.preparation import Preparation
from lambent.engine.runtimes import Runtimes
from lambent.engine.sandbox import Driver
from lambent.wire.gateway import Gateway
from lambent.wire.operations import Operations
from lambent.wire.sigv4 import Accounts

_log = logging.getLogger("lambent")
