"""Container images for tests, made of what is on this machine: no registry and no build tool is needed."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

Fill = Callable[[tarfile.TarFile], None]


def layer(fill: Fill) -> bytes:
    """The tar of one layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        fill(tar)
    return buffer.getvalue()


def files(contents: Mapping[str, str | bytes], mode: int = 0o755) -> bytes:
    def fill(tar: tarfile.TarFile) -> None:
        for name, content in contents.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))

    return layer(fill)


def libraries(paths: Iterable[Path]) -> set[str]:
    """What the dynamic loader would load for programs and extensions."""
    found: set[str] = set()
    for path in paths:
        result = subprocess.run(["ldd", path], capture_output=True, text=True)
        found |= set(re.findall(r"(/\S+\.so\S*)", result.stdout))
    return found


def python() -> bytes:
    """This machine's Python with a shell, and AWS's runtime client in /function."""
    interpreter, standard = Path(sys._base_executable).resolve(), Path(sysconfig.get_path("stdlib"))  # type: ignore[attr-defined]
    site = Path(sysconfig.get_path("purelib"))
    client = [*site.glob("awslambdaric"), *site.glob("awslambdaric.libs"), *site.glob("runtime_client*")]
    client += [*site.glob("simplejson"), *site.glob("snapshot_restore_py")]
    extensions = [*standard.glob("lib-dynload/*.so"), *site.glob("runtime_client*.so")]

    def fill(tar: tarfile.TarFile) -> None:
        for name in sorted({"/bin/sh", str(interpreter), *libraries([Path("/bin/sh"), interpreter, *extensions])}):
            tar.add(os.path.realpath(name), arcname=name.lstrip("/"))
        info = tarfile.TarInfo("usr/bin/python")
        info.type, info.linkname = tarfile.SYMTYPE, str(interpreter)
        tar.addfile(info)
        tar.add(standard, arcname=str(standard).lstrip("/"), filter=_lean)
        for path in client:
            tar.add(path, arcname=f"function/{path.name}", filter=_lean)

    return layer(fill)


def _lean(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    unwanted = ("/test", "/idlelib", "/ensurepip", "/config-", "/site-packages", "/dist-packages")
    return None if any(part in info.name for part in unwanted) else info


@functools.lru_cache(maxsize=4)
def _compressed(tar: bytes) -> bytes:
    """A base is compressed once, however many images have it."""
    return gzip.compress(tar, 1, mtime=0)


def layout(directory: Path, layers: Iterable[bytes], architecture: str = "amd64", **config: Any) -> str:
    """An OCI layout with one image, tagged latest; the digest of its manifest. `config`: Entrypoint, Cmd, Env, …"""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    tars = list(layers)
    parts = [put(_compressed(tar), LAYER) for tar in tars]
    settings = {"architecture": architecture, "os": "linux", "config": config}
    contents = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]
    described = put(json.dumps(settings | {"rootfs": {"type": "layers", "diff_ids": contents}}).encode(), CONFIG)
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": parts}
    manifest = put(json.dumps(body).encode(), MANIFEST)
    named = manifest | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(manifest["digest"])
