"""What `--auth iam` adds to a warm invocation, beside a server without it in the same run.

    python benchmarks/authorisation.py [--invokes 3000]

Both servers get requests that were signed once (a signature is good for five minutes), over one connection each, in
turns of 100. Then the parts by themselves, in this process: a signature verified, and a decision that is remembered.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import io
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambent.base.clock import SystemClock
from lambent.base.db import SqliteDatabase, migrate
from lambent.base.http import Headers, Request
from lambent.control.actions import RULES
from lambent.services.iam import store
from lambent.services.iam.gate import IamGate
from lambent.services.iam.records import Identity, Kind
from lambent.wire.callers import Caller
from lambent.wire.signatures import Verifier
from lambent.wire.sigv4 import Accounts

ACCOUNT, REGION = "000000000000", "us-east-1"
PATH = "/2015-03-31/functions/warm/invocations"
LAMBENT = (sys.executable, "-m", "lambent")
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


class Contender:
    """A server with a function that has run once, and a connection to it."""

    def __init__(self, directory: Path, auth: str) -> None:
        data = directory / auth
        command = [*LAMBENT, "admin", "create-key", "--data-dir", str(data)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        self.key, self.secret = re.findall(r"export AWS_\w+=(\S+)", printed)
        command = [*LAMBENT, "serve", "--port", "0", "--data-dir", str(data), "--auth", auth, "--log-level", "error"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        match = re.search(r"http://\S+", self.process.stdout.readline())
        assert match is not None
        self.endpoint = match[0]
        self._deploy()
        self.connection = http.client.HTTPConnection(urlsplit(self.endpoint).netloc)
        self.headers = signed(self.endpoint, self.key, self.secret)

    def _deploy(self) -> None:
        keys = {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret, "region_name": REGION}
        role = f"arn:aws:iam::{ACCOUNT}:role/r"
        boto3.client("iam", endpoint_url=self.endpoint, **keys).create_role(
            RoleName="r", AssumeRolePolicyDocument=TRUST
        )
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("f.py", "def handler(event, context): return event")
        client = boto3.client("lambda", endpoint_url=self.endpoint, **keys)
        runtime = f"python3.{sys.version_info.minor}"
        code = {"ZipFile": package.getvalue()}
        client.create_function(FunctionName="warm", Runtime=runtime, Role=role, Handler="f.handler", Code=code)
        client.get_waiter("function_active_v2").wait(FunctionName="warm")

    def invoke(self) -> float:
        """Seconds."""
        begun = time.perf_counter()
        self.connection.request("POST", PATH, b"{}", self.headers)
        response = self.connection.getresponse()
        body = response.read()
        took = time.perf_counter() - begun
        if response.status != 200:
            raise RuntimeError(body.decode())
        return took

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.wait()


def signed(endpoint: str, key: str, secret: str) -> dict[str, str]:
    request = AWSRequest("POST", endpoint + PATH, {"Host": urlsplit(endpoint).netloc}, b"{}")
    SigV4Auth(Credentials(key, secret), "lambda", REGION).add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}


async def parts(directory: Path) -> tuple[float, float]:
    """Microseconds of one verification, and of one decision that is remembered (its rule included)."""
    accounts, clock = Accounts(), SystemClock()
    user = Identity(
        Kind.USER, ACCOUNT, "u", "/", "AIDA", 0.0, attached=("arn:aws:iam::aws:policy/AdministratorAccess",)
    )
    accounts.issue("AKID", ACCOUNT, user.arn, secret="secret")
    headers = signed("http://127.0.0.1:4566", "AKID", "secret")
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    request, verifier, rounds = Request("POST", PATH, Headers(pairs), b"{}"), Verifier(accounts, clock), 20_000
    begun = time.perf_counter()
    for _ in range(rounds):
        verifier.verify(request, request.body)
    verifying = (time.perf_counter() - begun) / rounds
    db = SqliteDatabase(directory / "parts.db")
    await migrate(db, store.MIGRATIONS)
    await db.write(lambda connection: store.add_identity(connection, user))
    gate, rule = IamGate(db, clock, accounts), RULES["Invoke"]
    caller = Caller(ACCOUNT, REGION, "AKID", proven=True, user="u", source="127.0.0.1")
    begun = time.perf_counter()
    for _ in range(rounds):
        await gate.authorize(caller, *rule(caller, {"FunctionName": "warm"}))
    deciding = (time.perf_counter() - begun) / rounds
    await db.close()
    return verifying * 1e6, deciding * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--invokes", type=int, default=3000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        contenders = {auth: Contender(directory, auth) for auth in ("off", "iam")}
        times: dict[str, list[float]] = {auth: [] for auth in contenders}
        try:
            for contender in contenders.values():
                for _ in range(200):
                    contender.invoke()
            for _ in range(options.invokes // 100):
                for auth, contender in contenders.items():
                    times[auth] += [contender.invoke() for _ in range(100)]
        finally:
            for contender in contenders.values():
                contender.stop()
        middle = {auth: statistics.median(found) * 1e6 for auth, found in times.items()}
        print(f"warm invoke, p50: off {middle['off']:.0f} us, iam {middle['iam']:.0f} us", end="")
        print(f" (+{middle['iam'] - middle['off']:.0f} us, {middle['iam'] / middle['off']:.2f} times)")
        verifying, deciding = asyncio.run(parts(directory))
        print(f"verification {verifying:.1f} us, decision that is remembered {deciding:.1f} us")


if __name__ == "__main__":
    main()
