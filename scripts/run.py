"""`make run`: starts Lambent, deploys examples/thumbnail through the public API, invokes it, keeps serving.

PORT chooses the port, ONCE=1 leaves after the answer. State stays in .lambent/.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples/thumbnail"
BUILD = ROOT / "build/thumbnail"
STATE = ROOT / ".lambent"
LOG = STATE / "server.log"
THUMBNAIL = STATE / "thumbnail.jpg"
EVENT = STATE / "event.json"
NAME = "thumbnail"
REGION = "us-east-1"
RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
ROLE = "arn:aws:iam::000000000000:role/lambda-role"
START_SECONDS = 60


class Failed(Exception):
    """Something that the person has to know of; the message says what to do."""


def say(text: str = "") -> None:
    print(text, flush=True)


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """One line that says what is going on and, after it, how long it took."""
    print(f"  {text} …", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f" done in {time.monotonic() - start:.1f} s", flush=True)


def port_from_environment() -> int:
    text = os.environ.get("PORT", "4566")
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Failed(f"PORT must be a number from 1 to 65535, not {text!r}")
    return int(text)


def refuse_busy(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            who = "a Lambent" if ask_status(f"http://127.0.0.1:{port}") else "another program"
            hint = f"choose another: PORT={port + 1} make run"
            raise Failed(f"port {port} is taken by {who} ({error.strerror}); {hint}") from None


def ask_status(endpoint: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"{endpoint}/_lambent/status", timeout=5) as answer:  # noqa: S310
            status = json.load(answer)
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) and "isolation" in status else None


def start_server(port: int) -> subprocess.Popen[bytes]:
    STATE.mkdir(mode=0o700, exist_ok=True)
    where = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(STATE / "data")]
    with open(LOG, "wb") as log:
        command = [sys.executable, "-m", "lambent", "serve", *where]
        # A session of its own: Ctrl-C reaches this script alone, which then stops the server in order.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def wait_until_ready(server: subprocess.Popen[bytes], endpoint: str) -> dict[str, Any]:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if status := ask_status(endpoint):
            return status
        if server.poll() is not None:
            break
        time.sleep(0.02)
    raise Failed(f"the server did not start. Its last words:\n{last_words()}\nWhat is missing: lambent doctor")


def last_words() -> str:
    return "\n".join(LOG.read_text(errors="replace").splitlines()[-15:])


def build_package() -> bytes:
    """The zip, made as AWS's guide to Python packages tells. Libraries are installed anew when they change."""
    requirements = EXAMPLE / "requirements.txt"
    package, stamp = BUILD / "package", BUILD / "stamp"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(BUILD, ignore_errors=True)
        install = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        only = [
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--target",
            str(package),
            "-r",
            str(requirements),
        ]
        subprocess.run([*install, *only], check=True, stdin=subprocess.DEVNULL)
        stamp.write_text(wanted)
    archive = BUILD / "thumbnail.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.write(EXAMPLE / "lambda_function.py", "lambda_function.py")
        for path in sorted(package.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                out.write(path, path.relative_to(package))
    return archive.read_bytes()


def make_client(endpoint: str) -> Any:
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session()
    session.set_credentials("test", "test")
    config = Config(retries={"total_max_attempts": 1})
    return session.create_client("lambda", REGION, endpoint_url=endpoint, config=config)


def deploy(client: Any, code: bytes) -> str:
    """Create the function, or update the one of an earlier run. Returns what was done."""
    settings = {
        "Runtime": RUNTIME,
        "Handler": "lambda_function.lambda_handler",
        "MemorySize": 512,
        "Timeout": 30,
    }
    try:
        client.create_function(FunctionName=NAME, Role=ROLE, Code={"ZipFile": code}, **settings)
        done, waiter = "created", "function_active_v2"
    except client.exceptions.ResourceConflictException:
        client.update_function_code(FunctionName=NAME, ZipFile=code)
        wait(client, "function_updated_v2")
        client.update_function_configuration(FunctionName=NAME, **settings)
        done, waiter = "updated", "function_updated_v2"
    wait(client, waiter)
    return done


def wait(client: Any, waiter: str) -> None:
    client.get_waiter(waiter).wait(FunctionName=NAME, WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200})


def invoke(client: Any) -> tuple[dict[str, Any], str]:
    """(the function's answer, its REPORT line)."""
    response = client.invoke(FunctionName=NAME, Payload=EVENT.read_bytes(), LogType="Tail")
    answer = json.loads(response["Payload"].read())
    log = base64.b64decode(response["LogResult"]).decode(errors="replace")
    if "FunctionError" in response:
        raise Failed(f"the example failed: {json.dumps(answer)}\n{log}")
    report = next((line for line in log.splitlines() if line.startswith("REPORT")), "")
    return answer, " ".join(report.split())


def show_example(client: Any) -> None:
    with step("packing examples/thumbnail with its libraries"):
        code = build_package()
    with step(f"deploying it ({len(code) / 1e6:.1f} MB)"):
        done = deploy(client, code)
    picture = (EXAMPLE / "lake.jpg").read_bytes()
    EVENT.write_text(json.dumps({"picture": base64.b64encode(picture).decode(), "width": 320}))
    answer, cold = invoke(client)
    _again, warm = invoke(client)
    THUMBNAIL.write_bytes(base64.b64decode(answer["thumbnail"]))
    say(f"\nThe function `{NAME}` was {done} and invoked twice.\n")
    say(f"  picture    {describe(answer['from'])}  {(EXAMPLE / 'lake.jpg').relative_to(ROOT)}")
    say(f"  thumbnail  {describe(answer['to'])}  {THUMBNAIL.relative_to(ROOT)}")
    say(f"\n  first   {cold}\n  second  {warm}\n")


def describe(size: dict[str, int]) -> str:
    return f"{size['width']:>4} x {size['height']:<4} {size['bytes'] / 1000:>6.1f} kB"


def show_screen(endpoint: str, status: dict[str, Any]) -> None:
    event = EVENT.relative_to(ROOT)
    say(f"Lambent {status['version']} serves at {endpoint} (isolation: {status['isolation']})")
    for line in LOG.read_text(errors="replace").splitlines():
        if line.startswith("weak:"):
            say(f"  {line}")
    say(f"State: {STATE.relative_to(ROOT)}/   Server log: {LOG.relative_to(ROOT)}\n")
    say("In another terminal, from this directory:\n")
    say(f"  export AWS_ENDPOINT_URL={endpoint} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test")
    say(f"  export AWS_DEFAULT_REGION={REGION} PATH={ROOT}/.venv/bin:$PATH\n")
    say(f"  aws lambda invoke --function-name {NAME} --payload fileb://{event} answer.json")
    say(f"  lambent logs {NAME} --follow")
    say(f"  curl --aws-sigv4 aws:amz:{REGION}:lambda --user test:test \\")
    say(f"      {endpoint}/2015-03-31/functions/{NAME}\n")
    if not shutil.which("aws"):
        say(f"(No `aws` here; instead: lambent invoke {NAME} --payload @{event} --tail)\n")
    say("Ctrl-C stops it.")


def stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def run() -> int:
    port = port_from_environment()
    refuse_busy(port)
    endpoint = f"http://127.0.0.1:{port}"
    server = start_server(port)
    try:
        with step("starting Lambent"):
            status = wait_until_ready(server, endpoint)
        show_example(make_client(endpoint))
        if os.environ.get("ONCE") == "1":
            return 0
        show_screen(endpoint, status)
        server.wait()
        raise Failed(f"the server ended by itself with status {server.returncode}. Its last words:\n{last_words()}")
    finally:
        stop(server)


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return run()
    except KeyboardInterrupt:
        say("\nStopped.")
        return 0
    except Failed as error:
        print(f"\nerror: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"\nerror: {' '.join(error.cmd[:5])} … left with status {error.returncode}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
