"""The operations on layers."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from lambent.base.clock import Clock
from lambent.control import markers, policies
from lambent.control.code import Code, source_of
from lambent.control.configuration import timestamp
from lambent.control.layer_store import Attached, LayerStore
from lambent.control.links import CodeLinks
from lambent.control.policies import Policy, Statement
from lambent.control.records import LayerKey, LayerVersion, partition_of
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Context, Operations, Parameters

_PAGE = 50
_ARN = re.compile(
    r"arn:[^:]+:lambda:(?P<region>[^:]+):(?P<account>\d{12}):layer:(?P<name>[a-zA-Z0-9-_]+)(?::(?P<number>\d+))?"
)

Organizations = Mapping[str, frozenset[str]]
"""The accounts of each organisation: "o-a1b2c3d4e5" → {"111111111111", …}."""

Answer = Mapping[str, Any]


class Layers:
    """Handlers of the operations that publish, show, share and delete layer versions."""

    def __init__(
        self,
        store: LayerStore,
        code: Code,
        links: CodeLinks,
        clock: Clock,
        function_code: Callable[[str, str], int],
        organizations: Organizations | None = None,
    ) -> None:
        """`function_code` gives the bytes that the packages of an account's functions take in a region."""
        self._store = store
        self._code = code
        self._links = links
        self._clock = clock
        self._function_code = function_code
        self._organizations = organizations or {}

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "PublishLayerVersion": self.publish_layer_version,
            "GetLayerVersion": self.get_layer_version,
            "GetLayerVersionByArn": self.get_layer_version_by_arn,
            "DeleteLayerVersion": self.delete_layer_version,
            "ListLayers": self.list_layers,
            "ListLayerVersions": self.list_layer_versions,
            "AddLayerVersionPermission": self.add_layer_version_permission,
            "RemoveLayerVersionPermission": self.remove_layer_version_permission,
            "GetLayerVersionPolicy": self.get_layer_version_policy,
        }.items():
            operations.register("lambda", operation, handler)

    async def publish_layer_version(self, context: Context, parameters: Parameters) -> Answer:
        key = of_caller(context.caller, parameters["LayerName"], "PublishLayerVersion")
        source = source_of(parameters["Content"], "publishing", "layer")
        runtimes, architectures = parameters.get("CompatibleRuntimes"), parameters.get("CompatibleArchitectures")
        async with self._code.stored(source, context.caller) as package:
            version = LayerVersion(
                key=key,
                number=0,
                digest=package.digest,
                code_size=package.size,
                created=timestamp(self._clock.now()),
                description=parameters.get("Description", ""),
                license_info=parameters.get("LicenseInfo"),
                runtimes=None if runtimes is None else tuple(runtimes),
                architectures=None if architectures is None else tuple(architectures),
            )
            return self._content(await self._store.publish(version, self._function_code), context.endpoint)

    async def get_layer_version(self, context: Context, parameters: Parameters) -> Answer:
        key, number = _named(context.caller, parameters["LayerName"]), _number(parameters["VersionNumber"])
        return self._content((await self.readable(context.caller, key, number)).version, context.endpoint)

    async def get_layer_version_by_arn(self, context: Context, parameters: Parameters) -> Answer:
        found = parse(parameters["Arn"])
        if found is None:  # arn:aws:lambda:::awslayer:NAME: there are no layers of AWS here
            raise _nothing()
        key, number = found
        if key.region != context.caller.region:
            raise _elsewhere(key.region, context.caller.region)
        return self._content((await self.readable(context.caller, key, number)).version, context.endpoint)

    async def readable(self, caller: Caller, key: LayerKey, number: int) -> Attached:
        """The layer version, if `caller` may use it.

        Raises ResourceNotFoundException, and for another account's version without a statement for the caller
        AccessDeniedException, whether it exists or not.
        """
        found = await self._store.find(key, number)
        if caller.account == key.account or caller.proven:  # the gate has looked at its policy
            if found is None:
                raise _nothing()
            return found
        if found is None or not any(self._allows(statement, caller.account) for statement in found.policy.statements):
            raise denied(caller, "GetLayerVersion", key.arn(number))
        return found

    def _allows(self, statement: Statement, account: str) -> bool:
        if not policies.names_account(statement, account):
            return False
        organization = statement.get("Condition", {}).get("StringEquals", {}).get("aws:PrincipalOrgID")
        return organization is None or account in self._organizations.get(organization, ())

    async def delete_layer_version(self, context: Context, parameters: Parameters) -> Answer:
        """Succeeds for a version that is not there, as on AWS. Functions that hold the version keep its content."""
        key, number = (
            of_caller(context.caller, parameters["LayerName"], "DeleteLayerVersion"),
            parameters["VersionNumber"],
        )
        await self._store.delete(key, _number(number))
        return {}

    async def list_layers(self, context: Context, parameters: Parameters) -> Answer:
        """The newest version of each layer, among those that fit what is asked for."""
        caller, most = context.caller, min(parameters.get("MaxItems", _PAGE), _PAGE)
        (after,) = markers.read(parameters["Marker"], ("",)) if parameters.get("Marker") else ("",)
        versions = await self._store.layers(caller.account, caller.region, str(after))
        newest: dict[str, LayerVersion] = {}
        for version in versions:
            if _fits(version, parameters):
                newest.setdefault(version.key.name, version)
        page, marker = markers.cut(list(newest.values()), most, lambda version: (version.key.name,))
        shown = [
            {
                "LayerName": version.key.name,
                "LayerArn": version.key.arn(),
                "LatestMatchingVersion": _describe(version),
            }
            for version in page
        ]
        return markers.answer("Layers", shown, marker)

    async def list_layer_versions(self, context: Context, parameters: Parameters) -> Answer:
        key = of_caller(context.caller, parameters["LayerName"], "ListLayerVersions")
        most = min(parameters.get("MaxItems", _PAGE), _PAGE)
        (below,) = markers.read(parameters["Marker"], (0,)) if parameters.get("Marker") else (0,)
        fitting = [
            version
            for version in await self._store.versions(key)
            if _fits(version, parameters) and (not below or version.number < int(below))
        ]
        page, marker = markers.cut(fitting, most, lambda version: (version.number,))
        return markers.answer("LayerVersions", [_describe(version) for version in page], marker)

    # Who may use a version

    async def add_layer_version_permission(self, context: Context, parameters: Parameters) -> Answer:
        key, number = self._shared(context, parameters, "AddLayerVersionPermission")
        organization = parameters.get("OrganizationId")
        if organization and parameters["Principal"] != "*":
            message = "The principal must be * when an organization id is given."
            raise AwsError("InvalidParameterValueException", message, Type="User")
        statement = policies.statement(
            parameters["StatementId"],
            policies.principal(parameters["Principal"], partition_of(key.region)),
            parameters["Action"],
            key.arn(number),
            {"StringEquals": {"aws:PrincipalOrgID": organization}} if organization else {},
        )
        revision = self._clock.uuid()

        def change(found: Attached | None) -> Policy:
            return _expected(found, key, number, parameters).policy.plus(statement)

        await self._store.change_policy(key, number, revision, change)
        return {"Statement": orjson.dumps(statement).decode(), "RevisionId": revision}

    async def remove_layer_version_permission(self, context: Context, parameters: Parameters) -> Answer:
        key, number = self._shared(context, parameters, "RemoveLayerVersionPermission")

        def change(found: Attached | None) -> Policy:
            return _expected(found, key, number, parameters).policy.minus(parameters["StatementId"])

        await self._store.change_policy(key, number, self._clock.uuid(), change)
        return {}

    async def get_layer_version_policy(self, context: Context, parameters: Parameters) -> Answer:
        key, number = self._shared(context, parameters, "GetLayerVersionPolicy")
        found = await self._store.find(key, number)
        if found is None:
            raise _no_version(key, number)
        if found.revision is None:
            raise policies.no_policy()
        return {"Policy": found.policy.document(), "RevisionId": found.revision}

    def _shared(self, context: Context, parameters: Parameters, operation: str) -> tuple[LayerKey, int]:
        return of_caller(context.caller, parameters["LayerName"], operation), _number(parameters["VersionNumber"])

    def _content(self, version: LayerVersion, endpoint: str) -> dict[str, Any]:
        content = {
            "Location": self._links.url(endpoint, version.digest),
            "CodeSha256": base64.b64encode(bytes.fromhex(version.digest)).decode(),
            "CodeSize": version.code_size,
        }
        return {"Content": content, "LayerArn": version.key.arn(), **_describe(version)}


def _describe(version: LayerVersion) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "LayerVersionArn": version.arn,
        "Version": version.number,
        "Description": version.description,
        "CreatedDate": version.created,
    }
    if version.runtimes is not None:
        shown["CompatibleRuntimes"] = list(version.runtimes)
    if version.architectures is not None:
        shown["CompatibleArchitectures"] = list(version.architectures)
    if version.license_info is not None:
        shown["LicenseInfo"] = version.license_info
    return shown


def _fits(version: LayerVersion, parameters: Parameters) -> bool:
    wanted = (
        (parameters.get("CompatibleRuntime"), version.runtimes),
        (parameters.get("CompatibleArchitecture"), version.architectures),
    )
    return all(one is None or one in (said or ()) for one, said in wanted)


def parse(arn: str) -> tuple[LayerKey, int] | None:
    """The layer and number behind the ARN of a layer version; None for anything else."""
    match = _ARN.fullmatch(arn)
    if match is None or match["number"] is None:
        return None
    return LayerKey(match["account"], match["region"], match["name"]), int(match["number"])


def _named(caller: Caller, name_or_arn: str) -> LayerKey:
    match = _ARN.fullmatch(name_or_arn)
    if match is None:
        return LayerKey(caller.account, caller.region, name_or_arn)
    if match["region"] != caller.region:
        raise _elsewhere(match["region"], caller.region)
    return LayerKey(match["account"], match["region"], match["name"])


def of_caller(caller: Caller, name_or_arn: str, operation: str) -> LayerKey:
    """The layer that is named; it must be the caller's own."""
    key = _named(caller, name_or_arn)
    if key.account != caller.account:
        raise denied(caller, operation, key.arn())
    return key


def _number(number: int) -> int:
    if number < 1:
        raise AwsError("InvalidParameterValueException", "Layer Version Cannot be less than 1", Type="User")
    return number


def _expected(found: Attached | None, key: LayerKey, number: int, parameters: Parameters) -> Attached:
    """The version as the caller expects it: there, and its policy at the revision that was given, if one was."""
    if found is None:
        raise _no_version(key, number)
    expected = parameters.get("RevisionId")
    if expected and expected != found.revision:
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve"
            " the latest Revision Id",
            Type="User",
        )
    return found


def denied(caller: Caller, operation: str, resource: str) -> AwsError:
    """AWS's answer to an account that nobody has given access."""
    message = (
        f"User: arn:{partition_of(caller.region)}:iam::{caller.account}:root is not authorized to perform:"
        f" lambda:{operation} on resource: {resource} because no resource-based policy allows the"
        f" lambda:{operation} action"
    )
    return AwsError("AccessDeniedException", message, status=403)


def _nothing() -> AwsError:
    return AwsError("ResourceNotFoundException", "The resource you requested does not exist.", Type="User")


def _no_version(key: LayerKey, number: int) -> AwsError:
    message = f"Layer version {key.arn(number)} does not exist."
    return AwsError("ResourceNotFoundException", message, Type="User")


def _elsewhere(region: str, here: str) -> AwsError:
    message = f"Layers from '{region}' are not reachable in this region ('{here}')"
    return AwsError("ResourceNotFoundException", message, Type="User")
