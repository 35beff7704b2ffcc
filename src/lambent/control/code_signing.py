"""Code signing configurations and the functions that have one.

There is no AWS Signer here, so no package carries a signature that could be trusted: `Enforce` blocks every deployment,
`Warn` lets it through, as AWS does with unsigned packages.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.control import markers, rows
from lambent.control.configuration import timestamp
from lambent.control.named import random_id
from lambent.control.names import unqualified
from lambent.control.records import FunctionKey, partition_of
from lambent.control.resources import Document, Resources, home_of, is_of, name_of
from lambent.control.settings import check_tags
from lambent.control.store import FunctionStore, not_found
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

_log = logging.getLogger("lambent.code_signing")

_PAGE = 50
_ID_LENGTH = 17

Answer = Mapping[str, Any]


class CodeSigning:
    """Handlers of the operations on code signing."""

    def __init__(self, db: Database, store: FunctionStore, clock: Clock) -> None:
        self._db = db
        self._store = store
        self._clock = clock
        self.configs = Resources(db, "code-signing-config")
        self._chosen = Resources(db, "function-code-signing")  # by function; the parent is the configuration
        store.on_remove(self._let_go)

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateCodeSigningConfig": self.create_code_signing_config,
            "GetCodeSigningConfig": self.get_code_signing_config,
            "UpdateCodeSigningConfig": self.update_code_signing_config,
            "DeleteCodeSigningConfig": self.delete_code_signing_config,
            "ListCodeSigningConfigs": self.list_code_signing_configs,
            "ListFunctionsByCodeSigningConfig": self.list_functions_by_code_signing_config,
            "PutFunctionCodeSigningConfig": self.put_function_code_signing_config,
            "GetFunctionCodeSigningConfig": self.get_function_code_signing_config,
            "DeleteFunctionCodeSigningConfig": self.delete_function_code_signing_config,
        }.items():
            operations.register("lambda", operation, handler)

    # Configurations

    async def create_code_signing_config(self, context: Context, parameters: Parameters) -> Answer:
        check_tags(parameters.get("Tags", {}))
        home, name = context.caller, f"csc-{random_id(self._clock, _ID_LENGTH)}"
        arn = f"arn:{partition_of(home.region)}:lambda:{home.region}:{home.account}:code-signing-config:{name}"
        document = {
            "CodeSigningConfigId": name,
            "CodeSigningConfigArn": arn,
            "AllowedPublishers": parameters["AllowedPublishers"],
            "CodeSigningPolicies": _policies(parameters.get("CodeSigningPolicies", {}), "Warn"),
            "LastModified": timestamp(self._clock.now()),
        }
        if "Description" in parameters:
            document["Description"] = parameters["Description"]
        stored = {**document, "Tags": dict(parameters.get("Tags", {}))}
        await self._db.write(lambda connection: self.configs.put(connection, home, name, stored))
        return {"CodeSigningConfig": document}

    async def get_code_signing_config(self, context: Context, parameters: Parameters) -> Answer:
        arn = parameters["CodeSigningConfigArn"]
        return {"CodeSigningConfig": _shown(await self._db.read(lambda db: self._demand(db, context, arn)))}

    async def update_code_signing_config(self, context: Context, parameters: Parameters) -> Answer:
        arn, now = parameters["CodeSigningConfigArn"], timestamp(self._clock.now())

        def work(connection: Connection) -> Document:
            document = dict(self._demand(connection, context, arn))
            for member in ("Description", "AllowedPublishers"):
                if member in parameters:
                    document[member] = parameters[member]
            if "CodeSigningPolicies" in parameters:
                current = document["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"]
                document["CodeSigningPolicies"] = _policies(parameters["CodeSigningPolicies"], current)
            document["LastModified"] = now
            return self.configs.put(connection, home_of(arn), name_of(arn), document)

        return {"CodeSigningConfig": _shown(await self._db.write(work))}

    async def delete_code_signing_config(self, context: Context, parameters: Parameters) -> Answer:
        arn = parameters["CodeSigningConfigArn"]

        def work(connection: Connection) -> None:
            self._demand(connection, context, arn)
            if self._chosen.children(connection, home_of(arn), arn):
                message = f"The code signing configuration {arn} is in use. Remove it from its functions first."
                raise AwsError("ResourceConflictException", message, Type="User")
            self.configs.remove(connection, home_of(arn), name_of(arn))

        await self._db.write(work)
        return {}

    async def list_code_signing_configs(self, context: Context, parameters: Parameters) -> Answer:
        size = min(parameters.get("MaxItems", _PAGE), _PAGE)
        documents, marker = await self.configs.page(context.caller, parameters.get("Marker"), size)
        return markers.answer("CodeSigningConfigs", [_shown(document) for document in documents], marker)

    async def list_functions_by_code_signing_config(self, context: Context, parameters: Parameters) -> Answer:
        arn, size = parameters["CodeSigningConfigArn"], min(parameters.get("MaxItems", _PAGE), _PAGE)
        await self._db.read(lambda connection: self._demand(connection, context, arn))
        documents, marker = await self._chosen.page(context.caller, parameters.get("Marker"), size, arn)
        return markers.answer("FunctionArns", [document["FunctionArn"] for document in documents], marker)

    # Functions

    async def put_function_code_signing_config(self, context: Context, parameters: Parameters) -> Answer:
        key, arn = unqualified(context, parameters), parameters["CodeSigningConfigArn"]

        def work(connection: Connection) -> None:
            self._find_for_function(connection, context, arn)
            if rows.find(connection, key) is None:
                raise not_found(key)
            self.choose(connection, key, arn)

        await self._db.write(work)
        return {"CodeSigningConfigArn": arn, "FunctionName": key.name}

    async def get_function_code_signing_config(self, context: Context, parameters: Parameters) -> Answer:
        key = unqualified(context, parameters)
        if await self._store.get(key) is None:
            raise not_found(key)
        chosen = await self._chosen.get(key, key.name)
        if chosen is None:
            return {}
        return {"CodeSigningConfigArn": chosen["CodeSigningConfigArn"], "FunctionName": key.name}

    async def delete_function_code_signing_config(self, context: Context, parameters: Parameters) -> Answer:
        key = unqualified(context, parameters)

        def work(connection: Connection) -> None:
            if rows.find(connection, key) is None:
                raise not_found(key)
            self._chosen.remove(connection, key, key.name)

        await self._db.write(work)
        return {}

    # What deployments ask

    def choose(self, connection: Connection, key: FunctionKey, arn: str) -> None:
        """The function has this configuration from now on."""
        document = {"CodeSigningConfigArn": arn, "FunctionArn": key.arn()}
        self._chosen.put(connection, key, key.name, document, arn)

    async def check_deployment(self, context: Context, key: FunctionKey, arn: str | None = None) -> None:
        """Refuse unsigned code for a function with the configuration `arn`, or that which the function has.

        Raises CodeVerificationFailedException, and CodeSigningConfigNotFoundException for an unknown `arn`.
        """

        def work(connection: Connection) -> Document | None:
            if arn is not None:
                return self._find_for_function(connection, context, arn)
            chosen = self._chosen.find(connection, key, key.name)
            return chosen and self.configs.find(connection, key, name_of(chosen["CodeSigningConfigArn"]))

        config = await self._db.read(work)
        if config is None:
            return
        if config["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"] == "Enforce":
            raise AwsError(
                "CodeVerificationFailedException",
                "Lambda cannot deploy the function. The function or layer might be signed using a signature that the"
                f" client is not configured to accept. Check the provided signature for {key.name}.",
                Type="User",
            )
        _log.warning("%s has code that nobody has signed; its code signing configuration only warns", key.arn())

    # Inside a transaction

    def _demand(self, connection: Connection, context: Context, arn: str) -> Document:
        document = self.configs.find(connection, home_of(arn), name_of(arn))
        if document is None or not is_of(arn, context.caller):
            raise config_not_found(arn)
        return document

    def _find_for_function(self, connection: Connection, context: Context, arn: str) -> Document:
        document = self.configs.find(connection, home_of(arn), name_of(arn))
        if document is None or not is_of(arn, context.caller):
            message = (
                "The code signing configuration cannot be found. Check that the provided configuration is not deleted:"
                f" {arn}."
            )
            raise AwsError("CodeSigningConfigNotFoundException", message, Type="User")
        return document

    def _let_go(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> None:
        if qualifier is None:
            self._chosen.remove(connection, key, key.name)


def _policies(given: Mapping[str, str], default: str) -> dict[str, str]:
    return {"UntrustedArtifactOnDeployment": given.get("UntrustedArtifactOnDeployment", default)}


def _shown(document: Document) -> dict[str, Any]:
    return {member: value for member, value in document.items() if member != "Tags"}


def config_not_found(arn: str) -> AwsError:
    message = f"The Lambda code signing configuration {arn} can not be found."
    return AwsError("ResourceNotFoundException", message, Type=None)
