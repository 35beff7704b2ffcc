"""AWS::IAM::…"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lambent.embedded.stacks.fitting import Unfit
from lambent.embedded.stacks.resource import Resource, tags

_POLICIES = ("Policies", "ManagedPolicyArns", "Tags")


class Role(Resource):
    TYPE, SERVICE, NAME = "AWS::IAM::Role", "iam", "RoleName"
    FIXED = frozenset({"Path"})

    def create(self, name: str) -> None:
        name = name[:64]
        further = {"Tags": self.properties["Tags"]} if self.properties.get("Tags") else {}
        made = self.call("CreateRole", *_POLICIES, RoleName=name, **further)["Role"]
        self.id = name
        self.attributes = {"Arn": made["Arn"], "RoleId": made["RoleId"]}
        try:
            self._policies({})
        except BaseException:
            self.remove()
            raise

    def update(self, before: Mapping[str, Any]) -> None:
        fixed = (*_POLICIES, "AssumeRolePolicyDocument", "Path", "PermissionsBoundary")
        self.call("UpdateRole", *fixed, RoleName=self.id)
        if self.changed(before, "AssumeRolePolicyDocument"):
            document = _text(self.properties["AssumeRolePolicyDocument"])
            self.ask("UpdateAssumeRolePolicy", RoleName=self.id, PolicyDocument=document)
        self._policies(before)
        if tags(before) != tags(self.properties):
            if gone := [key for key in tags(before) if key not in tags(self.properties)]:
                self.ask("UntagRole", RoleName=self.id, TagKeys=gone)
            if self.properties.get("Tags"):
                self.ask("TagRole", RoleName=self.id, Tags=self.properties["Tags"])

    def _policies(self, before: Mapping[str, Any]) -> None:
        _attach(self, before.get("ManagedPolicyArns"), self.properties.get("ManagedPolicyArns"), self.id)
        inline = {policy["PolicyName"]: policy["PolicyDocument"] for policy in self.properties.get("Policies") or []}
        for name, document in inline.items():
            self.ask("PutRolePolicy", RoleName=self.id, PolicyName=name, PolicyDocument=_text(document))
        for policy in before.get("Policies") or []:
            if policy["PolicyName"] not in inline:
                self.drop("DeleteRolePolicy", RoleName=self.id, PolicyName=policy["PolicyName"])

    def remove(self) -> None:
        """With the policies that only it has, as CloudFormation does."""
        for arn in self.properties.get("ManagedPolicyArns") or []:
            self.drop("DetachRolePolicy", RoleName=self.id, PolicyArn=arn)
        for policy in self.properties.get("Policies") or []:
            self.drop("DeleteRolePolicy", RoleName=self.id, PolicyName=policy["PolicyName"])
        self.drop("DeleteRole", RoleName=self.id)


def _attach(resource: Resource, before: Iterable[str] | None, after: Iterable[str] | None, role: str) -> None:
    old, new = set(before or ()), set(after or ())
    for arn in sorted(new - old):
        resource.ask("AttachRolePolicy", RoleName=role, PolicyArn=arn)
    for arn in sorted(old - new):
        resource.drop("DetachRolePolicy", RoleName=role, PolicyArn=arn)


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)


_HOLDERS = (("Roles", "Role", "RoleName"), ("Users", "User", "UserName"), ("Groups", "Group", "GroupName"))


class Policy(Resource):
    """An inline policy of roles, users and groups."""

    TYPE, SERVICE = "AWS::IAM::Policy", "iam"
    FIXED = frozenset({"PolicyName"})

    def create(self, name: str) -> None:
        self.id = self.properties["PolicyName"]
        if not any(self.properties.get(holders) for holders, _kind, _name in _HOLDERS):
            raise Unfit("one of the properties Roles, Users and Groups is needed")
        self.update({})

    def update(self, before: Mapping[str, Any]) -> None:
        document = _text(self.properties["PolicyDocument"])
        for holders, kind, name in _HOLDERS:
            for holder in self.properties.get(holders) or []:
                self.ask(f"Put{kind}Policy", **{name: holder}, PolicyName=self.id, PolicyDocument=document)
            for holder in set(before.get(holders) or []) - set(self.properties.get(holders) or []):
                self.drop(f"Delete{kind}Policy", **{name: holder}, PolicyName=self.id)

    def remove(self) -> None:
        for holders, kind, name in _HOLDERS:
            for holder in self.properties.get(holders) or []:
                self.drop(f"Delete{kind}Policy", **{name: holder}, PolicyName=self.id)


class ManagedPolicy(Resource):
    TYPE, SERVICE, NAME = "AWS::IAM::ManagedPolicy", "iam", "ManagedPolicyName"
    FIXED = frozenset({"Path", "Description"})

    def create(self, name: str) -> None:
        own = {key: self.properties[key] for key in ("Path", "Description") if key in self.properties}
        document = _text(self.properties["PolicyDocument"])
        made = self.ask("CreatePolicy", PolicyName=name, PolicyDocument=document, **own)["Policy"]
        self.id = made["Arn"]
        self.attributes = {"PolicyArn": made["Arn"], "PolicyId": made["PolicyId"]}
        self._hold({})

    def update(self, before: Mapping[str, Any]) -> None:
        if self.changed(before, "PolicyDocument"):
            versions = self.ask("ListPolicyVersions", PolicyArn=self.id)["Versions"]
            document = _text(self.properties["PolicyDocument"])
            self.ask("CreatePolicyVersion", PolicyArn=self.id, PolicyDocument=document, SetAsDefault=True)
            for version in versions:
                self.drop("DeletePolicyVersion", PolicyArn=self.id, VersionId=version["VersionId"])
        self._hold(before)

    def _hold(self, before: Mapping[str, Any]) -> None:
        for holders, kind, name in _HOLDERS:
            old, new = set(before.get(holders) or []), set(self.properties.get(holders) or [])
            for holder in sorted(new - old):
                self.ask(f"Attach{kind}Policy", **{name: holder}, PolicyArn=self.id)
            for holder in sorted(old - new):
                self.drop(f"Detach{kind}Policy", **{name: holder}, PolicyArn=self.id)

    def remove(self) -> None:
        for holders, kind, name in _HOLDERS:
            for holder in self.properties.get(holders) or []:
                self.drop(f"Detach{kind}Policy", **{name: holder}, PolicyArn=self.id)
        self.drop("DeletePolicy", PolicyArn=self.id)


class InstanceProfile(Resource):
    TYPE, SERVICE, NAME = "AWS::IAM::InstanceProfile", "iam", "InstanceProfileName"
    FIXED = frozenset({"Path", "Roles"})

    def create(self, name: str) -> None:
        made = self.call("CreateInstanceProfile", "Roles", InstanceProfileName=name)["InstanceProfile"]
        self.id = name
        self.attributes = {"Arn": made["Arn"]}
        for role in self.properties.get("Roles") or []:
            self.ask("AddRoleToInstanceProfile", InstanceProfileName=name, RoleName=role)

    def remove(self) -> None:
        for role in self.properties.get("Roles") or []:
            self.drop("RemoveRoleFromInstanceProfile", InstanceProfileName=self.id, RoleName=role)
        self.drop("DeleteInstanceProfile", InstanceProfileName=self.id)


KINDS = (Role, Policy, ManagedPolicy, InstanceProfile)
