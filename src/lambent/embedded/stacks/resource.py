"""A resource of a stack that the server holds: made, changed and removed by calls of AWS's API there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from botocore.exceptions import ClientError
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.core.common_models import CloudFormationModel

from lambent.embedded import native
from lambent.embedded.stacks.fitting import fit_members

_GONE = (
    "ResourceNotFoundException",
    "NoSuchEntity",
    "NotFoundException",
    "NoSuchBucket",
    "RepositoryNotFoundException",
)


class Resource(CloudFormationModel):  # type: ignore[misc]
    """One kind of resource; a subclass says how it is made. Errors are ClientError and `fitting.Unfit`."""

    TYPE: ClassVar[str] = ""
    SERVICE: ClassVar[str]
    NAME: ClassVar[str] = ""  # the property that names it; CloudFormation makes a name where it is absent
    FIXED: ClassVar[frozenset[str]] = frozenset()  # properties whose change makes another resource

    def __init__(self, account: str, region: str, properties: Mapping[str, Any]) -> None:
        self.account = account
        self.region = region
        self.properties = dict(properties)
        self.id = ""  # the physical id
        self.attributes: dict[str, Any] = {}

    # What a subclass has

    def create(self, name: str) -> None:
        """Make it by `self.properties`; set `id` and `attributes`. `name`: its own or the one made for it."""
        raise NotImplementedError

    def update(self, before: Mapping[str, Any]) -> None:
        """Change it from the properties `before` to `self.properties`."""

    def remove(self) -> None:
        """Remove it. One that is gone already is no error."""

    # For a subclass

    @property
    def client(self) -> Any:
        return native.client(self.SERVICE, self.account, self.region)

    def call(self, operation: str, *drop: str, **further: Any) -> Any:
        """The operation ("CreateFunction") with the properties as they fit, but for `drop`, and with `further`."""
        model = self.client.meta.service_model.operation_model(operation)
        parameters = fit_members(model.input_shape, self.properties, drop={*drop, *further}) | further
        return self.client._make_api_call(operation, parameters)

    def ask(self, operation: str, **parameters: Any) -> Any:
        return self.client._make_api_call(operation, parameters)

    def drop(self, operation: str, **parameters: Any) -> None:
        """Remove something that may be gone already."""
        try:
            self.ask(operation, **parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise

    def changed(self, before: Mapping[str, Any], *names: str) -> bool:
        return any(before.get(name) != self.properties.get(name) for name in names)

    # For moto

    @property
    def physical_resource_id(self) -> str:
        return self.id

    def is_created(self) -> bool:
        return True

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.TYPE

    @classmethod
    def cloudformation_name_type(cls) -> str:
        return cls.NAME

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    def get_cfn_attribute(self, name: str) -> Any:
        if name not in self.attributes:
            raise UnformattedGetAttTemplateException
        return self.attributes[name]

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Mapping[str, Any], account_id: str, region_name: str, **_: Any
    ) -> Resource:
        made = cls(account_id, region_name, cloudformation_json.get("Properties") or {})
        made.create(resource_name)
        return made

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Resource,
        new_resource_name: str,
        cloudformation_json: Mapping[str, Any],
        account_id: str,
        region_name: str,
    ) -> Resource:
        """The changed resource: another one where a property has changed that a resource keeps for life."""
        made = cls(account_id, region_name, cloudformation_json.get("Properties") or {})
        if made.changed(original_resource.properties, *cls.FIXED, *([cls.NAME] if cls.NAME else [])):
            made.create(new_resource_name)
            original_resource.remove()
            return made
        made.id, made.attributes = original_resource.id, dict(original_resource.attributes)
        made.update(original_resource.properties)
        return made

    def delete(self, account_id: str, region_name: str) -> None:
        self.remove()


def tags(properties: Mapping[str, Any], name: str = "Tags") -> dict[str, str]:
    """Tags of a template, a list of pairs or an object, as a map."""
    given = properties.get(name) or {}
    return dict(given) if isinstance(given, Mapping) else {tag["Key"]: str(tag["Value"]) for tag in given}
