"""The AWS SDKs as layers, made of what the tests have installed: runtimes do not bring them."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

import botocore

_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")
_LEFT_OUT = {"__pycache__", "examples"}


@cache
def boto3_layer(*services: str) -> bytes:
    """A zip with boto3 and the models of `services` ("sts", "kms")."""
    site = Path(botocore.__file__).parent.parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for package in _PACKAGES:
            root = site / package
            for path in [root] if root.is_file() else sorted(root.rglob("*")):
                place = path.relative_to(site)
                model = place.parts[:2] == ("botocore", "data") and len(place.parts) > 3
                if path.is_file() and not _LEFT_OUT & set(place.parts) and (not model or place.parts[2] in services):
                    archive.write(path, f"python/{place}")
    return buffer.getvalue()
