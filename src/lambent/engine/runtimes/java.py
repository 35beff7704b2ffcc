"""The Java runtimes: AWS's own client on each Java that this machine or Lambent's own directory has."""

from __future__ import annotations

import platform
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from lambent.engine.runtimes.packages import JAVA_CLIENT, JDKS, Component
from lambent.engine.runtimes.runtime import LIBRARIES, SEARCH, Missing, Runtime, Start

NAMES = (*(f"java{major}" for major in JDKS), "java11.al2023", "java17.al2023")
ARCHIVE = "classes.jsa"  # of its component: the classes that every function loads, ready to be mapped

NATIVE = "libaws-lambda-jni.so"  # AWS's client would unpack it into /tmp at each start
_NATIVE_PROPERTY = "com.amazonaws.services.lambda.runtime.api.client.runtimeapi.NativeClient.JNI"
MAIN = "runtime.jar"  # names the others, the class to start, and the package that it looks into
_MANIFEST = """Manifest-Version: 1.0
Main-Class: com.amazonaws.services.lambda.runtime.api.client.AWSLambda
Class-Path: {}
Add-Opens: java.base/java.io
Enable-Native-Access: ALL-UNNAMED
"""
_INSIDE = "/var/runtime/lib"
_VIRTUAL_MACHINES = (Path("/usr/lib/jvm"), Path("/opt"))
_FIRST_WITH_TELEMETRY = 17
_OLD_NAMES = {"AWS_ACCESS_KEY": "AWS_ACCESS_KEY_ID", "AWS_SECRET_KEY": "AWS_SECRET_ACCESS_KEY"}  # as recorded
_HEAP = 0.85  # of the function's memory, as AWS sets it


def major_of(name: str) -> int:
    return int(name.removeprefix("java").removesuffix(".al2023"))


def archive_name(name: str) -> str:
    """The component that holds the class archive of this runtime."""
    return f"java{major_of(name)}-archive"


def components(name: str) -> tuple[Component, ...]:
    return JDKS[major_of(name)], JAVA_CLIENT


def find(name: str, directory: Path) -> Runtime | Missing:
    """The runtime called `name` ("java21"), or why it is not here. `directory` holds what Lambent installed."""
    major = major_of(name)
    for home in _homes(major, directory):
        version = _version(home)
        if version is None or version.split(".")[0] != str(major):
            continue
        jars = sorted((directory / JAVA_CLIENT.name).glob("*.jar"))
        if not jars:
            reason = f"Java {version} is here ({home}), AWS's runtime client for it is not"
            return Missing(name, reason, None, components(name)[1:])
        return _runtime(name, version, home, jars, directory / archive_name(name) / ARCHIVE)
    return Missing(name, f"no Java {major} was found on this machine", None, components(name))


def _homes(major: int, directory: Path) -> Iterator[Path]:
    yield directory / f"jdk-{major}"
    for place in _VIRTUAL_MACHINES:
        try:
            yield from sorted(path for path in place.glob(f"*{major}*") if (path / "bin/java").exists())
        except OSError:
            continue


def _version(home: Path) -> str | None:
    """From the file that every Java since 9 has."""
    try:
        match = re.search(r'^JAVA_VERSION="([\d.]+)"', (home / "release").read_text(), re.MULTILINE)
    except OSError:
        return None
    return match[1] if match else None


def _runtime(name: str, version: str, home: Path, jars: list[Path], archive: Path) -> Runtime:
    home = home.resolve()
    major = major_of(name)
    binds = [(home, "/var/lang"), *((jar, f"{_INSIDE}/{jar.name}") for jar in jars)]
    binds += [(path, str(path)) for path in (Path(f"/etc/java-{major}-openjdk"),) if path.exists()]  # Debian's settings
    native = [path for path in (jars[0].parent / NATIVE,) if path.exists()]
    binds += [(path, f"{_INSIDE}/{NATIVE}") for path in native]
    shared: tuple[str, ...] = ()
    if archive.exists():
        binds.append((archive, f"{_INSIDE}/{ARCHIVE}"))
        shared = (f"-XX:SharedArchiveFile={_INSIDE}/{ARCHIVE}", "-Xlog:cds=off", "-Xlog:class+path=off")
    unpacked = [f"-D{_NATIVE_PROPERTY}={_INSIDE}/{NATIVE}"] if native else []

    def command(environment: Mapping[str, str]) -> tuple[str, ...]:
        options = ("-Xshare:auto", *shared, *_FLAGS, *_heap(environment), *unpacked)
        return ("/var/lang/bin/java", *options, "-jar", f"{_INSIDE}/{MAIN}", environment.get("_HANDLER", ""))

    return Runtime(
        name,
        version,
        build=f"java:{major}.v{version.split('.')[-1]}",
        source=home,
        start=Start.EXEC,
        command=command,
        binds=tuple(binds),
        variables=_variables(name, major),
        aliases=_OLD_NAMES if name == "java11" else {},
    )


_FLAGS = (
    *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"),
    "-XX:-UsePerfData",  # no file in /tmp that other tools could map
)


def _heap(environment: Mapping[str, str]) -> tuple[str, ...]:
    memory = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    return (f"-XX:MaxHeapSize={int(int(memory) * 1024 * _HEAP)}k",) if memory.isdigit() else ()


def _variables(name: str, major: int) -> dict[str, str]:
    variables = {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{name}",
        "LANG": "en_US.UTF-8",
        "LD_LIBRARY_PATH": f"/var/lang/lib:{LIBRARIES}",
        "PATH": f"/var/lang/bin:{SEARCH}",
        "TZ": ":UTC",
    }
    if major >= _FIRST_WITH_TELEMETRY:
        variables["_LAMBDA_TELEMETRY_LOG_FD"] = "62"
    return variables


def complete(directory: Path) -> None:
    """Finish the unpacked client in `directory`: its start, and its native library outside its jar."""
    jars = sorted(path.name for path in directory.glob("*.jar"))
    manifest = "".join(_folded(line) for line in _MANIFEST.format(" ".join(jars)).splitlines())
    with zipfile.ZipFile(directory / MAIN, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", manifest)
    library = f"jni/libaws-lambda-jni.linux-{platform.machine().replace('aarch64', 'aarch_64')}.so"
    for jar in jars:
        with zipfile.ZipFile(directory / jar) as archive:
            if library in archive.namelist():
                (directory / NATIVE).write_bytes(archive.read(library))


def _folded(line: str) -> str:
    """A line of a manifest: 72 bytes at most, what follows begins with a blank."""
    pieces = [line[:70], *(" " + line[start : start + 69] for start in range(70, len(line), 69))]
    return "".join(piece + "\r\n" for piece in pieces)
