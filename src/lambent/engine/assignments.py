"""What a function makes of a waiting sandbox, and how the environment that comes of it is called in its records."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from lambent.control.records import Function
from lambent.engine.platform_records import Subject
from lambent.engine.runtimes import Runtime
from lambent.engine.sandbox import Assignment
from lambent.engine.variables import environment, extension_environment


def assignment_of(
    function: Function,
    runtime: Runtime,
    log_stream: str,
    credentials: Mapping[str, str],
    initialization: str,
    own: Mapping[str, str] | None = None,
    endpoint: str | None = None,
) -> Assignment:
    """`own` are the function's own environment variables; `endpoint` is where it reaches this server's AWS API."""
    variables = environment(function, runtime, log_stream, credentials, initialization, own, endpoint)
    image = function.image
    command = runtime.fresh_start(variables)
    trees, directory = tuple(map(str, runtime.layers)), "/var/task" if runtime.layers else None
    if image is not None:
        command = image.arguments
        trees, directory = tuple(layer.content for layer in image.layers), image.working_directory
    return Assignment(
        code=function.code_digest if image is None else "",
        layers=tuple(layer.digest for layer in function.layers),
        environment=variables,
        memory=function.memory_size,
        ephemeral_storage=function.ephemeral_storage,
        file_systems=function.file_systems,
        extension_environment=extension_environment(variables) if function.layers or image is not None else {},
        image=trees,
        directory=directory,
        command=command,
    )


def subject_of(function: Function, runtime: Runtime, log_stream: str, initialization: str) -> Subject:
    name = hashlib.sha256(runtime.name.encode()).hexdigest()
    arn = f"arn:aws:lambda:{function.key.region}::runtime:{name}"
    return Subject(function, initialization, runtime.build, arn, log_stream)
