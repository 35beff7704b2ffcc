"""The transport of AWS's Python runtime client over one raw keep-alive socket.

`awslambdaric` brings a C extension of this name around libcurl, which is two thirds of a warm invoke. This module
offers the same four functions to the same caller, speaks the same Runtime API (2018-06-01), and works on every
version of Python without a compiler.
"""

import os
import socket

_INVOCATION = "/2018-06-01/runtime/invocation/"
_HEADERS = {
    b"lambda-runtime-aws-request-id": "Lambda-Runtime-Aws-Request-Id",
    b"lambda-runtime-trace-id": "Lambda-Runtime-Trace-Id",
    b"lambda-runtime-invoked-function-arn": "Lambda-Runtime-Invoked-Function-Arn",
    b"lambda-runtime-deadline-ms": "Lambda-Runtime-Deadline-Ms",
    b"lambda-runtime-client-context": "Lambda-Runtime-Client-Context",
    b"lambda-runtime-cognito-identity": "Lambda-Runtime-Cognito-Identity",
    b"lambda-runtime-aws-tenant-id": "Lambda-Runtime-Aws-Tenant-Id",
    b"lambda-runtime-invocation-id": "Lambda-Runtime-Invocation-Id",
    b"content-type": "Content-Type",
}

_PLATFORM = "127.0.0.1:9001"
_TOGETHER = 65_536  # bytes of a result that is sent together with the request for the next event
_agent = "lambent"
_connection = None


def initialize_client(user_agent):
    global _agent
    _agent = user_agent


class _Connection:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.address = address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.socket.connect((host, int(port or 80)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.together = address == _PLATFORM  # a proxy in between may handle two requests side by side
        self.posted = False  # a result and the request for the next event are on their way, in this order
        self.common = f" HTTP/1.1\r\nHost: {address}\r\nUser-Agent: {_agent}\r\n".encode("latin-1", "replace")
        self.asking = b"GET %bnext%b\r\n" % (_INVOCATION.encode(), self.common)

    def next(self):
        """(status, raw headers, body) of the next event."""
        if not self.posted:
            self.socket.sendall(self.asking)
        else:
            self.posted = False
            _check(self.response()[0])
        return self.response()

    def post(self, path, headers, body):
        """Report a result. A small one goes out with the request for the next event: one way less to the server."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        start = f"POST {_INVOCATION}{path}".encode("latin-1", "replace")
        length = f"{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1", "replace")
        if self.together and len(body) < _TOGETHER:
            self.posted = True
            self.socket.sendall(b"".join((start, self.common, length, body, self.asking)))
        else:
            self.socket.sendall(b"".join((start, self.common, length)))
            self.socket.sendall(body)
            _check(self.response()[0])

    def response(self):
        """(status, raw headers, body). Raises RuntimeError when the platform hangs up."""
        end = self.buffer.find(b"\r\n\r\n")
        while end < 0:
            self._more()
            end = self.buffer.find(b"\r\n\r\n")
        status_line, *lines = self.buffer[:end].split(b"\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        total = end + 4 + int(headers.get(b"content-length", b"0"))
        if len(self.buffer) < total:
            self._fill(total)
        body = self.buffer[end + 4 : total]
        self.buffer = self.buffer[total:]
        return int(status_line.split(b" ", 2)[1]), headers, body

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise RuntimeError("Failed to get next: the Runtime API closed the connection")
        self.buffer += data

    def _fill(self, total):
        parts, have = [self.buffer], len(self.buffer)
        while have < total:
            data = self.socket.recv(min(1 << 20, total - have))
            if not data:
                raise RuntimeError("Failed to get next: the Runtime API closed the connection")
            parts.append(data)
            have += len(data)
        self.buffer = b"".join(parts)


def _check(status):
    if status not in (200, 202, 413):
        raise RuntimeError(f"Failed to post the result: {status}")


def _client():
    global _connection
    if _connection is None:
        _connection = _Connection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    return _connection


def next():
    """(event body, headers of the invocation); waits as long as it takes."""
    status, headers, body = _client().next()
    if status != 200:
        raise RuntimeError(f"Failed to get next: {status}")
    named = {name: headers[key].decode("utf-8") for key, name in _HEADERS.items() if key in headers}
    named["Lambda-Runtime-Deadline-Ms"] = int(named.get("Lambda-Runtime-Deadline-Ms", 0))
    return body, named


def post_invocation_result(invoke_id, content, content_type, invocation_id=None):
    headers = [("Content-Type", content_type), *_invocation(invocation_id)]
    _client().post(f"{invoke_id}/response", headers, content)


def post_error(invoke_id, error_response, xray_cause, invocation_id=None):
    import json

    try:
        error_type = json.loads(error_response).get("errorType", "")
    except ValueError:
        error_type = ""
    headers = [("Content-Type", "application/json"), ("Lambda-Runtime-Function-Error-Type", error_type)]
    if xray_cause:
        headers.append(("Lambda-Runtime-Function-XRay-Error-Cause", xray_cause.replace("\n", " ")))
    _client().post(f"{invoke_id}/error", [*headers, *_invocation(invocation_id)], error_response.encode("utf-8"))


def _invocation(invocation_id):
    return [("Lambda-Runtime-Invocation-Id", invocation_id)] if invocation_id else []
