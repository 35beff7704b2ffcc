"""Buckets: their names, regions, owners and settings."""

from __future__ import annotations

import json

import pytest

from unit.services.s3.lab import ACCOUNT, S3Lab

OTHER = "222222222222"


@pytest.mark.parametrize("name", ["abc", "a.b-c", "0" * 63, "my.bucket.1"])
async def test_names_that_buckets_have(s3: S3Lab, name: str) -> None:
    await s3.bucket(name)
    assert [one["Name"] for one in (await s3.call("ListBuckets"))["Buckets"]] == [name]


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "Upper",
        "under_score",
        "-dash",
        "dash-",
        "a..b",
        "a.-b",
        "a-.b",
        "192.168.1.1",
        "xn--b",
        "b-s3alias",
    ],
)
async def test_names_that_no_bucket_has(s3: S3Lab, name: str) -> None:
    assert (await s3.refusal("CreateBucket", Bucket=name)).code == "InvalidBucketName"


@pytest.mark.parametrize(
    ("endpoint", "constraint", "result"),
    [
        ("us-east-1", None, "us-east-1"),
        ("us-east-1", "eu-west-1", "eu-west-1"),
        ("us-east-1", "EU", "eu-west-1"),
        ("eu-west-1", "eu-west-1", "eu-west-1"),
        ("us-east-1", "us-east-1", "InvalidLocationConstraint"),
        ("us-east-1", "nowhere", "InvalidLocationConstraint"),
        ("eu-west-1", None, "IllegalLocationConstraintException"),
        ("eu-west-1", "eu-west-2", "IllegalLocationConstraintException"),
    ],
)
async def test_where_a_bucket_comes_to_lie(s3: S3Lab, endpoint: str, constraint: str | None, result: str) -> None:
    more = {} if constraint is None else {"CreateBucketConfiguration": {"LocationConstraint": constraint}}
    if result.endswith(("Constraint", "Exception")):
        assert (await s3.refusal("CreateBucket", Bucket="bucket", region=endpoint, **more)).code == result
        return
    await s3.bucket(region=endpoint, **more)
    assert (await s3.call("HeadBucket", Bucket="bucket", region=result))["BucketRegion"] == result
    location = await s3.call("GetBucketLocation", Bucket="bucket", region=result)
    assert location.get("LocationConstraint", "us-east-1") == result


async def test_a_name_is_taken_once(s3: S3Lab) -> None:
    await s3.bucket("mine")
    await s3.bucket("mine")  # in us-east-1 that succeeds
    assert (await s3.refusal("CreateBucket", Bucket="mine", account=OTHER)).code == "BucketAlreadyExists"
    there = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}, "region": "eu-west-1"}
    await s3.bucket("yours", **there)
    assert (await s3.refusal("CreateBucket", Bucket="yours", **there)).code == "BucketAlreadyOwnedByYou"


async def test_only_an_empty_bucket_goes_and_its_name_is_free_again(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("key")
    await s3.call("CreateMultipartUpload", Bucket="bucket", Key="half")
    assert (await s3.refusal("DeleteBucket", Bucket="bucket")).code == "BucketNotEmpty"
    await s3.call("DeleteObject", Bucket="bucket", Key="key")
    await s3.call("DeleteBucket", Bucket="bucket")
    assert (await s3.refusal("HeadBucket", Bucket="bucket")).status == 404
    await s3.bucket(account=OTHER)
    assert await s3.keys() == []


async def test_pages_of_buckets(s3: S3Lab) -> None:
    for number in range(5):
        await s3.bucket(f"bucket-{number}")
    await s3.bucket("theirs", account=OTHER)
    first = await s3.call("ListBuckets", MaxBuckets=2)
    rest = await s3.call("ListBuckets", MaxBuckets=10, ContinuationToken=first["ContinuationToken"])
    names = [one["Name"] for page in (first, rest) for one in page["Buckets"]]
    assert names == [f"bucket-{number}" for number in range(5)]
    assert "ContinuationToken" not in rest
    assert len((await s3.call("ListBuckets", Prefix="bucket-3"))["Buckets"]) == 1
    assert (await s3.call("ListBuckets", BucketRegion="eu-west-1"))["Buckets"] == []


async def test_the_expected_owner(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.call("HeadBucket", Bucket="bucket", ExpectedBucketOwner=ACCOUNT)
    assert (await s3.refusal("HeadBucket", Bucket="bucket", ExpectedBucketOwner=OTHER)).code == "AccessDenied"


CORS = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["http://localhost:3000"]}]}
LIFECYCLE = {"Rules": [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}]}
TAGS = {"TagSet": [{"Key": "team", "Value": "blue"}]}
BLOCKS = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False)
ENCRYPTION = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}]}
OWNERSHIP = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}


@pytest.mark.parametrize(
    ("name", "delete", "member", "value", "wrapped", "missing"),
    [
        ("BucketCors", "BucketCors", "CORSConfiguration", CORS, False, "NoSuchCORSConfiguration"),
        (
            *("BucketLifecycleConfiguration", "BucketLifecycle", "LifecycleConfiguration", LIFECYCLE, False),
            "NoSuchLifecycleConfiguration",
        ),
        ("BucketTagging", "BucketTagging", "Tagging", TAGS, False, "NoSuchTagSet"),
        (
            *("PublicAccessBlock", "PublicAccessBlock", "PublicAccessBlockConfiguration", BLOCKS, True),
            "NoSuchPublicAccessBlockConfiguration",
        ),
        ("BucketEncryption", "BucketEncryption", "ServerSideEncryptionConfiguration", ENCRYPTION, True, None),
        (
            *("BucketOwnershipControls", "BucketOwnershipControls", "OwnershipControls", OWNERSHIP, True),
            "OwnershipControlsNotFoundError",
        ),
    ],
)
async def test_settings_are_kept_over_a_restart(
    s3: S3Lab, name: str, delete: str, member: str, value: object, wrapped: bool, missing: str | None
) -> None:
    await s3.bucket()
    await s3.call(f"Put{name}", Bucket="bucket", **{member: value})
    await s3.restart()
    found = await s3.call(f"Get{name}", Bucket="bucket")
    assert (found[member] if wrapped else found) == value
    await s3.call(f"Delete{delete}", Bucket="bucket")
    if missing is not None:
        assert (await s3.refusal(f"Get{name}", Bucket="bucket")).code == missing


async def test_what_a_new_bucket_has(s3: S3Lab) -> None:
    await s3.bucket()
    blocks = await s3.call("GetPublicAccessBlock", Bucket="bucket")
    assert all(blocks["PublicAccessBlockConfiguration"].values())
    assert (await s3.call("GetBucketVersioning", Bucket="bucket")) == {}
    for operation, code in (
        ("GetBucketPolicy", "NoSuchBucketPolicy"),
        ("GetBucketWebsite", "NoSuchWebsiteConfiguration"),
        ("GetBucketReplication", "ReplicationConfigurationNotFoundError"),
        ("GetObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"),
    ):
        assert (await s3.refusal(operation, Bucket="bucket")).code == code
    assert (await s3.refusal("PutBucketWebsite", Bucket="bucket", WebsiteConfiguration={})).status == 501


@pytest.mark.parametrize(
    "policy", ["", "[]", "{}", '{"Statement": []}', '{"Statement": [{"Effect": "Allow", "Principal": "*"}]}']
)
async def test_a_policy_that_is_none(s3: S3Lab, policy: str) -> None:
    await s3.bucket()
    assert (await s3.refusal("PutBucketPolicy", Bucket="bucket", Policy=policy)).code == "MalformedPolicy"


async def test_a_policy(s3: S3Lab) -> None:
    await s3.bucket()
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await s3.call("PutBucketPolicy", Bucket="bucket", Policy=text)
    assert (await s3.call("GetBucketPolicy", Bucket="bucket"))["Policy"] == text
    assert (await s3.call("GetBucketPolicyStatus", Bucket="bucket"))["PolicyStatus"]["IsPublic"]
    elsewhere = text.replace("bucket/*", "other/*")
    assert (
        await s3.refusal("PutBucketPolicy", Bucket="bucket", Policy=elsewhere)
    ).message == "Policy has invalid resource"


async def test_access_control_lists_are_off_unless_the_bucket_says_otherwise(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("k", ACL="bucket-owner-full-control")
    error = await s3.refusal("PutObject", Bucket="bucket", Key="k", ACL="public-read")
    assert error.code == "AccessControlListNotSupported"
    await s3.call("PutBucketOwnershipControls", Bucket="bucket", OwnershipControls=OWNERSHIP)
    await s3.put("k", ACL="public-read")
    grants = (await s3.call("GetObjectAcl", Bucket="bucket", Key="k"))["Grants"]
    assert [grant["Permission"] for grant in grants] == ["FULL_CONTROL", "READ"]
