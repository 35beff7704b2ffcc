"""Every language behind the same fences: with root, and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import programs
from security.test_without_root import AS_NOBODY, nobodys
from support import RUNTIMES, Server, deploy, invoke, needs, zip_executables, zip_files

NODE = """
import fs from "node:fs";
import net from "node:net";
import { execFileSync } from "node:child_process";
const tried = (action) => { try { return String(action()) } catch (error) { return error.code ?? String(error) } };
const connects = (port) => new Promise((done) => {
  net.connect(port, "127.0.0.1").on("connect", () => done("yes")).on("error", (error) => done(error.code));
});
export const handler = async (event) => ({
  status: Object.fromEntries(fs.readFileSync("/proc/self/status", "utf8").split("\\n").map((line) => line.split(":\\t"))),
  outside: tried(() => fs.readFileSync(event.secret)),
  code: tried(() => fs.writeFileSync("/var/task/planted", "x")),
  runtime: tried(() => fs.writeFileSync("/var/runtime/planted", "x")),
  trees: tried(() => fs.readdirSync("/.trees").length),
  hidden: tried(() => fs.readdirSync("/.lambent/python").length + fs.readdirSync("/.lambent/guest").length),
  init: tried(() => process.kill(1, 9)),
  server: await connects(event.port),
  mount: tried(() => execFileSync("/bin/mount", ["-t", "tmpfs", "x", "/tmp"], { stdio: "pipe" })).slice(0, 5),
  processes: fs.readdirSync("/proc").filter((name) => Number(name)).length,
  tmp: tried(() => fs.writeFileSync("/tmp/mine", "x")),
});
"""


def check(server: Server, secret: Path) -> None:
    client = server.client()
    deploy(client, "node", "nodejs22.x", zip_files({"index.mjs": NODE}), MemorySize=256, Timeout=20)
    port = int(server.endpoint.rpartition(":")[2])
    found, response = invoke(client, "node", {"secret": str(secret), "port": port})
    assert "FunctionError" not in response, found
    status = found.pop("status")
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0
    assert "0" not in status["Uid"].split("\t")
    assert found.pop("processes") <= 3
    assert found == {
        "outside": "ENOENT",
        "code": "EROFS",
        "runtime": "EROFS",
        "trees": found["trees"],
        "hidden": "0",
        "init": found["init"],
        "server": "ECONNREFUSED",
        "mount": "Error",
        "tmp": "undefined",
    }
    assert found["init"] in ("EPERM", "true")  # without root it is allowed and the kernel takes no notice
    assert invoke(client, "node", {"secret": str(secret), "port": port})[0]["tmp"] == "undefined"
    assert found["trees"] in ("0", "EACCES", "ENOENT")


def test_node_with_root(server: Server, tmp_path: Path) -> None:
    needs("nodejs22.x")
    (tmp_path / "secret").write_text("secret")
    check(server, tmp_path / "secret")


def others() -> dict[str, tuple[str, bytes, dict[str, Any]]]:
    """Function name → runtime, package, settings."""
    classes = programs.java()
    java = zip_files({name: content for name, content in classes.items() if "/" not in name})
    return {
        "java": ("java21", java, {"Handler": "Told", "MemorySize": 512, "Timeout": 30}),
        "go": ("provided.al2023", zip_executables({"bootstrap": programs.go()}), {"Timeout": 20}),
    }


def test_languages_without_root(tmp_path: Path) -> None:
    needs("nodejs22.x", "java21")
    data = nobodys(tmp_path)
    (tmp_path / "secret").write_text("secret")
    server = Server(data, "--runtimes-dir", str(RUNTIMES), prefix=AS_NOBODY)
    try:
        check(server, tmp_path / "secret")
        client = server.client()
        for name, (runtime, package, settings) in others().items():
            deploy(client, name, runtime, package, **settings)
            answer, response = invoke(client, name, {"do": "count", "text": "x"})
            assert "FunctionError" not in response, (name, json.dumps(answer))
        code = "exports.handler = async () => { const all = []; for (;;) all.push(Buffer.alloc(8 << 20, 1)); };"
        deploy(client, "greedy", "nodejs22.x", zip_files({"index.js": code}), Timeout=30)
        answer, response = invoke(client, "greedy")
        assert response["FunctionError"] == "Unhandled"
        assert "timed out" not in answer["errorMessage"]
    finally:
        server.stop()
