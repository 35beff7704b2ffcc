"""The services beside Lambda, each reached through the operations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack

from lambent.app.failures import StartError
from lambent.app.state import State
from lambent.base.clock import Clock
from lambent.config import Config
from lambent.services.ecr.names import Registry
from lambent.services.ecr.service import Ecr
from lambent.services.iam.service import Iam
from lambent.services.kms.service import Kms
from lambent.services.logs import service as logs_service
from lambent.services.logs.data import Publish
from lambent.services.logs.store import LogStore
from lambent.services.s3.service import S3
from lambent.services.sts.lender import Lender
from lambent.services.sts.service import Sts
from lambent.services.sts.sessions import Sessions
from lambent.wire.operations import Client, Operations
from lambent.wire.sigv4 import DEFAULT_ACCOUNT, Accounts


async def start_kms(clock: Clock, state: State, operations: Operations, closing: AsyncExitStack) -> Kms:
    kms = Kms(state.db, clock, state.root_key, operations.gate)
    await kms.start()
    closing.push_async_callback(kms.stop)
    kms.register(operations)
    return kms


async def start_logs(
    config: Config, clock: Clock, state: State, publish: Publish, operations: Operations, closing: AsyncExitStack
) -> LogStore:
    """`publish` takes the metrics that events hold."""
    directory = state.data / "logs"
    logs = LogStore(directory, clock, config.logs_size << 20)
    try:
        await logs.start()
    except OSError as error:
        raise StartError(f"cannot use {directory}: {error.strerror or error}") from error
    closing.push_async_callback(logs.stop)
    closing.push_async_callback(logs_service.register(logs, operations, publish).stop)
    return logs


def lender(clock: Clock, state: State, accounts: Accounts) -> Lender:
    """Who lends execution environments the credentials of their roles."""
    return Lender(clock, accounts, state.root_key)


async def start_identity(
    clock: Clock, state: State, accounts: Accounts, operations: Operations, closing: AsyncExitStack
) -> Iam:
    """IAM, and STS over its roles and users."""
    iam = Iam(state.db, clock, accounts, state.root_key, operations.gate)
    await iam.start()
    closing.push_async_callback(iam.stop)
    iam.register(operations)
    sessions = Sessions(state.db, clock, accounts, state.root_key)
    await sessions.start()
    Sts(iam.directory, accounts, sessions).register(operations)
    return iam


async def start_s3(clock: Clock, state: State, operations: Operations, closing: AsyncExitStack) -> S3:
    """Before the jobs start: what is to be told of objects is among them."""
    client = Client(operations, clock)
    s3 = await asyncio.to_thread(S3, state.db, state.data / "objects", clock, state.jobs, client)
    await s3.start()
    closing.push_async_callback(s3.stop)
    s3.register(operations)
    return s3


def start_ecr(
    config: Config,
    clock: Clock,
    state: State,
    keep: Callable[[], Collection[str]],
    operations: Operations,
    accounts: Accounts,
    closing: AsyncExitStack,
) -> Ecr:
    """`keep` names the blobs that stay although no repository holds them any more: those of functions."""
    registry = Registry(DEFAULT_ACCOUNT, config.region)
    ecr = Ecr(state.db, state.registry_blobs, clock, state.signing_key, registry, keep, operations.gate, accounts)
    ecr.register(operations)
    ecr.start()
    closing.push_async_callback(ecr.stop)
    return ecr
