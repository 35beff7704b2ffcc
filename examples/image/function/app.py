"""Tells what it runs on."""

import os
import platform


def handler(event, context):
    with open("/etc/debian_version") as file:
        debian = file.read().strip()
    hello = event.get("name", "world")
    return {"hello": hello, "python": platform.python_version(), "debian": debian, "in": os.getcwd()}
