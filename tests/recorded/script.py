"""One recorded case, played call by call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import ClientError

from recorded.matcher import Matcher, Mismatch

GOLDEN = Path(__file__).parent.parent / "api/golden"


class Stage(Protocol):
    """Where a case is played: `recorded.stage.Stage`, or a server behind a URL."""

    def client(self, account: str = ..., region: str = ...) -> Any: ...
    def ready(self, function: str) -> None: ...
    def put_object(self, bucket: str, key: str, body: bytes) -> None: ...


@dataclass(frozen=True)
class Case:
    name: str  # "TestLambdaTag::test_tag_lifecycle"
    noun: str  # the file of the recording
    recorded: str  # when
    responses: Mapping[str, Any]

    @property
    def variant(self) -> str:
        """What stands in brackets behind the name."""
        return self.name.partition("[")[2].rstrip("]")


@cache
def cases(*nouns: str) -> dict[str, Case]:
    """Every recorded case of these files; of all but those of invocations when none is named."""
    found = {}
    for path in sorted(GOLDEN.glob("*.json")):
        if path.stem in nouns or not nouns:
            for name, case in json.loads(path.read_text(encoding="utf-8"))["cases"].items():
                found[name] = Case(name, path.stem, case["recorded"], case["responses"])
    return found


class Script:
    """Plays a case: each call's answer is compared with the recorded one of the same name."""

    def __init__(self, stage: Stage, case: Case, account: str, region: str, *, but: tuple[str, ...] = ()) -> None:
        """`but` names responses that are known to differ: their calls are made and not compared."""
        self.stage = stage
        self.case = case
        self.account, self.region = account, region
        self.matcher = Matcher()
        self.left = set(case.responses) - set(but)
        self._but = frozenset(but)
        self.bind("<partition>", "aws")
        self.bind("<region>", region)
        self.bind("<wrong-region>", "eu-central-1")
        self.matcher.check("111111111111", account, "account")

    def bind(self, placeholder: str, value: Any) -> Any:
        """State what a placeholder stands for, before the calls that use it; the value again."""
        self.matcher.bind(placeholder, value)
        return value

    def name(self, number: int = 1) -> str:
        """A function's name, that of `<function-name:number>`."""
        return str(self.bind(f"<function-name:{number}>", f"function-{number}"))

    def arn(self, resource: str, service: str = "lambda") -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def call(self, name: str | None, operation: str, /, **members: Any) -> Any:
        """Call and compare with the recorded response `name`; None is not compared. The answer, or the error's."""
        client = self.stage.client(self.account, self.region)
        try:
            answer = client._make_api_call(operation, members)
        except ClientError as error:
            answer = error.response
            if name is None:
                raise
        answer["ResponseMetadata"] = {"HTTPHeaders": {}, "HTTPStatusCode": answer["ResponseMetadata"]["HTTPStatusCode"]}
        if "Payload" in answer:
            answer["Payload"] = _payload(answer["Payload"].read())
        if name is not None:
            self.compare(name, answer)
        return answer

    def calls(self, table: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
        """{response: (operation, members)}, one after another."""
        for name, (operation, members) in table.items():
            self.call(name, operation, **members)

    def compare(self, name: str, answer: Any) -> None:
        if name in self._but:
            return
        self.left.remove(name)
        recorded = self.case.responses[name]
        if isinstance(recorded, dict):
            recorded, answer = _aligned(recorded, answer)
        self.matcher.check(recorded, answer, name)

    def create(self, name: str | None = None, /, function: str | None = None, **members: Any) -> Any:
        """CreateFunction with what most cases have; None leaves a member out."""
        defaults = {
            "FunctionName": function or self.name(),
            "Runtime": "python3.12",
            "Role": f"arn:aws:iam::{self.account}:role/lambda-role",
            "Handler": "handler.handler",
            "Code": {"ZipFile": package()},
            "Timeout": 30,
            "Environment": {"Variables": {}},
        }
        wanted = {key: value for key, value in (defaults | members).items() if value is not None}
        return self.call(name, "CreateFunction", **wanted)

    def ready(self, function: str | None = None) -> None:
        """What the server has to do for a function is done."""
        self.stage.ready(function or self.name())

    def created(self, name: str | None = None, /, function: str | None = None, **members: Any) -> Any:
        """`create` and `ready`."""
        answer = self.create(name, function, **members)
        self.ready(function)
        return answer

    def done(self) -> None:
        if self.left:
            raise Mismatch(f"recorded and not played: {', '.join(sorted(self.left))}")


def _payload(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _aligned(recorded: dict[str, Any], answer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Recorder's forms: a wrapped CreateFunction, answers without metadata, errors as code and message only.

    Policies and their statements are texts that it has read as JSON.
    """
    for member in ("Policy", "Statement"):
        if isinstance(recorded.get(member), dict) and isinstance(answer.get(member), str):
            answer = answer | {member: json.loads(answer[member])}
    if "CreateFunctionResponse" in recorded:
        recorded = recorded["CreateFunctionResponse"]
    if "Errors" in recorded:
        found = re.fullmatch(r"(\d+) validation errors? detected: (.*)", answer["Error"]["Message"], re.DOTALL)
        if not found:
            raise Mismatch(f"{answer['Error']['Message']!r} is no list of validation errors")
        errors = re.split("; (?=Value )", found[2])
        return recorded, {"Code": answer["Error"]["Code"], "Count": int(found[1]), "Errors": errors}
    if recorded.keys() == {"Code", "Message"}:
        return recorded, answer["Error"]
    if "ResponseMetadata" not in recorded:
        answer = {member: value for member, value in answer.items() if member != "ResponseMetadata"}
    return recorded, answer


Play = Callable[[Script], None]
PLAYS: dict[str, Play] = {}


def play(*names: str) -> Callable[[Play], Play]:
    """The function plays these cases."""

    def keep(function: Play) -> Play:
        for name in names:
            if name in PLAYS:
                raise ValueError(f"{name} is played twice")
            PLAYS[name] = function
        return function

    return keep


def package(content: str = "def handler(event, context):\n    return event\n") -> bytes:
    """A zip of one file; the same for the same content."""
    from unit.control.lab import make_zip

    return make_zip(content)
