"""What IAM's operations need permission for.

Source: service authorization reference, "Actions, resources, and condition keys for AWS Identity and Access
Management". An identity's ARN holds its path, which a request does not tell: what guards it completes the ARN.
"""

from __future__ import annotations

from lambent.services.iam.records import Kind
from lambent.wire.gate import Keys, Resource, Rule, Rules, key, needs, request_tags, tag_keys
from lambent.wire.operations import Caller, Parameters


def _identity(kind: Kind) -> Resource:
    def resource(caller: Caller, parameters: Parameters) -> str:
        name = parameters.get(f"{kind.capitalize()}Name") or _own(kind, caller)
        path = str(parameters.get("Path") or "/")
        return f"arn:aws:iam::{caller.account}:{kind}{path}{name}"

    return resource


def _own(kind: Kind, caller: Caller) -> str:
    """GetUser and the operations on access keys are on the caller when they name nobody."""
    return caller.user if kind is Kind.USER and caller.user else "*"


def _policy(_caller: Caller, parameters: Parameters) -> str:
    return str(parameters["PolicyArn"])


def _new_policy(caller: Caller, parameters: Parameters) -> str:
    return f"arn:aws:iam::{caller.account}:policy{parameters.get('Path') or '/'}{parameters['PolicyName']}"


def _source(_caller: Caller, parameters: Parameters) -> str:
    return str(parameters["PolicySourceArn"])


_BOUNDARY = key("iam:permissionsboundary", "PermissionsBoundary")
_ATTACHED = key("iam:policyarn", "PolicyArn")
_TAGS = request_tags()

_KEYS: dict[str, tuple[Keys, ...]] = {
    "Attach{}Policy": (_ATTACHED,),
    "Create{}": (_BOUNDARY, _TAGS),
    "Detach{}Policy": (_ATTACHED,),
    "Put{}PermissionsBoundary": (_BOUNDARY,),
    "Tag{}": (_TAGS,),
    "Untag{}": (tag_keys(),),
}
_OF_ALL = (
    "Attach{}Policy",
    "Create{}",
    "Delete{}",
    "Delete{}Policy",
    "Detach{}Policy",
    "Get{}",
    "Get{}Policy",
    "List{}Policies",
    "ListAttached{}Policies",
    "Put{}Policy",
    "Update{}",
)
_OF_ROLES_AND_USERS = (
    "Delete{}PermissionsBoundary",
    "List{}Tags",
    "Put{}PermissionsBoundary",
    "Tag{}",
    "Untag{}",
)
_OF_ROLES = ("ListInstanceProfilesForRole", "UpdateAssumeRolePolicy", "UpdateRoleDescription")
_OF_USERS = ("CreateAccessKey", "DeleteAccessKey", "ListAccessKeys", "ListGroupsForUser", "UpdateAccessKey")
_OF_GROUPS = ("AddUserToGroup", "RemoveUserFromGroup")
_OF_POLICIES = (
    "CreatePolicyVersion",
    "DeletePolicy",
    "DeletePolicyVersion",
    "GetPolicy",
    "GetPolicyVersion",
    "ListEntitiesForPolicy",
    "ListPolicyTags",
    "ListPolicyVersions",
    "SetDefaultPolicyVersion",
)
_OF_NOTHING = (
    "GetAccessKeyLastUsed",
    "GetContextKeysForCustomPolicy",
    "ListGroups",
    "ListPolicies",
    "ListRoles",
    "ListUsers",
    "SimulateCustomPolicy",
)


def _on(kind: Kind) -> dict[str, Rule]:
    templates = (*_OF_ALL, *(_OF_ROLES_AND_USERS if kind is not Kind.GROUP else ()))
    names = {template.format(kind.capitalize()): _KEYS.get(template, ()) for template in templates}
    return {name: needs(f"iam:{name}", _identity(kind), *keys) for name, keys in names.items()}


RULES: Rules = {
    **_on(Kind.ROLE),
    **_on(Kind.USER),
    **_on(Kind.GROUP),
    **{name: needs(f"iam:{name}", _identity(Kind.ROLE)) for name in _OF_ROLES},
    **{name: needs(f"iam:{name}", _identity(Kind.USER)) for name in _OF_USERS},
    **{name: needs(f"iam:{name}", _identity(Kind.GROUP)) for name in _OF_GROUPS},
    **{name: needs(f"iam:{name}", _policy) for name in _OF_POLICIES},
    **{name: needs(f"iam:{name}") for name in _OF_NOTHING},
    "CreatePolicy": needs("iam:CreatePolicy", _new_policy, _TAGS),
    "GetContextKeysForPrincipalPolicy": needs("iam:GetContextKeysForPrincipalPolicy", _source),
    "SimulatePrincipalPolicy": needs("iam:SimulatePrincipalPolicy", _source),
    "TagPolicy": needs("iam:TagPolicy", _policy, _TAGS),
    "UntagPolicy": needs("iam:UntagPolicy", _policy, tag_keys()),
}
