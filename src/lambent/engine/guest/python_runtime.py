"""Runs AWS's own Python runtime client in an already fenced process.

`preload` runs in the zygote, `run` in the runtime process once its function is known.
"""

import contextlib
import importlib
import os
import sys

RUNTIME_DIR = os.path.dirname(os.path.abspath(__file__))  # /var/runtime in a sandbox
PRELOADED = (
    "awslambdaric.bootstrap", "awslambdaric.lambda_literals", "awslambdaric.lambda_runtime_client", "runtime_client",
    "base64", "datetime", "decimal", "encodings.idna", "hashlib", "http.client", "json", "logging", "random",
    "traceback", "urllib.parse", "uuid",
)  # fmt: skip
REHEARSALS = 10  # the interpreter specialises code that has run a few times
_OURS = (
    "environment", "executable", "extensions", "image", "layout", "nested", "python_runtime", "syscalls", "template",
    "tracee", "wire", "zygote",
)  # fmt: skip
_RESTORE_NEXT = "/2018-06-01/runtime/restore/next"
_FORK = 202  # the answer to it that asks for a fork, by whoever has offered one


def preload():
    """Load what every function needs before there is a function: the client, and what most handlers import."""
    for name in PRELOADED:
        importlib.import_module(name)
    for _ in range(REHEARSALS):
        rehearse()


def rehearse():
    """Do, to no effect, what the start of a function does.

    In the zygote it fills caches that all forks share. In a process that waits it copies the pages of memory that a
    fork shares with its parent until it first writes to them: that takes time, which a function's start has not.
    """
    import json
    import logging
    import socket

    from awslambdaric import bootstrap

    kept, handlers = dict(os.environ), list(logging.root.handlers)
    with contextlib.suppress(Exception):  # the client is AWS's: what it does not have is not rehearsed
        start = json.loads(json.dumps({"environment": {"NAME_{}".format(n): "value" for n in range(30)}}))
        os.environ.clear()
        os.environ.update(start["environment"])
        with open(os.devnull, "w", encoding="utf-8") as stream, bootstrap.create_log_sink() as sink:
            print("", file=bootstrap.Unbuffered(stream))
            bootstrap._setup_logging(bootstrap._AWS_LAMBDA_LOG_FORMAT, bootstrap._AWS_LAMBDA_LOG_LEVEL, sink)
        exec(compile("def handler(event, context):\n    return event\n", "rehearsal", "exec"), {})
        bootstrap.to_json({"answer": [1, 2.5, None]})
        socket.socket().close()
    with contextlib.suppress(ImportError):
        importlib.import_module("no_module_of_this_name")
    logging.root.handlers[:] = handlers
    os.environ.clear()
    os.environ.update(kept)


def run(start):
    """Become the runtime of the function that `start` describes; the exit status when it ever ends.

    `opt` of it says where the layers lie, where that is not /opt.
    """
    os.environ.clear()
    os.environ.update(start["environment"])
    reseed()
    prepare_path(start.get("opt", "/opt"))
    os.chdir(os.environ["LAMBDA_TASK_ROOT"])
    forget_ourselves()
    sys.argv = [os.path.join(RUNTIME_DIR, "bootstrap.py"), start["environment"]["_HANDLER"]]

    from awslambdaric import bootstrap
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    class Client(LambdaRuntimeClient):
        def restore_next(self):
            restore_next(self.lambda_runtime_address)

    if "AWS_LAMBDA_LOG_FORMAT" in os.environ or "AWS_LAMBDA_LOG_LEVEL" in os.environ:
        importlib.reload(bootstrap)  # it reads both when it is loaded
    main_module(bootstrap)
    open_output()
    bootstrap.run(os.environ["_HANDLER"], Client(os.environ["AWS_LAMBDA_RUNTIME_API"]))
    return 0


def restore_next(address):
    """Wait until the snapshot is restored. The platform may want a fork of this process to go on from here."""
    import http.client

    from awslambdaric.lambda_runtime_client import LambdaRuntimeClientError

    offer = {"Lambent-Forks": "1"}
    while True:
        connection = http.client.HTTPConnection(address)
        connection.request("GET", _RESTORE_NEXT, headers=offer)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        if response.status == http.HTTPStatus.OK:
            return
        if response.status != _FORK:
            raise LambdaRuntimeClientError(_RESTORE_NEXT, response.status, body)
        offer = {}
        become_fork()


def become_fork():
    """Go on in a child, in another sandbox; here when the platform cannot move one there."""
    import gc

    directory = os.getcwd()
    gc.collect()
    gc.freeze()  # collections of a fork need not write to what it shares
    try:
        pid = os.fork()
    except OSError:
        return
    if pid:
        os._exit(1)  # the platform lets no parent come this far
    os.chdir(directory)
    with contextlib.suppress(Exception):  # what os.fork() does for `random`
        sys.modules["numpy.random"].seed()


def open_output():
    """The zygote's streams went to /dev/null: make new ones on the descriptors of this environment."""
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # type: ignore[misc]
    # The client's framed messages (several lines in one) travel on the same pipe, so that the order is kept.
    os.environ["_LAMBDA_TELEMETRY_LOG_FD"] = str(os.dup(1))


def main_module(bootstrap):
    """User code that looks at `__main__` finds the runtime client there, as on AWS, not the zygote."""
    main = sys.modules["__main__"]
    for name in [name for name in vars(main) if not name.startswith("__")]:
        delattr(main, name)
    main.__file__ = sys.argv[0]
    main.bootstrap = bootstrap


def reseed():
    """Forks share the state of their parent: give this one its own randomness and time zone."""
    import random
    import time

    random.seed()
    time.tzset()


def prepare_path(opt):
    """`sys.path` as AWS lays it out: the function, its layers, the runtime, the standard library."""
    version = "python{}.{}".format(*sys.version_info[:2])
    standard = [path for path in sys.path if path.startswith(sys.prefix)]
    layers = ["{}/python/lib/{}/site-packages".format(opt, version), opt + "/python"]
    extra = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path and path != "/var/runtime"]
    sys.path[:] = [os.environ["LAMBDA_TASK_ROOT"], *extra, *layers, RUNTIME_DIR, *standard]
    for path in list(sys.path_importer_cache):
        if not path.startswith(sys.prefix):  # looked at before the function was there
            del sys.path_importer_cache[path]


def forget_ourselves():
    """A function may bring modules named like ours: they must not be found already loaded."""
    for name in _OURS:
        sys.modules.pop(name, None)
