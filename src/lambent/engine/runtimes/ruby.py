"""The Ruby runtimes: a client of Lambent's own on each Ruby of theirs that this machine has."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from lambent.engine.runtimes.packages import Component
from lambent.engine.runtimes.runtime import LIBRARIES, SEARCH, Missing, Runtime, Start

VERSIONS = ("3.2", "3.3", "3.4", "4.0")
NAMES = tuple(f"ruby{version}" for version in VERSIONS)

_BOOTSTRAP = Path(__file__).parent.parent / "guest" / "ruby" / "bootstrap.rb"
_PROBE = "print RUBY_VERSION"
_MACHINE = (Path("/usr/bin"), Path("/usr/local/bin"))
_VERSIONS = (  # directory, pattern
    (Path("~/.rbenv/versions"), "{}.*/bin/ruby"),
    (Path("/opt"), "ruby*/bin/ruby"),
)


def components(name: str) -> tuple[Component, ...]:
    """No registry that Lambent uses has an interpreter of Ruby."""
    return ()


def find(name: str, directory: Path) -> Runtime | Missing:
    """The runtime called `name` ("ruby3.3"), or why it is not here. Starts an interpreter: blocks.

    `directory` plays no part.
    """
    wanted = name.removeprefix("ruby")
    others = []
    for place in _places(wanted):
        version = _version(place)
        if version is None:
            continue
        if version.startswith(wanted + "."):
            return runtime(name, version, place)
        others.append(f"{place} is {version}")
    reason = f"no Ruby {wanted} was found on this machine"
    return Missing(name, f"{reason} ({', '.join(others)})" if others else reason, None)


def _places(wanted: str) -> Iterator[Path]:
    for directory in _MACHINE:
        for name in (f"ruby{wanted}", "ruby"):
            if (directory / name).exists():
                yield directory / name
    for versions, pattern in _VERSIONS:
        try:
            yield from sorted(versions.expanduser().glob(pattern.format(wanted)), reverse=True)
        except (OSError, RuntimeError):
            continue  # somebody else's, or no home


def _version(ruby: Path) -> str | None:
    try:
        result = subprocess.run([ruby, "-e", _PROBE], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None


def runtime(name: str, version: str, ruby: Path) -> Runtime:
    """The runtime `name` on this interpreter."""
    ruby = ruby.resolve()
    executable = f"/var/lang/bin/{ruby.name}"
    major, minor, patch = re.findall(r"\d+", version)[:3]

    def command(environment: Mapping[str, str]) -> tuple[str, ...]:
        return (executable, "/var/runtime/bootstrap.rb")

    interface = f"{major}.{minor}.0"  # what gems are kept by
    gems = (
        f"/var/task/vendor/bundle/ruby/{interface}",
        f"/opt/ruby/gems/{interface}",
        f"/var/lang/lib/ruby/gems/{interface}",
    )
    return Runtime(
        name,
        version,
        build=f"ruby:{major}.{minor}.v{patch}",
        source=ruby,
        start=Start.STEM,
        command=command,
        binds=((ruby.parent.parent, "/var/lang"), (_BOOTSTRAP, "/var/runtime/bootstrap.rb")),
        variables={
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{name}",
            "GEM_PATH": ":".join(gems),
            "LANG": "en_US.UTF-8",
            "LD_LIBRARY_PATH": f"/var/lang/lib:{LIBRARIES}",
            "PATH": f"/var/lang/bin:{SEARCH}",
            "PWD": "/var/task",
            "RUBYLIB": "/var/task:/var/runtime/lib:/opt/ruby/lib",
            "SHLVL": "0",
            "TZ": ":UTC",
        },
        waiting=(executable, "/var/runtime/bootstrap.rb", "--wait"),
        start_up=("RUBY", "LC_"),
    )
