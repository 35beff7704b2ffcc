"""Makes the class archive of a Java runtime, inside that runtime's root, where every path is as functions have it.

`java_archive.py CONTROL_FD COMMAND`: COMMAND is the runtime's, as JSON. One event goes through AWS's client, and the
classes that took are dumped into a file, which goes back over the control socket.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import environment
import syscalls as sc
import wire

HANDLER = "Played"  # a class that gives its event back
CONTEXT = "com/amazonaws/services/lambda/runtime/Context"
REQUEST_HANDLER = "com/amazonaws/services/lambda/runtime/RequestHandler"
EVENT = b'{"text":"a","number":1,"list":[1.5,null,true],"nested":{"a":"b"}}'
LIST, ARCHIVE = "/tmp/classes.lst", "/tmp/classes.jsa"
ADDRESS = ("127.0.0.1", 9001)
SECONDS = 120


class RuntimeApi:
    """Hands out one event; `answered` is set when its answer has come."""

    def __init__(self):
        self.listener = socket.socket(fileno=environment.listen(ADDRESS))
        self.answered = threading.Event()
        self.body = b""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _address = self.listener.accept()
            threading.Thread(target=self.speak, args=(connection,), daemon=True).start()

    def speak(self, connection):
        stream = connection.makefile("rb")
        while True:
            request = stream.readline().split()
            length = 0
            for line in iter(stream.readline, b"\r\n"):
                if not line:
                    return
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = stream.read(length)
            if request[0] == b"POST":
                self.body = body
                self.answered.set()
                self.answer(connection, b"202 Accepted", b"{}", b"")
            elif self.answered.is_set():
                return  # nothing more to do: the client is about to be ended
            else:
                headers = (
                    b"Lambda-Runtime-Aws-Request-Id: 00000000-0000-4000-8000-000000000000\r\n"
                    b"Lambda-Runtime-Deadline-Ms: 4102444800000\r\n"
                    b"Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:a\r\n"
                )
                self.answer(connection, b"200 OK", EVENT, headers)

    def answer(self, connection, status, body, headers):
        head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % (status, len(body))
        connection.sendall(head + headers + b"\r\n" + body)


def handler_class():
    """The class file of `class Played implements RequestHandler<Map<String, Object>, Object>`, which no compiler needs
    to be there for: its method returns its first argument."""

    def utf8(text):
        return b"\x01" + struct.pack(">H", len(text)) + text.encode()

    def reference(tag, *numbers):
        return bytes([tag]) + struct.pack(">{}H".format(len(numbers)), *numbers)

    def method(name, descriptor, code):
        body = struct.pack(">HHI", 2, 3, len(code)) + code + struct.pack(">HH", 0, 0)
        return struct.pack(">HHHHHI", 1, name, descriptor, 1, 9, len(body)) + body

    arguments = "(Ljava/lang/Object;L{};)Ljava/lang/Object;".format(CONTEXT)
    types = "Ljava/util/Map<Ljava/lang/String;Ljava/lang/Object;>;Ljava/lang/Object;"
    pool = [
        *(reference(7, 2), utf8(HANDLER), reference(7, 4), utf8("java/lang/Object"), reference(7, 6)),
        *(utf8(REQUEST_HANDLER), utf8("<init>"), utf8("()V"), utf8("Code"), reference(10, 3, 11)),
        *(reference(12, 7, 8), utf8("handleRequest"), utf8(arguments), utf8("Signature")),
        utf8("Ljava/lang/Object;L{}<{}>;".format(REQUEST_HANDLER, types)),
    ]
    constructor = method(7, 8, b"\x2a\xb7\x00\x0a\xb1")  # aload_0, invokespecial Object.<init>, return
    handle = method(12, 13, b"\x2b\xb0")  # aload_1, areturn
    head = struct.pack(">IHHH", 0xCAFEBABE, 0, 52, len(pool) + 1) + b"".join(pool)
    body = struct.pack(">HHHHHHH", 0x21, 1, 3, 1, 5, 0, 2) + constructor + handle
    return head + body + struct.pack(">HHIH", 1, 14, 2, 15)


def train(command, variables, api):
    """Write the list of the classes that one event takes."""
    with open("/tmp/{}.class".format(HANDLER), "wb") as file:
        file.write(handler_class())
    program, options = command[0], [option for option in command[1:-1] if "SharedArchiveFile" not in option]
    told = {"AWS_LAMBDA_RUNTIME_API": "{}:{}".format(*ADDRESS), "_HANDLER": HANDLER, "LAMBDA_TASK_ROOT": "/tmp"}
    process = subprocess.Popen(
        [program, "-XX:DumpLoadedClassList=" + LIST, *options, HANDLER],
        cwd="/tmp",  # where the client looks for the class
        env=variables | told,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + SECONDS
        while not api.answered.wait(0.1) and process.poll() is None and time.monotonic() < deadline:
            pass
        if b'"nested"' not in api.body:
            process.kill()
            raise RuntimeError("no answer but {!r}: {!r}".format(api.body, process.communicate()[0][-2000:]))
    finally:
        process.terminate()
        process.wait()


def dump(command, variables):
    class_path = command[command.index("-jar") + 1]
    options = ["-Xshare:dump", "-XX:SharedClassListFile=" + LIST, "-XX:SharedArchiveFile=" + ARCHIVE]
    result = subprocess.run(
        [command[0], *options, "-cp", class_path],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
    )
    if result.returncode != 0 or not os.path.exists(ARCHIVE):
        raise RuntimeError("the dump failed: {!r}".format(result.stdout[-2000:]))


def main():
    control = socket.socket(fileno=int(sys.argv[1]))
    order = json.loads(sys.argv[2])
    sc.mount("archive", "/tmp", "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=1777,size=512m")
    try:
        train(order["command"], order["environment"], RuntimeApi())
        dump(order["command"], order["environment"])
        with open(ARCHIVE, "rb") as archive:
            wire.send(control, {"op": "made", "size": os.path.getsize(ARCHIVE)}, [archive.fileno()])
    except Exception as error:
        wire.send(control, {"op": "failed", "message": str(error)})
    shutil.rmtree("/tmp", ignore_errors=True)


main()
