"""What is different in moto here: native services are the server's, and calls into Lambda reach real functions.

Each replacement names what it stands for. They are made before moto serves its first request; moto's version is pinned.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from lambent.embedded import native
from lambent.embedded.settings import Settings


def install(settings: Settings) -> None:
    """What concerns every service."""
    native.use(settings)
    _configure()
    _functions()


def prepare(service: str) -> None:
    """What concerns one of moto's services, before its first request: importing all of them takes seconds."""
    for shim in _OF_SERVICES.get(service, ()):
        shim()


def _configure() -> None:
    from moto.core.config import default_user_config

    default_user_config["stepfunctions"]["execute_state_machine"] = True
    default_user_config["core"]["mock_credentials"] = False


def _functions() -> None:
    """`moto.awslambda.utils.get_backend`, which every service asks for functions."""
    from moto.awslambda import utils

    from lambent.embedded import functions

    utils.get_backend = functions.backend


def _events() -> None:
    from moto.events.models import Rule
    from moto.sns.models import Subscription

    from lambent.embedded import events
    from lambent.embedded.schedules import Schedule

    if Rule.send_to_targets is events.send_to_targets:
        return
    Rule.send_to_targets = events.send_to_targets
    Subscription.publish = events.publish
    Schedule(events.rules, events.deliver).start()


def _state_machines() -> None:
    """Tasks call AWS's services where those are: at the server."""
    from moto.stepfunctions.parser.asl.utils import boto_client
    from moto.utilities.arns import parse_arn

    taken = boto_client.boto_client_for

    def client(region: str, service: str, state_credentials: Any = None) -> Any:
        return native.client(service, parse_arn(state_credentials.role_arn).account, region)

    for module in list(sys.modules.values()):  # some have imported it already
        if getattr(module, "boto_client_for", None) is taken:
            setattr(module, "boto_client_for", client)  # noqa: B010


def _objects() -> None:
    """Who may do what is for the server to say: moto would refuse what a bucket policy denies."""
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL


def _stacks() -> None:
    from lambent.embedded.stacks import engine

    engine.install()


_OF_SERVICES: dict[str, tuple[Callable[[], None], ...]] = {
    "cloudformation": (_events, _state_machines, _objects, _stacks),
    "events": (_events, _state_machines),
    "sns": (_events,),
    "s3": (_events, _objects),
    "stepfunctions": (_state_machines,),
}
