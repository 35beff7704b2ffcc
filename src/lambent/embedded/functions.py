"""In the place of moto's Lambda: what moto's services ask of it goes to the server's functions."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from lambent.embedded import native


class Function:
    """A function as moto's services see one."""

    def __init__(self, name: str, account: str, region: str, configuration: dict[str, Any]) -> None:
        self.function_name: str = configuration["FunctionName"]
        self.function_arn: str = configuration["FunctionArn"]
        self._name = name
        self._place = (account, region)

    def invoke(self, body: Any, headers: Any, response_headers: Any) -> bytes | str:
        """What S3's notifications, custom resources and others call: an event."""
        native.send_event(self._name, *self._place, body)
        return ""


class Functions:
    """`LambdaBackend`, as far as moto's other services call it."""

    def __init__(self, account: str, region: str) -> None:
        self.account_id = account
        self.region_name = region

    def get_function(self, name: str, qualifier: str | None = None) -> Function:
        """ClientError (ResourceNotFoundException) where there is none."""
        asked = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
        found = native.client("lambda", self.account_id, self.region_name).get_function(**asked)
        whole = f"{name}:{qualifier}" if qualifier else name
        return Function(whole, self.account_id, self.region_name, found["Configuration"])

    def invoke(
        self, function_name: str, qualifier: str | None, body: Any, headers: Any, response_headers: Any
    ) -> bytes:
        """Waits for the answer: what a rotation of secrets does."""
        name = f"{function_name}:{qualifier}" if qualifier else function_name
        return native.ask(name, self.account_id, self.region_name, body)[0]

    def send_log_event(self, arn: str, filter_name: str, group: str, stream: str, events: list[dict[str, Any]]) -> None:
        message = {
            "messageType": "DATA_MESSAGE",
            "owner": self.account_id,
            "logGroup": group,
            "logStream": stream,
            "subscriptionFilters": [filter_name],
            "logEvents": events,
        }
        data = base64.b64encode(gzip.compress(json.dumps(message).encode())).decode()
        native.send_event(arn, self.account_id, self.region_name, {"awslogs": {"data": data}})


def backend(account: str, region: str) -> Functions:
    return Functions(account, region)
