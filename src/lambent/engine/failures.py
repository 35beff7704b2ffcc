"""The failures that the platform reports in a function's place, in AWS's words."""

from __future__ import annotations

import signal

import orjson

from lambent.engine.invocation import RESPONSE_LIMIT, Invocation, Outcome
from lambent.engine.sandbox import Exit


def platform_error(request_id: str, error_type: str, message: str, status: str | None = None) -> Outcome:
    """A failure that the platform reports in the function's place: an "error", or its own "failure"."""
    status = status or ("failure" if error_type.startswith("Sandbox.") else "error")
    text = f"RequestId: {request_id} Error: {message}"
    payload = orjson.dumps({"errorType": error_type, "errorMessage": text})
    return Outcome(payload, "Unhandled", error_type, status)


def timed_out(invocation: Invocation) -> Outcome:
    """AWS's answer for a function that has used up its time."""
    message = f"Task timed out after {invocation.function.timeout:.2f} seconds"
    return platform_error(invocation.request_id, "Sandbox.Timedout", message, "timeout")


def describe_exit(exit: Exit) -> str:
    if exit.message:
        return exit.message
    if exit.code < 0:
        number = -exit.code
        name = "killed" if number == signal.SIGKILL else (signal.strsignal(number) or str(number)).lower()
        return f"Runtime exited with error: signal: {name}"
    if exit.code == 0:
        return "Runtime exited without providing a reason"
    return f"Runtime exited with error: exit status {exit.code}"


def is_crash(outcome: Outcome) -> bool:
    """Whether a process has ended that should not have: the log tells of that after the report."""
    kind = outcome.error_type or ""
    return kind == "Runtime.ExitError" or kind.startswith("Extension.")


def describe_extension_exit(exit: Exit) -> str:
    if exit.code == 0:
        return "exit code 0"
    return describe_exit(exit).removeprefix("Runtime exited with error: ")


def unanswered(invocation: Invocation) -> Outcome:
    """The runtime asks for its next event without having answered this one, or in the middle of its answer."""
    if invocation.pipe is not None and invocation.pipe.started:
        message = "Runtime broke off in the middle of its response"
        return platform_error(invocation.request_id, "Runtime.TruncatedResponse", message)
    message = "Runtime asked for the next event without answering this one"
    return platform_error(invocation.request_id, "Runtime.Unknown", message)


def function_error(error_type: str, body: bytes) -> Outcome:
    """What a runtime reports behind a response that it has begun to stream."""
    payload = body or orjson.dumps({"errorType": error_type, "errorMessage": ""})
    return Outcome(payload, "Unhandled", None, "error")


def too_large(limit: int = RESPONSE_LIMIT) -> Outcome:
    """AWS's answer for a response beyond the bytes that are taken."""
    kind = "Function.ResponseSizeTooLarge"
    message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
    payload = orjson.dumps({"errorType": kind, "errorMessage": message})
    return Outcome(payload, "Unhandled", kind, "error")
