"""Templates: read, fetched from S3, expanded where they are SAM's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from moto.cloudformation.exceptions import ValidationError

from lambent.embedded import native

_SAM = "AWS::Serverless-2016-10-31"
_LOCAL = re.compile(r"(?:[\d.]+|\[[0-9a-f:]+\]|localhost)$")
_VIRTUAL = re.compile(r"(?P<bucket>.+)\.s3[.-]")
_SUBSTITUTION = re.compile(r"\$\{([^!}][^}]*)\}")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with CloudFormation's short forms; dates stay texts."""


_Loader.add_multi_constructor("!", lambda loader, tag, node: _short_form(loader, f"!{tag}", node))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _short_form(loader: Any, tag: str, node: Any) -> Any:
    name = tag[1:]
    key = name if name in ("Ref", "Condition") else f"Fn::{name}"
    if isinstance(node, yaml.ScalarNode):
        value = node.value.split(".", 1) if name == "GetAtt" else node.value
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {key: value}


def load(text: str) -> dict[str, Any]:
    """As written. ValidationError for what is no template."""
    try:
        value = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, Loader=_Loader)  # noqa: S506
    except (ValueError, yaml.YAMLError) as error:
        raise ValidationError(message=f"Template format error: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("Resources"), dict) or not value["Resources"]:
        raise ValidationError(message="Template format error: At least one Resources member must be defined.")
    listed: dict[str, Any] = _with_lists(value)
    return listed


def _with_lists(value: Any) -> Any:
    """`Fn::GetAtt` as a list everywhere: moto knows no other form."""
    if isinstance(value, dict):
        return {
            key: item.split(".", 1) if key == "Fn::GetAtt" and isinstance(item, str) else _with_lists(item)
            for key, item in value.items()
        }
    return [_with_lists(item) for item in value] if isinstance(value, list) else value


def read(text: str) -> dict[str, Any]:
    """Ready for use: SAM's resources expanded. ValidationError."""
    template = load(text)
    transforms = template.get("Transform") or []
    transforms = transforms if isinstance(transforms, list) else [transforms]
    if _SAM in transforms:
        template = _with_lists(_expand(template))
    if unknown := [name for name in transforms if name != _SAM]:
        raise ValidationError(message=f"The transform {unknown[0]} is not built.")
    return template


def _expand(template: dict[str, Any]) -> dict[str, Any]:
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    parameters = {name: each.get("Default", "") for name, each in (template.get("Parameters") or {}).items()}
    parameters |= {"AWS::Region": "us-east-1", "AWS::Partition": "aws"}
    try:
        return dict(Translator(_managed_policies(), Parser()).translate(template, parameters))
    except InvalidDocumentException as error:
        causes = "; ".join(str(cause.message) for cause in error.causes) or error.message
        message = f"Transform {_SAM} failed with: {causes}"
        raise ValidationError(message=message) from None


def _managed_policies() -> dict[str, str]:
    """ARNs by the names of AWS's policies that a SAM template may name."""
    client = native.client("iam", "000000000000", "us-east-1")
    pages = client.get_paginator("list_policies").paginate(Scope="AWS")
    return {policy["PolicyName"]: policy["Arn"] for page in pages for policy in page["Policies"]}


def fetch(url: str, account_id: str, partition: str) -> str:
    """A template from S3, wherever that is: the host's name counts for nothing, as tools hard-code AWS's."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    path = unquote(parts.path).lstrip("/")
    if (virtual := _VIRTUAL.match(host)) and not _LOCAL.match(host):
        bucket, key = virtual["bucket"], path
    else:
        bucket, _, key = path.partition("/")
    version = parse_qs(parts.query).get("versionId")
    further = {"VersionId": version[0]} if version else {}
    client = native.client("s3", account_id, "us-east-1")
    try:
        return str(client.get_object(Bucket=bucket, Key=key, **further)["Body"].read().decode())
    except native.ClientError as error:
        raise ValidationError(message=f"S3 error: {error.response['Error'].get('Message')} ({url})") from None


def references(value: Any) -> set[str]:
    """What a part of a template refers to, `DependsOn` included."""
    found: set[str] = set()
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "Ref" and isinstance(item, str):
                found.add(item)
            elif key == "Fn::GetAtt" and item:
                found.add(item[0] if isinstance(item, list) else str(item).partition(".")[0])
            elif key == "Fn::Sub":
                text = item[0] if isinstance(item, list) else item
                found |= {name.partition(".")[0] for name in _SUBSTITUTION.findall(str(text))}
                found |= references(item[1]) if isinstance(item, list) and len(item) > 1 else set()
            elif key == "DependsOn":
                found |= {item} if isinstance(item, str) else set(item)
            else:
                found |= references(item)
    elif isinstance(value, list):
        for item in value:
            found |= references(item)
    return found


def summary(text: str) -> dict[str, Any]:
    """What ValidateTemplate answers."""
    template = load(text)
    read(text)
    transforms = template.get("Transform") or []
    types = {resource.get("Type", "") for resource in template["Resources"].values()}
    capabilities = ["CAPABILITY_IAM"] if any(kind.startswith("AWS::IAM::") for kind in types) else []
    return {
        "Description": template.get("Description", ""),
        "Parameters": [
            {
                "ParameterKey": name,
                "DefaultValue": str(each["Default"]) if "Default" in each else None,
                "NoEcho": bool(each.get("NoEcho", False)),
                "Description": each.get("Description"),
            }
            for name, each in (template.get("Parameters") or {}).items()
        ],
        "Capabilities": capabilities + (["CAPABILITY_AUTO_EXPAND"] if transforms else []),
        "DeclaredTransforms": transforms if isinstance(transforms, list) else [transforms],
    }
