"""`lambent image`: container images in Lambent's registry, for machines without a container engine."""

from __future__ import annotations

import argparse
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lambent.cli import terminal
from lambent.cli.archives import NoImage, opened
from lambent.cli.client import Client
from lambent.cli.options import Subparsers, add_client, add_command, client_of
from lambent.cli.registry import Registry

_EXAMPLES = """
lambent image push ./image app:v1             an OCI layout, as buildah and skopeo write it
lambent image push saved.tar app:v1           what `docker save` has written
lambent image ls
lambent image inspect app:v1 --json | jq .config
"""
_MIB = 1 << 20


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "image", "push, list and look at container images", _EXAMPLES)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    push = actions.add_parser("push", help="push an OCI layout or a docker archive; makes the repository")
    push.add_argument("path", type=Path, help="directory or tar file")
    push.add_argument("image", help="REPOSITORY[:TAG]; the tag is latest unless it is given")
    listed = actions.add_parser("ls", help="list repositories and their images")
    listed.add_argument("repository", nargs="?", help="only this one")
    inspect = actions.add_parser("inspect", help="show an image's configuration and layers")
    inspect.add_argument("image", help="REPOSITORY[:TAG]")
    for action in (listed, inspect):
        action.add_argument("--json", action="store_true", help="print JSON")
    for action in (push, listed, inspect):
        add_client(action)


def run(arguments: argparse.Namespace) -> int:
    registry = Registry(Client(client_of(arguments)))
    if arguments.action == "push":
        return _push(registry, arguments.path, *_named(arguments.image))
    if arguments.action == "ls":
        return _list(registry, arguments.repository, as_json=arguments.json)
    return _inspect(registry, *_named(arguments.image), as_json=arguments.json)


def _named(image: str) -> tuple[str, str]:
    repository, colon, tag = image.partition(":")
    return repository, tag if colon else "latest"


def _push(registry: Registry, path: Path, repository: str, tag: str) -> int:
    try:
        with opened(path) as (files, source):
            if registry.ensure(repository):
                print(f"made the repository {repository}")
            for number, blob in enumerate(source.blobs, 1):
                label = f"{number}/{len(source.blobs)}  {blob.digest[7:19]}  {_size(blob.size)}"
                if registry.has(repository, blob.digest):
                    print(f"{label}  is there already")
                    continue
                with files.open(blob.file) as file:
                    registry.upload(repository, blob.digest, file, blob.size)
                print(f"{label}  pushed")
            digest = ""
            for number, (media_type, content) in enumerate(source.manifests, 1):
                last = number == len(source.manifests)
                digest = registry.put_manifest(repository, tag if last else _digest(content), media_type, content)
    except NoImage as error:
        terminal.complain(str(error))
        return 1
    print(f"{repository}:{tag} is {digest}")
    return 0


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _list(registry: Registry, repository: str | None, *, as_json: bool) -> int:
    wanted = {"repositoryNames": [repository]} if repository else {}
    rows: list[dict[str, Any]] = []
    for found in _all(registry, "DescribeRepositories", "repositories", **wanted):
        name = found["repositoryName"]
        images = _all(registry, "DescribeImages", "imageDetails", repositoryName=name)
        rows += [{"repository": name, **image} for image in images or ({},)]
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    print("\n".join(map(_row, rows)) if rows else "no repositories. lambent image push makes one")
    return 0


def _all(registry: Registry, operation: str, member: str, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = registry.call(operation, **parameters)
        found += page[member]
        if "nextToken" not in page:
            return found
        parameters["nextToken"] = page["nextToken"]


def _row(row: dict[str, Any]) -> str:
    if "imageDigest" not in row:
        return f"{row['repository']:<30} {terminal.paint('empty', 'dim')}"
    tags = ",".join(row.get("imageTags", ())) or "-"
    pushed = datetime.fromtimestamp(row["imagePushedAt"], UTC).strftime("%Y-%m-%d %H:%M")
    return (
        f"{row['repository']:<30} {tags:<20} {row['imageDigest'][7:19]}  {_size(row['imageSizeInBytes']):>9}  {pushed}"
    )


def _inspect(registry: Registry, repository: str, tag: str, *, as_json: bool) -> int:
    answer = registry.call("BatchGetImage", repositoryName=repository, imageIds=[{"imageTag": tag}])
    if not answer["images"]:
        terminal.complain(f"there is no image {repository}:{tag}. lambent image ls lists those that are there")
        return 1
    image = answer["images"][0]
    manifest = json.loads(image["imageManifest"])
    config = json.loads(registry.blob(repository, manifest["config"]["digest"])) if "config" in manifest else None
    found = {"digest": image["imageId"]["imageDigest"], "manifest": manifest, "config": config}
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"{repository}:{tag}  {found['digest']}")
    if config is None:
        for child in manifest["manifests"]:
            platform = child.get("platform", {})
            print(f"  {platform.get('os', '?')}/{platform.get('architecture', '?')}  {child['digest']}")
        return 0
    settings = config.get("config") or {}
    print(f"  platform     {config.get('os')}/{config.get('architecture')}")
    for label, key in (
        ("entry point", "Entrypoint"),
        ("command", "Cmd"),
        ("directory", "WorkingDir"),
        ("user", "User"),
    ):
        value = settings.get(key)
        print(f"  {label:<12} {' '.join(value) if isinstance(value, list) else value or '-'}")
    for entry in settings.get("Env") or ():
        print(f"  {'variable':<12} {entry}")
    for layer in manifest["layers"]:
        print(f"  {'layer':<12} {layer['digest'][7:19]}  {_size(layer['size'])}")
    return 0


def _size(count: int) -> str:
    return f"{count / _MIB:.1f} MiB" if count >= _MIB else f"{count / 1024:.1f} KiB"
