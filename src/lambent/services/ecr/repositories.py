"""ECR's operations on repositories: their settings, policies and tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from lambent.base.clock import Clock
from lambent.services.ecr import errors, lifecycle, names
from lambent.services.ecr.lifecycle import InvalidLifecycle
from lambent.services.ecr.names import Registry, RepositoryName
from lambent.services.ecr.pages import page
from lambent.services.ecr.records import Repository
from lambent.services.ecr.store import ImageStore
from lambent.services.ecr.tokens import USER, Grant, Tokens, as_header
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Context, Operations, Parameters

_TAGS = 50
_MUTABILITIES_WITH_FILTERS = ("IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION")


def registry_of(context: Context, parameters: Parameters) -> Registry:
    return Registry(parameters.get("registryId", context.caller.account), context.caller.region)


def repository_of(context: Context, parameters: Parameters) -> RepositoryName:
    """May be another account's: whether the caller may use that is the gate's to say."""
    return RepositoryName(registry_of(context, parameters), parameters["repositoryName"])


def host_of(context: Context) -> str:
    """What images are called by: this server as the client addresses it, "127.0.0.1:4566"."""
    return context.endpoint.partition("://")[2]


class Repositories:
    """Handlers."""

    def __init__(self, store: ImageStore, tokens: Tokens, clock: Clock, changed: Callable[[], None]) -> None:
        """`changed` is called when layers may have become free, or a lifecycle policy is new."""
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._changed = changed

    def register(self, operations: Operations) -> None:
        for name, handler in (
            ("CreateRepository", self.create_repository),
            ("DescribeRepositories", self.describe_repositories),
            ("DeleteRepository", self.delete_repository),
            ("PutImageTagMutability", self.put_image_tag_mutability),
            ("PutImageScanningConfiguration", self.put_image_scanning_configuration),
            ("GetRepositoryPolicy", self.get_repository_policy),
            ("SetRepositoryPolicy", self.set_repository_policy),
            ("DeleteRepositoryPolicy", self.delete_repository_policy),
            ("GetLifecyclePolicy", self.get_lifecycle_policy),
            ("PutLifecyclePolicy", self.put_lifecycle_policy),
            ("DeleteLifecyclePolicy", self.delete_lifecycle_policy),
            ("TagResource", self.tag_resource),
            ("UntagResource", self.untag_resource),
            ("ListTagsForResource", self.list_tags_for_resource),
            ("GetAuthorizationToken", self.get_authorization_token),
            ("DescribeRegistry", self.describe_registry),
        ):
            operations.register("ecr", name, handler)

    async def create_repository(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        tags = _tags(parameters.get("tags", ()))
        mutability, exclusions = _mutability(parameters)
        encryption = parameters.get("encryptionConfiguration", {"encryptionType": "AES256"})
        if encryption["encryptionType"] != "AES256":
            raise not_built(f"encryption of repositories by {encryption['encryptionType']}")
        repository = Repository(
            name,
            self._clock.time(),
            mutability,
            exclusions,
            parameters.get("imageScanningConfiguration", {}).get("scanOnPush", False),
            encryption,
            tags=tags,
        )
        await self._store.create(repository)
        return {"repository": _shape(repository, context)}

    async def describe_repositories(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        registry = registry_of(context, parameters)
        if registry.account != context.caller.account and not parameters.get("repositoryNames"):
            raise not_built("listing the registry of another account")
        if wanted := parameters.get("repositoryNames"):
            found = [await self._store.repository(RepositoryName(registry, name)) for name in wanted]
            return {"repositories": [_shape(repository, context) for repository in found]}
        found, token = await page(parameters, 100, lambda after, most: self._store.repositories(registry, after, most))
        answer: dict[str, Any] = {"repositories": [_shape(repository, context) for repository in found]}
        return answer | token(lambda repository: repository.name.name)

    async def delete_repository(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        gone = await self._store.delete(name, force=parameters.get("force", False))
        self._changed()
        return {"repository": _shape(gone, context)}

    async def put_image_tag_mutability(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        mutability, exclusions = _mutability(parameters)
        changed = await self._store.change(
            name, lambda repository: replace(repository, mutability=mutability, exclusions=exclusions)
        )
        return named(name) | _mutability_shape(changed)

    async def put_image_scanning_configuration(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        wanted = parameters["imageScanningConfiguration"].get("scanOnPush", False)
        await self._store.change(name, lambda repository: replace(repository, scan_on_push=wanted))
        return named(name) | {"imageScanningConfiguration": {"scanOnPush": wanted}}

    # Policies

    async def get_repository_policy(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        repository = await self._store.repository(name)
        return named(name) | {"policyText": _demand(repository.policy, errors.no_policy(name))}

    async def set_repository_policy(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name, text = repository_of(context, parameters), parameters["policyText"]
        _check_policy(text)
        await self._store.change(name, lambda repository: replace(repository, policy=text))
        return named(name) | {"policyText": text}

    async def delete_repository_policy(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        gone: list[str] = []

        def change(repository: Repository) -> Repository:
            gone.append(_demand(repository.policy, errors.no_policy(name)))
            return replace(repository, policy=None)

        await self._store.change(name, change)
        return named(name) | {"policyText": gone[0]}

    async def get_lifecycle_policy(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        return named(name) | _lifecycle_shape(await self._store.repository(name))

    async def put_lifecycle_policy(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name, text = repository_of(context, parameters), parameters["lifecyclePolicyText"]
        try:
            lifecycle.read(text)
        except InvalidLifecycle as problem:
            raise errors.invalid(f"'LifecyclePolicyText' failed to satisfy constraint: '{problem}'") from None
        await self._store.change(name, lambda repository: replace(repository, lifecycle=text))
        self._changed()
        return named(name) | {"lifecyclePolicyText": text}

    async def delete_lifecycle_policy(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        gone: list[dict[str, Any]] = []

        def change(repository: Repository) -> Repository:
            gone.append(_lifecycle_shape(repository))
            return replace(repository, lifecycle=None, lifecycle_evaluated=None)

        await self._store.change(name, change)
        return named(name) | gone[0]

    # Tags of repositories

    async def tag_resource(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        given = _tags(parameters["tags"])
        await self._change_tags(context, parameters, lambda tags: {**tags, **given})
        return {}

    async def untag_resource(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        gone = set(parameters["tagKeys"])
        await self._change_tags(
            context, parameters, lambda tags: {key: value for key, value in tags.items() if key not in gone}
        )
        return {}

    async def _change_tags(
        self, context: Context, parameters: Parameters, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> None:
        def work(repository: Repository) -> Repository:
            tags = change(repository.tags)
            if len(tags) > _TAGS:
                raise AwsError("TooManyTagsException", f"A repository can have {_TAGS} tags at most.")
            return replace(repository, tags=tags)

        await self._store.change(_by_arn(context, parameters["resourceArn"]), work)

    async def list_tags_for_resource(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        repository = await self._store.repository(_by_arn(context, parameters["resourceArn"]))
        return {"tags": [{"Key": key, "Value": value} for key, value in sorted(repository.tags.items())]}

    # The registry

    async def get_authorization_token(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        registry = Registry(context.caller.account, context.caller.region)
        if any(account != registry.account for account in parameters.get("registryIds", ())):
            raise not_built("the registry of another account")
        password, expires = self._tokens.issue(Grant(registry, key=context.caller.access_key_id))
        data = {
            "authorizationToken": as_header(USER, password),
            "expiresAt": _date(expires),
            "proxyEndpoint": context.endpoint,
        }
        return {"authorizationData": [data]}

    async def describe_registry(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        return {"registryId": context.caller.account, "replicationConfiguration": {"rules": []}}


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def named(name: RepositoryName) -> dict[str, Any]:
    """How every answer about a repository begins."""
    return {"registryId": name.registry.account, "repositoryName": name.name}


def _shape(repository: Repository, context: Context) -> Mapping[str, Any]:
    name = repository.name
    return {
        "repositoryArn": name.arn,
        **named(name),
        "repositoryUri": f"{host_of(context)}/{name.name}",
        "createdAt": _date(repository.created),
        **_mutability_shape(repository),
        "imageScanningConfiguration": {"scanOnPush": repository.scan_on_push},
        "encryptionConfiguration": dict(repository.encryption),
    }


def _mutability_shape(repository: Repository) -> dict[str, Any]:
    shape: dict[str, Any] = {"imageTagMutability": repository.mutability}
    if repository.exclusions:
        shape["imageTagMutabilityExclusionFilters"] = [
            {"filterType": "WILDCARD", "filter": pattern} for pattern in repository.exclusions
        ]
    return shape


def _lifecycle_shape(repository: Repository) -> dict[str, Any]:
    text = _demand(repository.lifecycle, errors.no_lifecycle(repository.name))
    if repository.lifecycle_evaluated is None:
        return {"lifecyclePolicyText": text}
    return {"lifecyclePolicyText": text, "lastEvaluatedAt": _date(repository.lifecycle_evaluated)}


def _demand(text: str | None, error: AwsError) -> str:
    if text is None:
        raise error
    return text


def _mutability(parameters: Parameters) -> tuple[str, Sequence[str]]:
    mutability: str = parameters.get("imageTagMutability", "MUTABLE")
    filters = tuple(entry["filter"] for entry in parameters.get("imageTagMutabilityExclusionFilters", ()))
    if bool(filters) is not (mutability in _MUTABILITIES_WITH_FILTERS):
        raise errors.invalid(
            "'imageTagMutabilityExclusionFilters' failed to satisfy constraint: 'Filters belong to"
            f" {' and '.join(_MUTABILITIES_WITH_FILTERS)}'"
        )
    return mutability, filters


def _check_policy(text: str) -> None:
    try:
        document = orjson.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not document.get("Statement"):
        raise errors.invalid("'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'")


def _tags(given: Sequence[Mapping[str, str]]) -> dict[str, str]:
    tags = {entry["Key"]: entry["Value"] for entry in given}
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise AwsError("InvalidTagParameterException", f"The tag {key!r} cannot be used.")
    if len(tags) > _TAGS:
        raise AwsError("TooManyTagsException", f"A repository can have {_TAGS} tags at most.")
    return tags


def _by_arn(context: Context, arn: str) -> RepositoryName:
    name = names.from_arn(arn)
    if name is None:
        raise errors.invalid(f"'resourceArn' failed to satisfy constraint: 'Invalid ARN: {arn}'")
    if name.registry.account != context.caller.account:
        raise errors.no_repository(name)
    return name
