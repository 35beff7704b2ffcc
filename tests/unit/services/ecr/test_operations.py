"""ECR's operations: repositories, images, layers."""

import json
import re
from pathlib import Path

import botocore.session
import pytest

from lambent.wire.errors import AwsError

from .lab import ACCOUNT, digest_of, index, manifest


async def refusal(awaitable):
    with pytest.raises(AwsError) as caught:
        await awaitable
    return caught.value


async def test_a_repository(lab):
    made = await lab.call("CreateRepository", repositoryName="team/app", tags=[{"Key": "a", "Value": "b"}])
    shape = made["repository"]
    assert shape["repositoryArn"] == f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/team/app"
    assert (shape["registryId"], shape["repositoryUri"]) == (ACCOUNT, "127.0.0.1:4566/team/app")
    assert shape["imageTagMutability"] == "MUTABLE"
    assert (await lab.call("DescribeRepositories"))["repositories"] == [shape]
    tags = await lab.call("ListTagsForResource", resourceArn=shape["repositoryArn"])
    assert tags == {"tags": [{"Key": "a", "Value": "b"}]}


async def test_names_are_taken_once_per_account_and_region(lab):
    await lab.repository()
    error = await refusal(lab.repository())
    assert error.code == "RepositoryAlreadyExistsException"
    assert error.message == f"The repository with name 'app' already exists in the registry with id '{ACCOUNT}'"
    await lab.call("CreateRepository", repositoryName="app", region="eu-west-1")
    await lab.call("CreateRepository", repositoryName="app", account="222222222222")


async def test_what_is_not_there(lab):
    error = await refusal(lab.call("DescribeRepositories", repositoryNames=["none"]))
    assert error.code == "RepositoryNotFoundException"
    await lab.repository()
    for operation, code in [
        ("GetRepositoryPolicy", "RepositoryPolicyNotFoundException"),
        ("DeleteRepositoryPolicy", "RepositoryPolicyNotFoundException"),
        ("GetLifecyclePolicy", "LifecyclePolicyNotFoundException"),
        ("DeleteLifecyclePolicy", "LifecyclePolicyNotFoundException"),
    ]:
        assert (await refusal(lab.call(operation, repositoryName="app"))).code == code
    error = await refusal(lab.call("DescribeImages", repositoryName="app", imageIds=[{"imageTag": "x"}]))
    assert error.code == "ImageNotFoundException"


async def test_pages_of_repositories(lab):
    for number in range(5):
        await lab.repository(f"app{number}")
    first = await lab.call("DescribeRepositories", maxResults=2)
    await lab.repository("app00")
    rest = await lab.call("DescribeRepositories", nextToken=first["nextToken"])
    names = [shape["repositoryName"] for page in (first, rest) for shape in page["repositories"]]
    assert names == ["app0", "app1", "app2", "app3", "app4"] or names == ["app0", "app00", *names[2:]]
    assert "nextToken" not in rest
    assert (await refusal(lab.call("DescribeRepositories", nextToken="!"))).code == "InvalidParameterException"


async def test_an_image(lab):
    await lab.repository()
    digest = await lab.push()
    (detail,) = (await lab.call("DescribeImages", repositoryName="app"))["imageDetails"]
    assert (detail["imageDigest"], detail["imageTags"], detail["imageSizeInBytes"]) == (digest, ["v1"], 2 + 5)
    listed = await lab.call("ListImages", repositoryName="app")
    assert listed["imageIds"] == [{"imageDigest": digest, "imageTag": "v1"}]
    got = await lab.call("BatchGetImage", repositoryName="app", imageIds=[{"imageTag": "v1"}, {"imageTag": "v2"}])
    assert [image["imageManifest"] for image in got["images"]] == [manifest()]
    assert got["failures"][0]["failureCode"] == "ImageNotFound"


async def test_an_image_needs_its_parts(lab):
    await lab.repository()
    error = await refusal(lab.call("PutImage", repositoryName="app", imageManifest=manifest(), imageTag="v1"))
    assert error.code == "LayersNotFoundException"
    assert digest_of(b"layer") in error.message
    error = await refusal(lab.call("PutImage", repositoryName="app", imageManifest=index(manifest()), imageTag="v1"))
    assert error.code == "ReferencedImagesNotFoundException"
    assert (await lab.call("ListImages", repositoryName="app"))["imageIds"] == []


async def test_the_same_again(lab):
    await lab.repository()
    digest = await lab.push()
    error = await refusal(lab.call("PutImage", repositoryName="app", imageManifest=manifest(), imageTag="v1"))
    assert error.code == "ImageAlreadyExistsException"
    await lab.call("PutImage", repositoryName="app", imageManifest=manifest(), imageTag="v2")
    (detail,) = (await lab.call("DescribeImages", repositoryName="app"))["imageDetails"]
    assert (detail["imageDigest"], detail["imageTags"]) == (digest, ["v1", "v2"])


async def test_a_tag_moves(lab):
    await lab.repository()
    old = await lab.push()
    new = await lab.push(layers=(b"other",))
    details = (await lab.call("DescribeImages", repositoryName="app"))["imageDetails"]
    assert {detail["imageDigest"]: detail.get("imageTags") for detail in details} == {old: None, new: ["v1"]}
    untagged = await lab.call("ListImages", repositoryName="app", filter={"tagStatus": "UNTAGGED"})
    assert untagged["imageIds"] == [{"imageDigest": old}]


async def test_an_immutable_tag_does_not(lab):
    await lab.repository(imageTagMutability="IMMUTABLE")
    await lab.push()
    error = await refusal(lab.push(layers=(b"other",)))
    assert error.code == "ImageTagAlreadyExistsException"
    filters = [{"filterType": "WILDCARD", "filter": "v*"}]
    await lab.call(
        "PutImageTagMutability",
        repositoryName="app",
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=filters,
    )
    await lab.push(layers=(b"other",))


async def test_the_size_of_an_index_is_that_of_its_largest_image(lab):
    await lab.repository()
    await lab.push(None, layers=(b"small",))
    await lab.push(None, layers=(b"much larger",))
    text = index(manifest(layers=(b"small",)), manifest(layers=(b"much larger",)))
    await lab.call("PutImage", repositoryName="app", imageManifest=text, imageTag="all")
    (detail,) = (await lab.call("DescribeImages", repositoryName="app", imageIds=[{"imageTag": "all"}]))["imageDetails"]
    assert detail["imageSizeInBytes"] == 2 + 11


async def delete(lab, **image_id):
    return await lab.call("BatchDeleteImage", repositoryName="app", imageIds=[image_id])


async def test_the_last_tag_takes_the_image_along(lab):
    await lab.repository()
    digest = await lab.push()
    await lab.call("PutImage", repositoryName="app", imageManifest=manifest(), imageTag="v2")
    assert (await delete(lab, imageTag="v1"))["imageIds"] == [{"imageDigest": digest, "imageTag": "v1"}]
    assert len((await lab.call("DescribeImages", repositoryName="app"))["imageDetails"]) == 1
    await delete(lab, imageTag="v2")
    assert (await lab.call("DescribeImages", repositoryName="app"))["imageDetails"] == []
    assert (await delete(lab, imageTag="v2"))["failures"][0]["failureCode"] == "ImageNotFound"


async def test_an_image_of_an_index_stays(lab):
    await lab.repository()
    digest = await lab.push(None)
    await lab.call("PutImage", repositoryName="app", imageManifest=index(manifest()), imageTag="all")
    assert (await delete(lab, imageDigest=digest))["failures"][0]["failureCode"] == "ImageReferencedByManifestList"
    await delete(lab, imageTag="all")
    assert (await delete(lab, imageDigest=digest))["failures"] == []


@pytest.mark.parametrize(
    ("image_id", "code"),
    [({}, "MissingDigestAndTag"), ({"imageDigest": "x"}, "InvalidImageDigest"), ({"imageTag": "!"}, "InvalidImageTag")],
)
async def test_bad_ids_are_failures(lab, image_id, code):
    await lab.repository()
    for operation in ("BatchGetImage", "BatchDeleteImage"):
        answer = await lab.call(operation, repositoryName="app", imageIds=[image_id])
        assert answer["failures"][0]["failureCode"] == code


async def test_a_repository_with_images_needs_force(lab):
    await lab.repository()
    await lab.push()
    assert (await refusal(lab.call("DeleteRepository", repositoryName="app"))).code == "RepositoryNotEmptyException"
    await lab.call("DeleteRepository", repositoryName="app", force=True)
    await lab.ecr.clean()
    assert lab.blobs._blobs == {}


async def test_bytes_stay_as_long_as_some_repository_has_them(lab):
    await lab.repository("one")
    await lab.repository("two")
    await lab.push(name="one")
    await lab.push(name="two")
    await lab.call("DeleteRepository", repositoryName="one", force=True)
    await lab.ecr.clean()
    assert len(lab.blobs._blobs) == 2
    await lab.call("BatchDeleteImage", repositoryName="two", imageIds=[{"imageTag": "v1"}])
    await lab.ecr.clean()
    assert lab.blobs._blobs == {}


async def test_a_layer_that_no_image_uses_stays_for_a_day(lab):
    await lab.repository()
    await lab.layer(b"x")
    await lab.ecr.clean()
    assert len(lab.blobs._blobs) == 1
    lab.clock.advance(25 * 3600)
    await lab.ecr.clean()
    assert lab.blobs._blobs == {}


async def test_layers(lab):
    await lab.repository()
    await lab.layer(b"layer")
    there, absent = digest_of(b"layer"), digest_of(b"none")
    answer = await lab.call("BatchCheckLayerAvailability", repositoryName="app", layerDigests=[there, absent, "x"])
    assert [layer["layerAvailability"] for layer in answer["layers"]] == ["AVAILABLE", "UNAVAILABLE"]
    assert answer["failures"][0]["failureCode"] == "InvalidLayerDigest"
    link = await lab.call("GetDownloadUrlForLayer", repositoryName="app", layerDigest=there)
    assert link["downloadUrl"].startswith(f"http://127.0.0.1:4566/v2/app/blobs/{there}?token=")
    error = await refusal(lab.call("GetDownloadUrlForLayer", repositoryName="app", layerDigest=absent))
    assert error.code == "LayersNotFoundException"
    assert (await refusal(lab.layer(b"layer"))).code == "LayerAlreadyExistsException"


async def test_uploads_that_go_wrong(lab):
    await lab.repository()
    upload = (await lab.call("InitiateLayerUpload", repositoryName="app"))["uploadId"]
    part = {"repositoryName": "app", "uploadId": upload, "layerPartBlob": b"abc"}
    error = await refusal(lab.call("UploadLayerPart", partFirstByte=1, partLastByte=3, **part))
    assert (error.code, error.fields["lastValidByteReceived"]) == ("InvalidLayerPartException", -1)
    done = {"repositoryName": "app", "uploadId": upload}
    error = await refusal(lab.call("CompleteLayerUpload", layerDigests=[digest_of(b"abc")], **done))
    assert error.code == "EmptyUploadException"
    await lab.call("UploadLayerPart", partFirstByte=0, partLastByte=2, **part)
    error = await refusal(lab.call("CompleteLayerUpload", layerDigests=[digest_of(b"xyz")], **done))
    assert error.code == "InvalidLayerException"
    error = await refusal(lab.call("UploadLayerPart", partFirstByte=0, partLastByte=2, **part))
    assert error.code == "UploadNotFoundException"


async def test_policies(lab):
    await lab.repository()
    text = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*"}]}
    )
    await lab.call("SetRepositoryPolicy", repositoryName="app", policyText=text)
    assert (await lab.call("GetRepositoryPolicy", repositoryName="app"))["policyText"] == text
    assert (await lab.call("DeleteRepositoryPolicy", repositoryName="app"))["policyText"] == text
    error = await refusal(lab.call("SetRepositoryPolicy", repositoryName="app", policyText="{}"))
    assert error.code == "InvalidParameterException"


async def test_a_lifecycle_policy_is_applied(lab):
    await lab.repository()
    await lab.push("old", layers=(b"old",))
    lab.clock.advance(60)
    await lab.push("new", layers=(b"new",))
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}
    text = json.dumps({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]})
    await lab.call("PutLifecyclePolicy", repositoryName="app", lifecyclePolicyText=text)
    await lab.ecr.clean()
    (detail,) = (await lab.call("DescribeImages", repositoryName="app"))["imageDetails"]
    assert detail["imageTags"] == ["new"]
    assert "lastEvaluatedAt" in await lab.call("GetLifecyclePolicy", repositoryName="app")
    error = await refusal(lab.call("PutLifecyclePolicy", repositoryName="app", lifecyclePolicyText='{"rules": []}'))
    assert error.code == "InvalidParameterException"


async def test_uploads_that_nobody_goes_on_with_are_given_up(lab):
    await lab.repository()
    upload = (await lab.call("InitiateLayerUpload", repositoryName="app"))["uploadId"]
    lab.clock.advance(3601)
    await lab.ecr.clean()
    error = await refusal(
        lab.call("CompleteLayerUpload", repositoryName="app", uploadId=upload, layerDigests=[digest_of(b"")])
    )
    assert error.code == "UploadNotFoundException"


def test_the_documentation_names_every_operation(lab):
    text = (Path(__file__).parents[4] / "docs/registry.md").read_text(encoding="utf-8")
    built, missing = text.partition("## Operations")[2].partition("These answer HTTP 501")[::2]
    names = re.compile(r"\b[A-Z][a-z]+[A-Z]\w+")
    assert sorted(names.findall(built)) == lab.operations.names("ecr")
    every = botocore.session.Session().get_service_model("ecr").operation_names
    missing = missing.partition("\n## ")[0]
    assert sorted(names.findall(missing)) == sorted(set(every) - set(lab.operations.names("ecr")))
