#!/usr/bin/env python3
"""An external extension that writes down in /tmp everything it is told, and misbehaves as WATCHER says.

Needs nothing but the standard library, so it runs on every Python that a function's environment has.
"""

import http.client
import http.server
import json
import os
import socket
import sys
import threading
import time

NAME = os.path.basename(sys.argv[0])
API = os.environ["AWS_LAMBDA_RUNTIME_API"]
WISHES = json.loads(os.environ.get("WATCHER", "{}"))
PORT = 4243


def note(kind, content):
    with open("/tmp/" + NAME + ".jsonl", "a") as file:
        file.write(json.dumps([kind, content]) + "\n")


def call(method, path, body=None, **headers):
    """(status, headers, decoded body)."""
    connection = http.client.HTTPConnection(API)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, None if body is None else json.dumps(body), named)
    answer = connection.getresponse()
    text = answer.read()
    return answer.status, answer.headers, json.loads(text) if text else None


class Listener(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for event in events:
            note("telemetry", event)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def listen_on_tcp():
    server = socket.create_server(("127.0.0.1", PORT))
    while True:
        connection, _address = server.accept()
        for line in connection.makefile():
            note("telemetry", json.loads(line))


def subscribe(identifier):
    wish = dict(WISHES["telemetry"])
    tcp = wish.pop("tcp", False)
    if tcp:
        threading.Thread(target=listen_on_tcp, daemon=True).start()
        time.sleep(0.1)
        wish["destination"] = {"protocol": "TCP", "port": PORT}
    else:
        server = http.server.ThreadingHTTPServer(("sandbox.localdomain", PORT), Listener)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wish["destination"] = {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{PORT}/here"}
    path = wish.pop("path", "/2022-07-01/telemetry")
    status, _headers, answer = call("PUT", path, wish, Lambda_Extension_Identifier=identifier)
    note("subscribed", [status, answer])


def main():
    note("environment", {"variables": dict(os.environ), "uid": os.getuid(), "cwd": os.getcwd()})
    with open("/proc/self/status") as file:
        note("status", file.read())
    if WISHES.get("crash") == "before":
        sys.exit(3)
    events = WISHES.get("events", ["INVOKE", "SHUTDOWN"])
    status, headers, answer = call(
        "POST",
        "/2020-01-01/extension/register",
        {"events": events},
        Lambda_Extension_Name=NAME,
        Lambda_Extension_Accept_Feature="accountId",
    )
    note("registered", [status, answer])
    identifier = headers["Lambda-Extension-Identifier"]
    print(NAME, "registered", flush=True)
    if WISHES.get("crash") == "init":
        error = {"Lambda_Extension_Function_Error_Type": "Watcher.Broken"}
        note(
            "init/error",
            call("POST", "/2020-01-01/extension/init/error", {}, Lambda_Extension_Identifier=identifier, **error)[0],
        )
        sys.exit(4)
    if "telemetry" in WISHES:
        subscribe(identifier)
    if WISHES.get("hang") == "init":
        time.sleep(3600)
    while True:
        _status, _headers, event = call(
            "GET", "/2020-01-01/extension/event/next", Lambda_Extension_Identifier=identifier
        )
        note("event", event)
        if event["eventType"] == "SHUTDOWN":
            if WISHES.get("hang") == "shutdown":
                time.sleep(3600)
            time.sleep(WISHES.get("linger", 0))
            print(NAME, "left because of", event["shutdownReason"], flush=True)
            sys.exit(0)
        if WISHES.get("crash") == "invoke":
            sys.exit(5)
        if WISHES.get("hang") == "invoke":
            time.sleep(3600)
        time.sleep(WISHES.get("work", 0))


main()
