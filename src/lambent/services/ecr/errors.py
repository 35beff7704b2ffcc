"""ECR's errors, in its words. The registry's HTTP interface answers the same ones under the names of the OCI."""

from __future__ import annotations

from collections.abc import Iterable

from lambent.services.ecr.names import RepositoryName
from lambent.wire.errors import AwsError


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", f"Invalid parameter at {message}")


def no_repository(name: RepositoryName) -> AwsError:
    account = name.registry.account
    message = f"The repository with name '{name.name}' does not exist in the registry with id '{account}'"
    return AwsError("RepositoryNotFoundException", message)


def repository_exists(name: RepositoryName) -> AwsError:
    account = name.registry.account
    message = f"The repository with name '{name.name}' already exists in the registry with id '{account}'"
    return AwsError("RepositoryAlreadyExistsException", message)


def not_empty(name: RepositoryName) -> AwsError:
    message = (
        f"The repository with name '{name.name}' in registry with id '{name.registry.account}' cannot be deleted"
        " because it still contains images"
    )
    return AwsError("RepositoryNotEmptyException", message)


def no_policy(name: RepositoryName) -> AwsError:
    return AwsError("RepositoryPolicyNotFoundException", f"Repository policy does not exist for {name}")


def no_lifecycle(name: RepositoryName) -> AwsError:
    return AwsError("LifecyclePolicyNotFoundException", f"Lifecycle policy does not exist for {name}")


def no_image(name: RepositoryName, digest: str | None, tag: str | None) -> AwsError:
    wanted = f"{{imageDigest:'{digest or 'null'}', imageTag:'{tag or 'null'}'}}"
    message = (
        f"The image with imageId {wanted} does not exist within the repository with name '{name.name}' in the"
        f" registry with id '{name.registry.account}'"
    )
    return AwsError("ImageNotFoundException", message)


def image_exists(name: RepositoryName, digest: str, tag: str | None) -> AwsError:
    also = f" and tag '{tag}'" if tag else ""
    message = (
        f"Image with digest '{digest}'{also} already exists in the repository with name '{name.name}' in registry with"
        f" id '{name.registry.account}'"
    )
    return AwsError("ImageAlreadyExistsException", message)


def tag_is_immutable(name: RepositoryName, tag: str) -> AwsError:
    message = (
        f"The image tag '{tag}' already exists in the '{name.name}' repository and cannot be overwritten because the"
        " tag is immutable."
    )
    return AwsError("ImageTagAlreadyExistsException", message)


def no_layers(name: RepositoryName, digests: Iterable[str]) -> AwsError:
    message = f"Layers with digests '[{', '.join(digests)}]' required for pushing image into {name} do not exist"
    return AwsError("LayersNotFoundException", message)


def no_referenced_images(name: RepositoryName, digests: Iterable[str]) -> AwsError:
    message = (
        f"Images with digests '[{', '.join(digests)}]' required for pushing image into the repository with name"
        f" '{name.name}' in the registry with id '{name.registry.account}' do not exist"
    )
    return AwsError("ReferencedImagesNotFoundException", message)


def no_upload(upload: str) -> AwsError:
    return AwsError("UploadNotFoundException", f"Upload with id '{upload}' does not exist")


def still_referenced(holders: Iterable[str]) -> AwsError:
    """BatchDeleteImage tells it as a failure; the registry refuses with it."""
    message = f"Requested image referenced by manifest list: [{', '.join(holders)}]"
    return AwsError("ImageReferencedByManifestList", message, status=409)


def too_many_uploads(most: int) -> AwsError:
    return AwsError("LimitExceededException", f"{most} layer uploads are under way. Try again when some have ended.")
