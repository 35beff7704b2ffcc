from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from lambent import config
from lambent.cli.options import add_settings, settings_of

FILE_SYSTEM = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-1"


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return parser.parse_args(arguments)


def test_every_setting_is_an_option(monkeypatch):
    given = {
        "data_dir": "/srv/lambent",
        "runtimes_dir": "/srv/runtimes",
        "host": "::1",
        "port": "1",
        "isolation": "namespaces",
        "oci_runtime": "runc",
        "auth": "off",
        "max_environments": "2",
        "idle_timeout": "3",
        "stems": "4",
        "tmp": "memory",
        "function_endpoint": "off",
        "network": "none",
        "network_allowed": "10.0.0.5:5432",
        "log_level": "debug",
        "logs_size": "64",
        "metrics_size": "32",
        "region": "eu-west-1",
        "registry_auth": "env:LOGINS",
        "insecure_registries": "registry.example:5000",
        "root_key": "env:SOMETHING",
        "snap_start_spares": "5",
        "organizations": "o-a1b2c3d4e5=111111111111",
        "file_systems": FILE_SYSTEM + "=/srv/share",
        "services": "sqs=none",
    }
    assert set(given) == set(config.SETTINGS)
    arguments = [text for name, value in given.items() for text in ("--" + name.replace("_", "-"), value)]
    settings = settings_of(parse(*arguments))
    assert settings.insecure_registries == ("registry.example:5000",)
    del given["insecure_registries"]
    del given["organizations"], given["file_systems"], given["services"], given["network_allowed"]
    assert settings.network_allowed == (("10.0.0.5/32", 5432),)
    assert settings.services == {"sqs": {"mode": "none"}}
    assert {name: str(getattr(settings, name)) for name in given} == given
    assert settings.file_systems == {FILE_SYSTEM: Path("/srv/share")}
    assert settings.organizations == {"o-a1b2c3d4e5": {"111111111111"}}


def test_the_configuration_file_is_an_option(tmp_path: Path):
    file = tmp_path / "lambent.toml"
    file.write_text("port = 9\n")
    assert settings_of(parse("--config", str(file))).port == 9


def test_only_the_named_settings_are_offered():
    parser = argparse.ArgumentParser()
    add_settings(parser, "port")
    assert settings_of(parser.parse_args(["--port", "9"])).port == 9
    with pytest.raises(SystemExit):
        parser.parse_args(["--host", "::1"])
