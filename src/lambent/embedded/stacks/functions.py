"""AWS::Lambda::…"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from lambent.embedded.stacks.resource import Resource, tags

_ASIDE = (
    "Tags",
    "ReservedConcurrentExecutions",
    "RuntimeManagementConfig",
    "RecursiveLoop",
    "SnapStartResponse",
    "Code",
)
_INLINE = {"python": "index.py", "nodejs": "index.js", "ruby": "index.rb"}


def inline(runtime: str, text: str) -> bytes:
    """The package of a function whose code stands in the template."""
    name = next((name for prefix, name in _INLINE.items() if runtime.startswith(prefix)), "index")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o100644 << 16
        archive.writestr(entry, text)
    return buffer.getvalue()


class Function(Resource):
    TYPE, SERVICE, NAME = "AWS::Lambda::Function", "lambda", "FunctionName"
    FIXED = frozenset({"PackageType"})

    def _code(self) -> dict[str, Any]:
        code = dict(self.properties["Code"])
        if "ZipFile" in code:
            return {"ZipFile": inline(self.properties.get("Runtime", ""), code["ZipFile"])}
        return {name: str(value) for name, value in code.items() if name != "SourceKMSKeyArn"}

    def create(self, name: str) -> None:
        further = {"FunctionName": name, "Code": self._code()}
        if "ImageUri" in further["Code"]:
            further["PackageType"] = "Image"
        if given := tags(self.properties):
            further["Tags"] = given
        made = self.call("CreateFunction", *_ASIDE, **further)
        self.id = name
        self.attributes = {"Arn": made["FunctionArn"]}
        try:
            self._wait()
            self._settings({})
        except BaseException:
            self.remove()
            raise

    def update(self, before: Mapping[str, Any]) -> None:
        if self.changed(before, "Code", "Architectures"):
            further = {"Architectures": self.properties["Architectures"]} if "Architectures" in self.properties else {}
            self.ask("UpdateFunctionCode", FunctionName=self.id, **self._code(), **further)
            self._wait()
        own = ("PackageType", "Architectures", "CodeSigningConfigArn", "PublishToLatestPublished", "TenancyConfig")
        self.call("UpdateFunctionConfiguration", *_ASIDE, *own, FunctionName=self.id)
        self._wait()
        self._settings(before)

    def remove(self) -> None:
        self.drop("DeleteFunction", FunctionName=self.id)

    def _wait(self) -> None:
        self.client.get_waiter("function_active_v2").wait(FunctionName=self.id, WaiterConfig={"Delay": 1})
        self.client.get_waiter("function_updated_v2").wait(FunctionName=self.id, WaiterConfig={"Delay": 1})

    def _settings(self, before: Mapping[str, Any]) -> None:
        """What has operations of its own."""
        name, after = self.id, self.properties
        if self.changed(before, "ReservedConcurrentExecutions"):
            if (reserved := after.get("ReservedConcurrentExecutions")) is None:
                self.ask("DeleteFunctionConcurrency", FunctionName=name)
            else:
                self.ask("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=int(reserved))
        if self.changed(before, "RecursiveLoop") and "RecursiveLoop" in after:
            self.ask("PutFunctionRecursionConfig", FunctionName=name, RecursiveLoop=after["RecursiveLoop"])
        if self.changed(before, "RuntimeManagementConfig") and (chosen := after.get("RuntimeManagementConfig")):
            self.ask("PutRuntimeManagementConfig", FunctionName=name, **chosen)
        if before and tags(before) != tags(after):
            gone = [key for key in tags(before) if key not in tags(after)]
            if gone:
                self.ask("UntagResource", Resource=self.attributes["Arn"], TagKeys=gone)
            if tags(after):
                self.ask("TagResource", Resource=self.attributes["Arn"], Tags=tags(after))


class Version(Resource):
    TYPE, SERVICE = "AWS::Lambda::Version", "lambda"
    FIXED = frozenset({"FunctionName", "Description", "CodeSha256"})

    def create(self, name: str) -> None:
        made = self.call("PublishVersion", "ProvisionedConcurrencyConfig", "RuntimePolicy")
        self.id = made["FunctionArn"]
        self.attributes = {"Version": made["Version"], "FunctionArn": made["FunctionArn"]}
        self.update({})

    def update(self, before: Mapping[str, Any]) -> None:
        _provision(self, self.attributes["Version"], before)

    def remove(self) -> None:
        self.drop("DeleteFunction", FunctionName=self.id)


class Alias(Resource):
    TYPE, SERVICE, NAME = "AWS::Lambda::Alias", "lambda", ""
    FIXED = frozenset({"FunctionName", "Name"})

    def _routing(self) -> dict[str, Any]:
        weights = (self.properties.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or []
        table = {str(each["FunctionVersion"]): float(each["FunctionWeight"]) for each in weights}
        return {"RoutingConfig": {"AdditionalVersionWeights": table}}

    def create(self, name: str) -> None:
        made = self.call("CreateAlias", "ProvisionedConcurrencyConfig", **self._routing())
        self.id = made["AliasArn"]
        self.attributes = {"AliasArn": made["AliasArn"]}
        _provision(self, self.properties["Name"], {})

    def update(self, before: Mapping[str, Any]) -> None:
        self.call("UpdateAlias", "ProvisionedConcurrencyConfig", **self._routing())
        _provision(self, self.properties["Name"], before)

    def remove(self) -> None:
        self.drop("DeleteAlias", FunctionName=self.properties["FunctionName"], Name=self.properties["Name"])


def _provision(resource: Resource, qualifier: str, before: Mapping[str, Any]) -> None:
    if not resource.changed(before, "ProvisionedConcurrencyConfig"):
        return
    place = {"FunctionName": resource.properties["FunctionName"], "Qualifier": qualifier}
    if wanted := resource.properties.get("ProvisionedConcurrencyConfig"):
        number = int(wanted["ProvisionedConcurrentExecutions"])
        resource.ask("PutProvisionedConcurrencyConfig", **place, ProvisionedConcurrentExecutions=number)
    else:
        resource.drop("DeleteProvisionedConcurrencyConfig", **place)


class Permission(Resource):
    TYPE, SERVICE = "AWS::Lambda::Permission", "lambda"
    FIXED = frozenset(
        {"FunctionName", "Action", "Principal", "SourceArn", "SourceAccount", "EventSourceToken", "PrincipalOrgID",
         "FunctionUrlAuthType", "InvokedViaFunctionUrl"}
    )  # fmt: skip

    def create(self, name: str) -> None:
        self.call("AddPermission", StatementId=name)
        self.id = name
        self.attributes = {"Id": name}

    def remove(self) -> None:
        self.drop("RemovePermission", FunctionName=self.properties["FunctionName"], StatementId=self.id)


class LayerVersion(Resource):
    TYPE, SERVICE, NAME = "AWS::Lambda::LayerVersion", "lambda", "LayerName"
    FIXED = frozenset({"Content", "Description", "LicenseInfo", "CompatibleRuntimes", "CompatibleArchitectures"})

    def create(self, name: str) -> None:
        made = self.call("PublishLayerVersion", LayerName=name)
        self.id = made["LayerVersionArn"]
        self.attributes = {"LayerVersionArn": self.id}
        self._place = {"LayerName": name, "VersionNumber": made["Version"]}

    def remove(self) -> None:
        arn, _, number = self.id.rpartition(":")
        self.drop("DeleteLayerVersion", LayerName=arn, VersionNumber=int(number))


class LayerVersionPermission(Resource):
    TYPE, SERVICE = "AWS::Lambda::LayerVersionPermission", "lambda"
    FIXED = frozenset({"LayerVersionArn", "Action", "Principal", "OrganizationId"})

    def _place(self) -> dict[str, Any]:
        arn, _, number = self.properties["LayerVersionArn"].rpartition(":")
        return {"LayerName": arn, "VersionNumber": int(number), "StatementId": self.id}

    def create(self, name: str) -> None:
        self.id = name
        self.call("AddLayerVersionPermission", "LayerVersionArn", **self._place())

    def remove(self) -> None:
        self.drop("RemoveLayerVersionPermission", **self._place())


class EventSourceMapping(Resource):
    TYPE, SERVICE = "AWS::Lambda::EventSourceMapping", "lambda"
    FIXED = frozenset({"EventSourceArn", "StartingPosition", "StartingPositionTimestamp", "SelfManagedEventSource"})

    def create(self, name: str) -> None:
        further = {"Tags": tags(self.properties)} if self.properties.get("Tags") else {}
        made = self.call("CreateEventSourceMapping", "Tags", **further)
        self.id = made["UUID"]
        self.attributes = {"Id": self.id, "EventSourceMappingArn": made.get("EventSourceMappingArn", "")}

    def update(self, before: Mapping[str, Any]) -> None:
        fixed = ("EventSourceArn", "StartingPosition", "StartingPositionTimestamp", "SelfManagedEventSource", "Tags",
                 "Topics", "Queues")  # fmt: skip
        self.call("UpdateEventSourceMapping", *fixed, UUID=self.id)

    def remove(self) -> None:
        self.drop("DeleteEventSourceMapping", UUID=self.id)


class Url(Resource):
    TYPE, SERVICE = "AWS::Lambda::Url", "lambda"
    FIXED = frozenset({"TargetFunctionArn", "Qualifier"})

    def _place(self) -> dict[str, Any]:
        place = {"FunctionName": self.properties["TargetFunctionArn"]}
        return place | ({"Qualifier": self.properties["Qualifier"]} if "Qualifier" in self.properties else {})

    def create(self, name: str) -> None:
        made = self.call("CreateFunctionUrlConfig", "TargetFunctionArn", **self._place())
        self.id = made["FunctionArn"]
        self.attributes = {"FunctionUrl": made["FunctionUrl"], "FunctionArn": made["FunctionArn"]}

    def update(self, before: Mapping[str, Any]) -> None:
        self.call("UpdateFunctionUrlConfig", "TargetFunctionArn", **self._place())

    def remove(self) -> None:
        self.drop("DeleteFunctionUrlConfig", **self._place())


class EventInvokeConfig(Resource):
    TYPE, SERVICE = "AWS::Lambda::EventInvokeConfig", "lambda"
    FIXED = frozenset({"FunctionName", "Qualifier"})

    def create(self, name: str) -> None:
        self.call("PutFunctionEventInvokeConfig")
        self.id = f"{self.properties['FunctionName']}|{self.properties.get('Qualifier', '$LATEST')}"

    def update(self, before: Mapping[str, Any]) -> None:
        self.call("PutFunctionEventInvokeConfig")

    def remove(self) -> None:
        place = {name: self.properties[name] for name in ("FunctionName", "Qualifier") if name in self.properties}
        self.drop("DeleteFunctionEventInvokeConfig", **place)


class CodeSigningConfig(Resource):
    TYPE, SERVICE = "AWS::Lambda::CodeSigningConfig", "lambda"

    def create(self, name: str) -> None:
        further = {"Tags": tags(self.properties)} if self.properties.get("Tags") else {}
        made = self.call("CreateCodeSigningConfig", "Tags", **further)["CodeSigningConfig"]
        self.id = made["CodeSigningConfigArn"]
        self.attributes = {"CodeSigningConfigArn": self.id, "CodeSigningConfigId": made["CodeSigningConfigId"]}

    def update(self, before: Mapping[str, Any]) -> None:
        self.call("UpdateCodeSigningConfig", "Tags", CodeSigningConfigArn=self.id)

    def remove(self) -> None:
        self.drop("DeleteCodeSigningConfig", CodeSigningConfigArn=self.id)


KINDS = (Function, Version, Alias, Permission, LayerVersion, LayerVersionPermission, EventSourceMapping, Url,
         EventInvokeConfig, CodeSigningConfig)  # fmt: skip
