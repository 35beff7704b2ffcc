"""The operations on functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection
from lambent.base.http import Response
from lambent.control import markers, names, quotas, settings
from lambent.control.alias_store import AliasStore
from lambent.control.attachments import Attachments
from lambent.control.code import Code, Package, image_uri_of, source_of
from lambent.control.code_signing import CodeSigning
from lambent.control.concurrency_store import ConcurrencyStore
from lambent.control.configuration import describe, summarize, timestamp
from lambent.control.execution_roles import ExecutionRoles
from lambent.control.file_systems import FileSystems
from lambent.control.images import Images, kept
from lambent.control.links import CodeLinks
from lambent.control.records import IMAGE_RUNTIME, LATEST, Function, FunctionKey, Image, LoggingConfig
from lambent.control.secrets import Secrets
from lambent.control.store import FunctionStore, already_exists, not_found, refuse_update
from lambent.wire.operations import Context, Operations, Parameters

_PAGE = 50
_SETTLE_SECONDS = 0.25  # how long a look at a function waits for work on it, which takes some ms
_NAME_LENGTH = 64

Answer = Mapping[str, Any]


class Functions:
    """Handlers of the operations that create, show, change and delete functions."""

    def __init__(
        self,
        store: FunctionStore,
        aliases: AliasStore,
        concurrency: ConcurrencyStore,
        attachments: Attachments,
        signing: CodeSigning,
        secrets: Secrets,
        images: Images,
        file_systems: FileSystems,
        roles: ExecutionRoles,
        code: Code,
        links: CodeLinks,
        clock: Clock,
    ) -> None:
        self._store = store
        self._aliases = aliases
        self._concurrency = concurrency
        self._attachments = attachments
        self._code = code
        self._signing = signing
        self._secrets = secrets
        self._images = images
        self._file_systems = file_systems
        self._roles = roles
        self._links = links
        self._clock = clock

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateFunction": self.create_function,
            "GetFunction": self.get_function,
            "GetFunctionConfiguration": self.get_function_configuration,
            "ListFunctions": self.list_functions,
            "UpdateFunctionCode": self.update_function_code,
            "UpdateFunctionConfiguration": self.update_function_configuration,
            "DeleteFunction": self.delete_function,
        }.items():
            operations.register("lambda", operation, handler)

    async def download(self, path: str, query: str) -> Response:
        """Answer a GET of a `Code.Location`: its path and query as the request has them."""
        return await self._links.download(path, query)

    async def create_function(self, context: Context, parameters: Parameters) -> Answer:
        key = names.unqualified(context, parameters)
        if len(key.name) > _NAME_LENGTH:
            constraint = f"Member must have length less than or equal to {_NAME_LENGTH}"
            problem = f"Value '{key.name}' at 'functionName' failed to satisfy constraint: {constraint}"
            raise settings.invalid(f"1 validation error detected: {problem}")
        function = self._new(key, parameters)
        source = b"" if function.package_type == "Image" else source_of(parameters["Code"], "creating")
        if await self._store.get(key) is not None:
            raise already_exists(key)
        await self._roles.check(key, parameters)
        if function.package_type == "Image":
            return await self._create_from_image(context, parameters, function)
        signing = parameters.get("CodeSigningConfigArn")
        if signing:
            await self._signing.check_deployment(context, key, signing)

        def choose(connection: Connection) -> None:
            if signing:
                self._signing.choose(connection, key, signing)

        def within_quota(size: int) -> None:
            self._refuse_beyond_quota(key, size)

        layers = self._attachments.held(context.caller, parameters.get("Layers", ()))
        async with layers as held, self._code.stored(source, context.caller, within_quota) as package:
            await self._attachments.refuse_size(package.digest, held)
            publish = parameters.get("Publish", False)
            environment = await self._secrets.choose(key, parameters, None)
            function = _with_code(replace(function, layers=held, environment=environment), package)
            made = await self._store.create(function, publish=publish, also=choose)
            return describe(made) | {"FunctionArn": key.arn()}  # unqualified even when it is a version's

    def _refuse_beyond_quota(self, key: FunctionKey, more: int) -> None:
        """Raises CodeStorageExceededException when the account's code would grow beyond what it may store."""
        used = self._store.code_size(key.account, key.region)
        used += self._attachments.code_size(key.account, key.region)
        quotas.refuse_storage(used + more)

    async def _create_from_image(self, context: Context, parameters: Parameters, function: Function) -> Answer:
        uri = image_uri_of(parameters["Code"], "creating")
        if parameters.get("CodeSigningConfigArn"):
            raise settings.invalid("Code signing is not supported for functions created with container images.")
        overrides = parameters.get("ImageConfig", {})
        image = await self._images.pin(context, uri, function.architecture, overrides)
        publish = parameters.get("Publish", False)
        environment = await self._secrets.choose(function.key, parameters, None)
        function = _with_image(replace(function, environment=environment), image)
        made = await self._store.create(function, publish=publish)
        return describe(made) | {"FunctionArn": function.key.arn()}

    def _new(self, key: FunctionKey, parameters: Parameters) -> Function:
        settings.check(parameters, key.region)
        self._file_systems.check(parameters)
        package_type = parameters.get("PackageType", "Zip")
        settings.check_package(parameters, package_type)
        if package_type == "Zip" and (not parameters.get("Runtime") or not parameters.get("Handler")):
            raise settings.invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            )
        blank = Function(
            key=key,
            version=LATEST,
            revision_id=self._clock.uuid(),
            last_modified=timestamp(self._clock.now()),
            role=parameters["Role"],
            runtime=parameters.get("Runtime", IMAGE_RUNTIME),
            handler=parameters.get("Handler", ""),
            package_type=package_type,
            code_digest="",
            code_size=0,
            logging=LoggingConfig("Text", f"/aws/lambda/{key.name}"),
            tags=dict(parameters.get("Tags", {})),
        )
        return settings.apply(parameters, blank)

    async def get_function(self, context: Context, parameters: Parameters) -> Answer:
        function, qualifier = await self._look_up(context, parameters)
        answer: dict[str, Any] = {
            "Configuration": describe(function, qualifier),
            "Code": self._location(context, function),
        }
        latest = function if function.version == LATEST else await self._store.get(function.key)
        if latest is not None and latest.tags:  # tags belong to the function, whatever was asked for
            answer["Tags"] = dict(latest.tags)
        if (reserved := self._concurrency.reserved(function.key)) is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": reserved}
        return answer

    def _location(self, context: Context, function: Function) -> Answer:
        if (image := function.image) is not None:
            return {"RepositoryType": "ECR", "ImageUri": image.uri, "ResolvedImageUri": image.resolved_uri}
        return {"RepositoryType": "S3", "Location": self._links.url(context.endpoint, function.code_digest)}

    async def get_function_configuration(self, context: Context, parameters: Parameters) -> Answer:
        return describe(*await self._look_up(context, parameters))

    async def _look_up(self, context: Context, parameters: Parameters) -> tuple[Function, str | None]:
        """The function that is named, settled if that takes no longer than a moment, and the qualifier."""
        key, qualifier = names.qualified(context, parameters)
        version = qualifier or LATEST
        if not names.is_version(qualifier):
            alias = self._aliases.find(key, version)
            version = alias.function_version if alias is not None else version
        await self._store.settled(key, _SETTLE_SECONDS, version)
        function = await self._store.get(key, version)
        if function is None:
            raise not_found(key, qualifier)
        return function, qualifier

    async def list_functions(self, context: Context, parameters: Parameters) -> Answer:
        every = parameters.get("FunctionVersion") == "ALL"
        functions, marker = await self._store.page(
            context.caller.account,
            context.caller.region,
            parameters.get("Marker"),
            min(parameters.get("MaxItems", _PAGE), _PAGE),
            all_versions=every,
        )
        shown = [summarize(function, function.version if every else None) for function in functions]
        return markers.answer("Functions", shown, marker)

    async def update_function_code(self, context: Context, parameters: Parameters) -> Answer:
        key = names.unqualified(context, parameters)
        function = await self._store.get(key)
        if function is None:
            raise not_found(key)
        expected = parameters.get("RevisionId")
        if function.image is not None:
            return await self._update_image(context, parameters, function, function.image)
        source = source_of(parameters, "updating")
        settings.refuse_not_built(parameters)
        refuse_update(function, expected)
        await self._signing.check_deployment(context, key)
        architectures = {name: parameters[name] for name in ("Architectures",) if name in parameters}
        now = timestamp(self._clock.now())

        def within_quota(size: int) -> None:
            self._refuse_beyond_quota(key, size - function.code_size)

        async with self._code.stored(source, context.caller, within_quota) as package:
            await self._attachments.refuse_size(package.digest, function.layers)

            def change(current: Function) -> Function:
                return replace(_with_code(settings.apply(architectures, current), package), last_modified=now)

            if parameters.get("DryRun"):
                return describe(change(function))
            publish = parameters.get("Publish", False)
            return describe(await self._store.replace(key, change, expected, publish=publish))

    async def _update_image(
        self, context: Context, parameters: Parameters, function: Function, current: Image
    ) -> Answer:
        uri = image_uri_of(parameters, "updating")
        expected = parameters.get("RevisionId")
        refuse_update(function, expected)
        architectures = {name: parameters[name] for name in ("Architectures",) if name in parameters}
        wanted = settings.apply(architectures, function).architecture
        image = await self._images.pin(context, uri, wanted, current.overrides)
        now = timestamp(self._clock.now())

        def change(latest: Function) -> Function:
            overrides = latest.image.overrides if latest.image is not None else {}
            changed = settings.apply(architectures, latest)
            return replace(_with_image(changed, replace(image, overrides=overrides)), last_modified=now)

        if parameters.get("DryRun"):
            return describe(change(function))
        publish = parameters.get("Publish", False)
        return describe(await self._store.replace(function.key, change, expected, publish=publish))

    async def update_function_configuration(self, context: Context, parameters: Parameters) -> Answer:
        key = names.unqualified(context, parameters)
        settings.check(parameters, key.region)
        self._file_systems.check(parameters)
        await self._roles.check(key, parameters)
        if parameters.get("Layers"):
            await self._signing.check_deployment(context, key)
        now = timestamp(self._clock.now())

        expected = parameters.get("RevisionId")
        function = await self._store.get(key)
        if function is None:
            raise not_found(key)
        settings.check_package(parameters, function.package_type)
        refuse_update(function, expected)
        further: dict[str, Any] = {"last_modified": now}
        async with self._attachments.held(context.caller, parameters.get("Layers", ())) as held:
            if "Layers" in parameters:
                await self._attachments.refuse_size(function.code_digest, held)
                further["layers"] = held
            if (environment := await self._secrets.choose(key, parameters, function)) is not None:
                further["environment"] = environment

            def change(current: Function) -> Function:
                changed = replace(settings.apply(parameters, current), **further)
                if changed.image is None or "ImageConfig" not in parameters:
                    return changed
                return replace(changed, image=replace(changed.image, overrides=kept(parameters["ImageConfig"])))

            return describe(await self._store.replace(key, change, expected))

    async def delete_function(self, context: Context, parameters: Parameters) -> Answer:
        """Without a qualifier all of it. Deleting a version that is not there succeeds, as on AWS."""
        key, qualifier = names.qualified(context, parameters)
        if qualifier == LATEST:
            raise settings.invalid("$LATEST version cannot be deleted without deleting the function.")
        if not names.is_version(qualifier):
            raise settings.invalid("Deletion of aliases is not currently supported.")
        if not await self._store.delete(key, qualifier):
            raise not_found(key)
        return {"StatusCode": 204}


def _with_image(function: Function, image: Image) -> Function:
    return replace(function, image=image, code_digest=image.digest.partition(":")[2], code_size=0)


def _with_code(function: Function, package: Package) -> Function:
    return replace(function, code_digest=package.digest, code_size=package.size)
