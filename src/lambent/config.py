"""Every setting of Lambent, and the only reader of the environment and of the configuration file.

The later wins: a setting's default, the file, a `LAMBENT_*` environment variable, the command line.
"""

from __future__ import annotations

import base64
import difflib
import ipaddress
import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

ISOLATIONS = ("auto", "namespaces", "oci", "gvisor", "process")
AUTHS = ("off", "iam")
SWITCHES = ("on", "off")
NETWORKS = ("auto", "internet", "none")
TMPS = ("auto", "disk", "memory")
SERVICE_MODES = ("native", "embedded", "none")
LOG_LEVELS = ("debug", "info", "warning", "error")
PREFIX = "LAMBENT_"
FILE_VARIABLE = "LAMBENT_CONFIG"
PORT = 4566
_ROOT_KEY_BYTES = 32
_RUNTIME_API_PORT = 9001  # taken in the network of every function


class ConfigError(Exception):
    """A setting that cannot be used. The message names it, where it came from and what would do."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a server was told. `docs/settings.md` explains each."""

    data_dir: Path  # everything that outlives the server
    runtimes_dir: Path | None = None  # what `lambent runtimes install` brings; None: in data_dir
    host: str = "127.0.0.1"
    port: int = PORT  # 0: any free port
    isolation: str = "auto"  # one of ISOLATIONS
    oci_runtime: str = "auto"  # its command, for isolation oci and gvisor
    auth: str = "off"
    max_environments: int = 200  # execution environments at once, busy and idle
    idle_timeout: int = 600  # seconds an idle environment is kept
    snap_start_spares: int = 1  # initialised environments of each version with SnapStart that wait to be restored
    stems: int = 2  # sandboxes of each runtime that wait ready
    tmp: str = "auto"  # one of TMPS
    network: str = "auto"  # one of NETWORKS: what functions reach outside
    network_allowed: Sequence[tuple[str, int | None]] = field(
        default_factory=list
    )  # beside the internet; each port may be None
    function_endpoint: str = "on"  # or "off": whether functions reach this server's AWS API
    log_level: str = "info"  # one of LOG_LEVELS
    logs_size: int = 1024  # MiB that what functions print may take on disk, all log groups together
    metrics_size: int = 256  # MiB that metrics may take on disk
    region: str = "us-east-1"  # of requests that name none
    registry_auth: str = "none"  # where the logins for other registries are: `_registry_auth`
    insecure_registries: tuple[str, ...] = ()  # hosts, with their ports, that speak plain HTTP
    root_key: str = "file"  # where the key above all other keys comes from: see `root_key`
    organizations: Mapping[str, frozenset[str]] = field(default_factory=dict)  # the accounts of each organisation
    file_systems: Mapping[str, Path] = field(default_factory=dict)  # directories by the ARNs of access points
    services: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # where each AWS service is: `_services`

    @property
    def door(self) -> int | None:
        """The port at which a function finds this server's AWS API in its own network; None when it does not.

        The server's own where that is known and free there, so that URLs which functions hand on are good outside.
        """
        if self.function_endpoint != "on":
            return None
        return PORT if self.port in (0, _RUNTIME_API_PORT) else self.port

    @property
    def runtimes(self) -> Path:
        return self.runtimes_dir or self.data_dir / "runtimes"

    @property
    def install_command(self) -> str:
        """What brings a runtime to where this configuration looks for it."""
        usual = _default_data_dir(os.environ) / "runtimes"
        return "lambent runtimes install" + ("" if self.runtimes == usual else f" --runtimes-dir {self.runtimes}")


SETTINGS = tuple(setting.name for setting in fields(Config))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text")
    return value.strip()


def _choice(*known: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return str(value)

    return parse


def _whole(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        wanted = ValueError(f"a whole number from {least} to {most}")
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value.strip()):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise wanted
        return value

    return parse


def _directory(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value).strip():
        raise ValueError("the path of a directory")
    return Path(value).expanduser().absolute()


def _region(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]+", value):
        raise ValueError("a region such as us-east-1")
    return value


def _root_key_source(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"file|env:\w+|command:.*\S.*", value):
        return value
    raise ValueError("file, env:NAME or command:…")


def _registry_auth(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"none|env:\w+|file:\S.*", value):
        return value
    raise ValueError("none, file:PATH or env:NAME")


def _hosts(value: object) -> tuple[str, ...]:
    """From a list of the file, or from text."""
    listed = value.split() if isinstance(value, str) else value
    if isinstance(listed, list) and all(isinstance(host, str) and re.fullmatch(r"[^\s/@]+", host) for host in listed):
        return tuple(listed)
    raise ValueError("hosts with their ports, such as registry.example:5000")


def _organizations(value: object) -> dict[str, frozenset[str]]:
    """From a table of the file, or from text: `o-a1b2c3d4e5=111111111111,222222222222 o-…=…`."""
    wanted = ValueError("organisations with their accounts, such as o-a1b2c3d4e5=111111111111,222222222222")
    if isinstance(value, str):
        value = {name: accounts.split(",") for name, _, accounts in (part.partition("=") for part in value.split())}
    if not isinstance(value, Mapping):
        raise wanted
    for name, accounts in value.items():
        if not re.fullmatch(r"o-[a-z0-9]{10,32}", name) or not isinstance(accounts, list):
            raise wanted
        if not all(isinstance(account, str) and re.fullmatch(r"[0-9]{12}", account) for account in accounts):
            raise wanted
    return {name: frozenset(accounts) for name, accounts in value.items()}


def _addresses(value: object) -> tuple[tuple[str, int | None], ...]:
    """From a list of the file, or from text: `10.0.0.5:5432 192.168.1.0/24`."""
    wanted = ValueError("IPv4 addresses or networks, each with a port or without: 10.0.0.5:5432 192.168.1.0/24")
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise wanted
    found = []
    for one in value:
        address, colon, port = one.partition(":")
        try:
            network = ipaddress.IPv4Network(address)
        except ValueError:
            raise wanted from None
        if network.is_loopback or network.is_link_local or (colon and not re.fullmatch(r"[1-9][0-9]{0,4}", port)):
            raise wanted
        if colon and int(port) > 65_535:
            raise wanted
        found.append((str(network), int(port) if colon else None))
    return tuple(found)


def _file_systems(value: object) -> dict[str, Path]:
    """From a table of the file, or from text: `arn:…:access-point/fsap-…=/srv/shared arn:…=…`."""
    wanted = ValueError("ARNs of access points with absolute directories, such as arn:aws:…:access-point/fsap-1=/srv/f")
    if isinstance(value, str):
        value = dict(part.partition("=")[::2] for part in value.split())
    if not isinstance(value, Mapping):
        raise wanted
    for arn, directory in value.items():
        if not arn.startswith("arn:") or not isinstance(directory, str) or not directory.startswith("/"):
            raise wanted
    return {arn: Path(directory) for arn, directory in value.items()}


_CHOICE_KEYS = frozenset({"url", "credentials"})


def _services(value: object) -> dict[str, dict[str, str]]:
    """`mode`, `url` and `credentials` by service; from a table of the file, or from text: `sqs=http://… s3=native`.

    In text, credentials follow their URL: `s3=http://127.0.0.1:9000,credentials=env:MINIO`.
    """
    wanted = ValueError("services with native, embedded, none or a URL, such as sqs=http://127.0.0.1:9324 s3=native")
    if isinstance(value, str):
        value = {name: _choice_of_text(text) for name, _, text in (part.partition("=") for part in value.split())}
    if not isinstance(value, Mapping):
        raise wanted
    found = {}
    for name, choice in value.items():
        if isinstance(choice, str):
            choice = {"url": choice}
        if not isinstance(choice, Mapping) or not choice.keys() <= _CHOICE_KEYS or not choice.get("url"):
            raise wanted
        url, credentials = choice["url"], choice.get("credentials", "")
        if not isinstance(credentials, str) or not re.fullmatch(r"((env|profile):\S+)?", credentials):
            raise ValueError("services whose credentials are env:NAME or profile:NAME, never a secret itself")
        if url in SERVICE_MODES:
            found[name] = {"mode": url}
        elif isinstance(url, str) and re.match(r"https?://[^/?#@\s]+/?$", url):
            found[name] = {"mode": "upstream", "url": url, "credentials": credentials}
        else:
            raise wanted
    return found


def _choice_of_text(text: str) -> dict[str, str]:
    url, *rest = text.split(",")
    return {"url": url} | dict(part.partition("=")[::2] for part in rest)


_PARSERS: dict[str, Callable[[object], Any]] = {
    "data_dir": _directory,
    "runtimes_dir": _directory,
    "host": _text,
    "port": _whole(0, 65535),
    "isolation": _choice(*ISOLATIONS),
    "oci_runtime": _text,
    "auth": _choice(*AUTHS),
    "max_environments": _whole(1, 100_000),
    "idle_timeout": _whole(1, 86_400),
    "snap_start_spares": _whole(0, 100),
    "stems": _whole(0, 100),
    "tmp": _choice(*TMPS),
    "network": _choice(*NETWORKS),
    "network_allowed": _addresses,
    "function_endpoint": _choice(*SWITCHES),
    "log_level": _choice(*LOG_LEVELS),
    "logs_size": _whole(1, 1 << 30),
    "metrics_size": _whole(1, 1 << 30),
    "region": _region,
    "registry_auth": _registry_auth,
    "insecure_registries": _hosts,
    "root_key": _root_key_source,
    "organizations": _organizations,
    "file_systems": _file_systems,
    "services": _services,
}


def load(
    command_line: Mapping[str, object] | None = None,
    *,
    file: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """The configuration of a server.

    `command_line` holds settings by name, None where nothing was given; `file` is what `--config` named;
    `environment` stands in for the process's own. Raises ConfigError.
    """
    variables = os.environ if environment is None else environment
    chosen: dict[str, tuple[object, str]] = {"data_dir": (_default_data_dir(variables), "the default")}
    for name, value in _read_file(_find_file(file, variables)).items():
        chosen[name] = (value, "the configuration file")
    for name, text in _read_environment(variables).items():
        chosen[name] = (text, PREFIX + name.upper())
    for name, value in (command_line or {}).items():
        if value is not None:
            chosen[_known(name, SETTINGS, "setting")] = (value, "--" + name.replace("_", "-"))
    config = Config(**{name: _parse(name, value, source) for name, (value, source) in chosen.items()})
    _refuse_open_door(config)
    return config


def _parse(name: str, value: object, source: str) -> Any:
    try:
        return _PARSERS[name](value)
    except ValueError as error:
        raise ConfigError(f"{name} must be {error}, not {value!r} (from {source})") from None


def _known(name: str, known: tuple[str, ...], what: str) -> str:
    """`name`, or a ConfigError that names the nearest one there is."""
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    raise ConfigError(f"unknown {what} {name!r}; the nearest known one is {near!r}")


def _read_environment(variables: Mapping[str, str]) -> dict[str, str]:
    known = (FILE_VARIABLE, *(PREFIX + name.upper() for name in SETTINGS))
    given = {name: text for name, text in variables.items() if name.startswith(PREFIX)}
    for name in given:
        _known(name, known, "environment variable")
    return {name.removeprefix(PREFIX).lower(): text for name, text in given.items() if name != FILE_VARIABLE}


def _find_file(named: str | Path | None, variables: Mapping[str, str]) -> Path | None:
    """The file to read: one that was named must exist, the usual one need not."""
    if explicit := named or variables.get(FILE_VARIABLE):
        return Path(explicit).expanduser()
    usual = _home(variables) / ".config/lambent/config.toml"
    return usual if os.path.isfile(usual) else None  # also None where the home directory may not be read


def _read_file(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"the configuration file {path} is not valid TOML: {error}") from None
    for name in values:
        _known(name, SETTINGS, f"setting in {path},")
    return values


def _home(variables: Mapping[str, str]) -> Path:
    return Path(variables.get("HOME") or os.path.expanduser("~"))


def _default_data_dir(variables: Mapping[str, str]) -> Path:
    return Path("/var/lib/lambent") if os.geteuid() == 0 else _home(variables) / ".local/share/lambent"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_open_door(config: Config) -> None:
    if config.auth == "off" and not is_loopback(config.host):
        raise ConfigError(
            f"host {config.host} would let other machines run code here, and with auth = off nobody is asked"
            " for credentials. Use auth = iam (`lambent admin create-key` makes the first administrator), or 127.0.0.1,"
            " localhost or ::1, and a tunnel (ssh -L) from elsewhere"
        )


def root_key(source: str, environment: Mapping[str, str] | None = None) -> bytes | None:
    """The 32 bytes that the setting `root_key` leads to; None where they lie in a file of the data directory.

    From a variable or the output of a command they come as base64. May run the command: blocks. Raises ConfigError
    that never shows what it got.
    """
    kind, _, rest = source.partition(":")
    if kind == "file":
        return None
    if kind == "env":
        text = (os.environ if environment is None else environment).get(rest, "")
    else:
        try:
            done = subprocess.run(rest, shell=True, capture_output=True, text=True, timeout=60, check=True)  # noqa: S602
        except (subprocess.SubprocessError, UnicodeDecodeError) as error:
            why = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else type(error).__name__
            raise ConfigError(f"the command of root_key failed: {why or 'no message'}") from None
        text = done.stdout
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _ROOT_KEY_BYTES:
        raise ConfigError(
            f"root_key {kind}:… does not give {_ROOT_KEY_BYTES} bytes in base64. `openssl rand -base64 32` makes some"
        )
    return key


def variable(name: str) -> str:
    """What an environment variable holds that a setting names; "" where there is none."""
    return os.environ.get(name, "")


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How the commands that talk to a running server reach it."""

    endpoint: str  # "http://127.0.0.1:4566"
    region: str
    access_key_id: str
    secret_access_key: str
    session_token: str | None

    @property
    def account(self) -> str:
        """The account that an unchecked key speaks for: 12 digits name it, anything else is 000000000000."""
        return self.access_key_id if re.fullmatch(r"[0-9]{12}", self.access_key_id) else "000000000000"


def load_client(
    *, endpoint: str | None = None, region: str | None = None, environment: Mapping[str, str] | None = None
) -> ClientConfig:
    """From the command line, else AWS's variables, else the server's own settings. Raises ConfigError."""
    variables = os.environ if environment is None else environment
    server = load(environment=variables)
    host = f"[{server.host}]" if ":" in server.host else server.host
    return ClientConfig(
        endpoint=endpoint
        or variables.get("AWS_ENDPOINT_URL_LAMBDA")
        or variables.get("AWS_ENDPOINT_URL")
        or f"http://{host}:{server.port}",
        region=region or variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or server.region,
        access_key_id=variables.get("AWS_ACCESS_KEY_ID") or "test",
        secret_access_key=variables.get("AWS_SECRET_ACCESS_KEY") or "test",
        session_token=variables.get("AWS_SESSION_TOKEN"),
    )


def colour_wanted(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the environment allows colour: NO_COLOR unset or empty, and not a dumb terminal."""
    variables = os.environ if environment is None else environment
    return not variables.get("NO_COLOR") and variables.get("TERM") != "dumb"
