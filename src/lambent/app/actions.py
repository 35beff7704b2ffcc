"""The rules of every service: what its operations need permission for."""

from __future__ import annotations

from lambent.control import actions as control
from lambent.services.cloudwatch import actions as cloudwatch
from lambent.services.ecr import actions as ecr
from lambent.services.iam import actions as iam
from lambent.services.kms import actions as kms
from lambent.services.logs import actions as logs
from lambent.services.s3 import actions as s3
from lambent.services.sts import actions as sts
from lambent.wire.gate import Rules
from lambent.wire.operations import Operations

RULES: dict[str, Rules] = {
    "cloudwatch": cloudwatch.RULES,
    "ecr": ecr.RULES,
    "iam": iam.RULES,
    "kms": kms.RULES,
    "lambda": control.RULES,
    "logs": logs.RULES,
    "s3": s3.RULES,
    "sts": sts.RULES,
}


def declare(operations: Operations) -> None:
    for service, rules in RULES.items():
        operations.declare(service, rules)
