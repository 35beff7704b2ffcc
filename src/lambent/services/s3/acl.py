"""Access control lists: what is left of them since buckets own their objects by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.services.s3 import names
from lambent.services.s3.records import Bucket
from lambent.wire.errors import AwsError
from lambent.wire.operations import Parameters

ENFORCED = "BucketOwnerEnforced"
_GRANTS = {
    "GrantFullControl": "FULL_CONTROL",
    "GrantRead": "READ",
    "GrantReadACP": "READ_ACP",
    "GrantWrite": "WRITE",
    "GrantWriteACP": "WRITE_ACP",
}
_ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
_AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
_LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
_CANNED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "private": (),
    "bucket-owner-full-control": (),
    "bucket-owner-read": (),
    "aws-exec-read": (),
    "public-read": ((_ALL_USERS, "READ"),),
    "public-read-write": ((_ALL_USERS, "READ"), (_ALL_USERS, "WRITE")),
    "authenticated-read": ((_AUTHENTICATED, "READ"),),
    "log-delivery-write": ((_LOG_DELIVERY, "WRITE"), (_LOG_DELIVERY, "READ_ACP")),
}
_OWNERS_OWN = ("private", "bucket-owner-full-control")  # what changes nothing where the bucket owns its objects

Grants = list[dict[str, Any]]


def is_enforced(bucket: Bucket) -> bool:
    """Whether access control lists are off, as they are unless the bucket says otherwise."""
    rules = bucket.configurations.get("ownership", {"Rules": [{"ObjectOwnership": ENFORCED}]}).get("Rules", ())
    return any(rule.get("ObjectOwnership") == ENFORCED for rule in rules)


def of_request(parameters: Parameters, bucket: Bucket) -> Grants | None:
    """The grants that a request gives; None when it says nothing that is not the owner's own.

    AccessControlListNotSupported where lists are off.
    """
    canned = parameters.get("ACL")
    given = [(name, parameters[name]) for name in _GRANTS if name in parameters]
    policy = parameters.get("AccessControlPolicy", {}).get("Grants")
    if canned is None and not given and policy is None:
        return None
    if is_enforced(bucket):
        if canned in _OWNERS_OWN and not given:
            return None
        if policy is not None and policy == of_owner(bucket.account):
            return None
        message = "The bucket does not allow ACLs"
        raise AwsError("AccessControlListNotSupported", message, status=400)
    if policy is not None:
        return list(policy)
    if canned is not None:
        if canned not in _CANNED:
            raise AwsError("InvalidArgument", "", status=400, ArgumentName="x-amz-acl", ArgumentValue=canned)
        groups = [_grant({"Type": "Group", "URI": uri}, permission) for uri, permission in _CANNED[canned]]
        return [*of_owner(bucket.account), *groups]
    return [_grant(grantee, _GRANTS[name]) for name, text in given for grantee in _grantees(text)]


def of_owner(account: str) -> Grants:
    return [_grant({"ID": names.canonical_user(account), "Type": "CanonicalUser"}, "FULL_CONTROL")]


def shown(grants: Grants | None, account: str) -> dict[str, Any]:
    return {"Owner": {"ID": names.canonical_user(account)}, "Grants": grants or of_owner(account)}


def _grant(grantee: Mapping[str, str], permission: str) -> dict[str, Any]:
    return {"Grantee": dict(grantee), "Permission": permission}


def _grantees(text: str) -> list[dict[str, str]]:
    """From `id="…", uri="…"`."""
    found = []
    for item in text.split(","):
        kind, _, value = item.strip().partition("=")
        value = value.strip().strip('"')
        match kind.strip().lower():
            case "id":
                found.append({"ID": value, "Type": "CanonicalUser"})
            case "uri":
                found.append({"URI": value, "Type": "Group"})
            case "emailaddress":
                found.append({"EmailAddress": value, "Type": "AmazonCustomerByEmail"})
            case _:
                raise AwsError("InvalidArgument", "Argument format not recognized", status=400)
    return found
