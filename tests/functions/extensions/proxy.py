#!/usr/bin/env python3
"""An external extension between the runtime and the Runtime API: it marks every event and every answer.

The wrapper script of the function leads the runtime here. Other proxies handle the requests of one connection side by
side: so a request that comes before the former has its answer is told of.
"""

import http.client
import http.server
import json
import os
import select
import threading
import time

PLATFORM = os.environ["AWS_LAMBDA_RUNTIME_API"]
HOP = ("connection", "content-length", "keep-alive", "transfer-encoding")


def call(method, path, body, headers):
    connection = http.client.HTTPConnection(PLATFORM)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rbufsize = 0  # so that what has come is still to be seen

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        if self.path.endswith("/response"):
            time.sleep(0.05)
            early = bool(select.select([self.connection], [], [], 0)[0])
            body = json.dumps(dict(json.loads(body), answer="hurried" if early else "seen")).encode()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        status, answered, text = call(self.command, self.path, body, headers)
        if self.path.endswith("/next") and status == 200:
            text = json.dumps(dict(json.loads(text), event="seen")).encode()
        self.send_response(status)
        for name, value in answered.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = pass_on

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 9009), Proxy)
threading.Thread(target=server.serve_forever, daemon=True).start()
named = {"Lambda-Extension-Name": "proxy"}
_status, headers, _text = call("POST", "/2020-01-01/extension/register", b'{"events": []}', named)
call(
    "GET",
    "/2020-01-01/extension/event/next",
    None,
    {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]},
)
