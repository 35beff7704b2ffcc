"""IAM and STS on a real database and a fake clock, asked through the in-process client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lambent.base.db import SqliteDatabase, migrate
from lambent.services.iam import store
from lambent.services.iam.service import Iam
from lambent.services.sts import sessions
from lambent.services.sts.service import Sts
from lambent.services.sts.sessions import Sessions
from lambent.testing import FakeClock
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Client, Operations
from lambent.wire.sigv4 import Accounts

ACCOUNT, OTHER, REGION = "111111111111", "222222222222", "us-east-1"
STS = {"GetCallerIdentity", "AssumeRole", "GetSessionToken", "GetAccessKeyInfo"}
ROOT_KEY = bytes(range(32))


def trusting(principal: Any, effect: str = "Allow", **condition: Any) -> str:
    statement = {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | condition]})


def allowing(action: str, resource: str = "*") -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


LAMBDA = trusting({"Service": "lambda.amazonaws.com"})


class IamLab:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()

    async def start(self) -> None:
        self.db = SqliteDatabase(self.root / "lambent.db")
        await migrate(self.db, [*store.MIGRATIONS, *sessions.MIGRATIONS])
        self.operations, self.accounts = Operations(), Accounts()
        iam = Iam(self.db, self.clock, self.accounts, ROOT_KEY)
        await iam.start()
        iam.register(self.operations)
        given = Sessions(self.db, self.clock, self.accounts, ROOT_KEY)
        await given.start()
        Sts(iam.directory, self.accounts, given).register(self.operations)
        self.client = Client(self.operations, self.clock)

    async def restart(self) -> None:
        await self.db.close()
        await self.start()

    async def call(self, operation: str, *, account: str = ACCOUNT, key: str = "", **members: Any) -> Any:
        """Of IAM or STS. A `key` that the server has handed out calls from its own account."""
        service = "sts" if operation in STS else "iam"
        if (issued := self.accounts.issued(key)) is not None:
            account = issued.account
        return await self.client.call(service, operation, members, Caller(account, REGION, key))

    async def refusal(self, operation: str, **members: Any) -> tuple[str, str]:
        """The code and the message of the error."""
        try:
            answer = await self.call(operation, **members)
        except AwsError as error:
            return error.code.removesuffix("Exception"), str(error.message)
        raise AssertionError(f"no error but {answer}")

    async def role(self, name: str = "runner", **members: Any) -> Any:
        return (await self.call("CreateRole", RoleName=name, **{"AssumeRolePolicyDocument": LAMBDA} | members))["Role"]

    async def policy(self, name: str = "reading", document: str | None = None, **members: Any) -> str:
        """The ARN of a new policy."""
        document = document or allowing("s3:GetObject")
        answer = await self.call("CreatePolicy", PolicyName=name, PolicyDocument=document, **members)
        return str(answer["Policy"]["Arn"])

    async def key(self, user: str = "ann") -> Any:
        """A new access key of a user, who is made when they are not there."""
        if (await self.call("ListUsers"))["Users"] == []:
            await self.call("CreateUser", UserName=user)
        return (await self.call("CreateAccessKey", UserName=user))["AccessKey"]
