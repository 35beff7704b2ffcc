"""What a role's trust policy says of a service of AWS that would act as the role."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.base.db import Connection
from lambent.services.iam import documents, evaluator, principals, store
from lambent.services.iam.directory import Directory
from lambent.services.iam.evaluator import Policies, Question
from lambent.services.iam.principals import Principal
from lambent.services.iam.records import Kind


class Trust:
    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def allows(self, arn: str, service: str, context: Mapping[str, tuple[str, ...]]) -> bool | None:
        """Whether `service` ("lambda.amazonaws.com") may assume the role; None where there is no such role.

        `context` are condition keys in lower case, such as aws:sourceaccount.
        """
        return await self._directory.db.read(lambda connection: _allows(connection, arn, service, context))


def _allows(connection: Connection, arn: str, service: str, context: Mapping[str, tuple[str, ...]]) -> bool | None:
    account, name = arn.split(":")[4], arn.rpartition("/")[2]
    role = store.find_identity(connection, account, Kind.ROLE, name)
    if role is None or role.arn != arn:
        return None
    caller = Principal(service=service)
    trust = documents.parse(role.trust or "", documents.Kind.TRUST, f"the trust policy of {role.name}")
    question = Question(caller, "sts:AssumeRole", arn, account, principals.context_of(caller) | dict(context))
    return evaluator.evaluate(question, Policies([], trust, resource_decides=True)).allowed
