"""Turns an already fenced process into a program: a runtime's bootstrap, its wrapper script, a waiting runtime."""

import json
import os
import signal

REPORT_FD = 4  # to the init: why nothing could be executed; closed by a successful execution
TELEMETRY_FD = 62  # where AWS's clients find the descriptor of their framed log lines
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as a shell exits


def prepare(environment):
    """What Python has changed for itself and a program expects otherwise; the descriptor that it was told of."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if environment.get("_LAMBDA_TELEMETRY_LOG_FD") == str(TELEMETRY_FD):
        os.dup2(1, TELEMETRY_FD)


def wait_as(command, environment):
    """Become a runtime that waits for its function: it finds the assignment as JSON on descriptor 3."""
    prepare(environment)
    os.execve(command[0], command, environment)


def become(command, environment, directory):
    """Become the function's program, or say why not and leave.

    `directory` is where that of a container image begins; None for a function from a zip, whose program may lie in
    several places, divided by colons.
    """
    enter(environment["LAMBDA_TASK_ROOT"] if directory is None else directory)
    prepare(environment)
    places = command[0].split(":") if directory is None else [command[0]]
    place = next((path for path in places if os.path.exists(path) and not os.path.isdir(path)), None)
    try:
        if place is None and len(places) > 1:
            fail("Couldn't find valid bootstrap(s): [{}]".format(" ".join(places)))
        place = place or places[0]
        if directory is not None and "/" not in place:
            place = search(place, environment.get("PATH", ""))
        os.execve(place, [place, *command[1:]], environment)
    except OSError as error:
        if place == environment.get("AWS_LAMBDA_EXEC_WRAPPER"):
            shell_says("/var/runtime/bootstrap: {}: {}\n".format(place, error.strerror))
            os._exit(NOT_FOUND if isinstance(error, (FileNotFoundError, NotADirectoryError)) else NOT_EXECUTABLE)
        fail("fork/exec {}: {}".format(place, (error.strerror or "").lower()))


def enter(directory):
    try:
        os.chdir(directory)
    except OSError as error:
        fail("chdir {}: {}".format(directory, (error.strerror or "").lower()), "Runtime.InvalidWorkingDir")


def search(name, path):
    """Where on `path` the program is, as a shell finds it."""
    for directory in path.split(":"):
        place = os.path.join(directory, name)
        if directory and os.access(place, os.X_OK) and not os.path.isdir(place):
            return place
    return fail('exec: "{}": executable file not found in $PATH'.format(name))


def fail(message, kind="Runtime.InvalidEntrypoint"):
    os.write(REPORT_FD, json.dumps({"type": kind, "message": message}).encode())
    os._exit(1)


def shell_says(text):
    try:
        os.write(2, text.encode())
    except OSError:
        pass
