"""Command-line options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Protocol

from lambent import config


class Subparsers(Protocol):
    """What `ArgumentParser.add_subparsers` returns."""

    def add_parser(self, name: str, **settings: Any) -> argparse.ArgumentParser: ...


_HELP = {
    "data_dir": "where functions and their code are kept",
    "runtimes_dir": "where `lambent runtimes install` puts what it brings",
    "host": "address to listen on; others than this machine's own need auth iam",
    "port": "port to listen on; 0 takes any free one",
    "isolation": "how functions are fenced in: " + ", ".join(config.ISOLATIONS),
    "oci_runtime": "command of the OCI runtime, for isolation oci and gvisor: a name, a path or auto",
    "auth": "how callers are checked: " + ", ".join(config.AUTHS),
    "max_environments": "most execution environments at once, busy and idle",
    "idle_timeout": "seconds that an idle execution environment is kept",
    "snap_start_spares": "initialised environments of each version with SnapStart that wait",
    "stems": "sandboxes of each runtime that wait ready",
    "tmp": "what a function's /tmp is made of: " + ", ".join(config.TMPS),
    "network": "what functions reach outside: " + ", ".join(config.NETWORKS),
    "network_allowed": "addresses that functions reach beside the internet: ADDRESS[/BITS][:PORT] …",
    "function_endpoint": "whether functions reach this server's AWS API: " + ", ".join(config.SWITCHES),
    "log_level": "how much the server tells: " + ", ".join(config.LOG_LEVELS),
    "logs_size": "MiB on disk for what functions print, all log groups together",
    "metrics_size": "MiB on disk for metrics",
    "region": "region of requests that name none",
    "root_key": "where the key comes from that all others lie under: file, env:NAME or command:…",
    "registry_auth": "where the logins for other container registries are: none, file:PATH or env:NAME",
    "insecure_registries": "container registries that speak plain HTTP: HOST:PORT …",
    "file_systems": "directories for the ARNs of access points: ARN=DIRECTORY …",
    "services": "where other AWS services are: SERVICE=native, embedded, none or a URL …",
    "organizations": "accounts of organisations, as o-a1b2c3d4e5=111111111111,222222222222",
}


def add_command(subparsers: Subparsers, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """A command with its one-line summary and its examples, one per line."""
    listed = "".join(f"  {line}\n" for line in examples.strip().splitlines())
    return subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_settings(parser: argparse.ArgumentParser, *names: str) -> None:
    """`--config` and an option for each setting named, or for all of them."""
    group = parser.add_argument_group("settings", "also read from LAMBENT_* variables and the configuration file")
    group.add_argument("--config", metavar="FILE", type=Path, help="configuration file (TOML)")
    for name in names or config.SETTINGS:
        option = "--" + name.replace("_", "-")
        group.add_argument(option, dest=name, metavar=name.rpartition("_")[2].upper(), help=_HELP[name])


def settings_of(arguments: argparse.Namespace) -> config.Config:
    """The configuration that `add_settings` options ask for. Raises ConfigError."""
    given = {name: getattr(arguments, name, None) for name in config.SETTINGS}
    return config.load(given, file=arguments.config)


def add_client(parser: argparse.ArgumentParser) -> None:
    """Where the server is."""
    group = parser.add_argument_group("server")
    group.add_argument(
        "--endpoint-url", metavar="URL", help="the server (AWS_ENDPOINT_URL, else http://127.0.0.1:4566)"
    )
    group.add_argument("--region", metavar="REGION", help="region (AWS_REGION, AWS_DEFAULT_REGION, else us-east-1)")


def client_of(arguments: argparse.Namespace) -> config.ClientConfig:
    """What `add_client` options ask for. Raises ConfigError."""
    return config.load_client(endpoint=arguments.endpoint_url, region=arguments.region)
