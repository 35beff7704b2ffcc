from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent import config
from lambent.config import ConfigError, load, load_client

HOME = {"HOME": "/home/ada"}


def test_defaults_need_nothing():
    settings = load(environment=HOME)
    assert (settings.host, settings.port, settings.auth) == ("127.0.0.1", 4566, "off")


def test_the_data_directory_depends_on_who_runs_it(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert load(environment=HOME).data_dir == Path("/home/ada/.local/share/lambent")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert load(environment=HOME).data_dir == Path("/var/lib/lambent")


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "lambent.toml"
    file.write_text('port = 1\nstems = 1\nregion = "eu-west-1"\n')
    environment = HOME | {"LAMBENT_PORT": "2", "LAMBENT_STEMS": "5", "LAMBENT_CONFIG": str(file)}
    settings = load({"port": "3", "stems": None}, environment=environment)
    assert (settings.port, settings.stems, settings.region) == (3, 5, "eu-west-1")


def test_the_usual_file_is_read_where_there_is_one(tmp_path):
    file = tmp_path / ".config/lambent/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("idle_timeout = 42\n")
    assert load(environment={"HOME": str(tmp_path)}).idle_timeout == 42


def test_a_home_directory_that_may_not_be_read_has_no_file(monkeypatch):
    def refuse(*arguments, **settings):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.stat", refuse)
    assert load(environment=HOME).port == 4566


def test_a_file_named_on_the_command_line_wins_over_the_variable(tmp_path):
    (tmp_path / "a.toml").write_text("port = 1\n")
    (tmp_path / "b.toml").write_text("port = 2\n")
    environment = HOME | {"LAMBENT_CONFIG": str(tmp_path / "a.toml")}
    assert load(file=tmp_path / "b.toml", environment=environment).port == 2


def test_a_file_that_was_named_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file"):
        load(file=tmp_path / "nowhere.toml", environment=HOME)


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe", b"[port]\nport"])
def test_a_file_that_is_not_toml_is_named(tmp_path, content):
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.toml is not valid TOML"):
        load(file=file, environment=HOME)


def test_an_unknown_key_in_the_file_names_the_nearest(tmp_path):
    file = tmp_path / "lambent.toml"
    file.write_text("prot = 4566\n")
    with pytest.raises(ConfigError, match="'prot'; the nearest known one is 'port'"):
        load(file=file, environment=HOME)


def test_an_unknown_variable_names_the_nearest():
    with pytest.raises(ConfigError, match="'LAMBENT_DATADIR'; the nearest known one is 'LAMBENT_DATA_DIR'"):
        load(environment=HOME | {"LAMBENT_DATADIR": "/srv"})


def test_other_variables_are_nobodys_business():
    assert load(environment=HOME | {"LAMBENTABLE": "x", "PORT": "1"}).port == 4566


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("port", "65536", "a whole number from 0 to 65535"),
        ("port", "-1", "a whole number"),
        ("port", "4566.0", "a whole number"),
        ("port", "", "a whole number"),
        ("port", "١٢", "a whole number"),
        ("stems", "101", "a whole number from 0 to 100"),
        ("max_environments", "0", "a whole number from 1"),
        ("idle_timeout", "0", "a whole number from 1"),
        ("isolation", "docker", "one of auto, namespaces, oci, gvisor, process"),
        ("tmp", "ram", "one of auto, disk, memory"),
        ("log_level", "INFO", "one of debug, info, warning, error"),
        ("region", "home", "a region such as us-east-1"),
        ("data_dir", " ", "the path of a directory"),
        ("host", "", "a text"),
        ("oci_runtime", " ", "a text"),
    ],
)
def test_a_value_that_will_not_do_is_explained(name, value, wanted):
    variable = f"LAMBENT_{name.upper()}"
    with pytest.raises(ConfigError) as caught:
        load(environment=HOME | {variable: value})
    assert wanted in str(caught.value)
    assert variable in str(caught.value)


@pytest.mark.parametrize("value", ["true", '"nine"', "[1]", "1.5"])
def test_a_wrong_type_in_the_file_is_explained(tmp_path, value):
    file = tmp_path / "lambent.toml"
    file.write_text(f"port = {value}\n")
    with pytest.raises(ConfigError, match=r"port must be a whole number .* the configuration file"):
        load(file=file, environment=HOME)


@given(st.integers(0, 65535))
def test_every_port_is_taken_as_text_and_as_number(port):
    assert load({"port": str(port)}, environment=HOME).port == port
    assert load({"port": port}, environment=HOME).port == port


@given(st.text())
def test_no_text_gets_past_the_checks(text):
    with pytest.raises(ConfigError, match="must be"):
        load({"port": text, "isolation": text}, environment=HOME)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.10"])
def test_this_machine_may_listen_to_itself(host):
    assert load({"host": host}, environment=HOME).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.com"])
def test_other_machines_are_kept_out(host):
    with pytest.raises(ConfigError, match="would let other machines run code here"):
        load({"host": host}, environment=HOME)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_server_that_asks_who_comes_may_listen_to_all(host):
    assert load({"auth": "iam", "host": host}, environment=HOME).host == host


def test_organisations_as_text_and_as_a_table(tmp_path):
    text = "o-a1b2c3d4e5=111111111111,222222222222 o-f6g7h8i9j0=333333333333"
    expected = {"o-a1b2c3d4e5": {"111111111111", "222222222222"}, "o-f6g7h8i9j0": {"333333333333"}}
    assert load({"organizations": text}, environment=HOME).organizations == expected
    file = tmp_path / "lambent.toml"
    file.write_text('[organizations]\no-a1b2c3d4e5 = ["111111111111"]\n')
    assert load(file=file, environment=HOME).organizations == {"o-a1b2c3d4e5": {"111111111111"}}


def test_addresses_as_text_and_as_a_list(tmp_path):
    expected = (("10.0.0.5/32", 5432), ("192.168.0.0/16", None))
    assert load({"network_allowed": "10.0.0.5:5432 192.168.0.0/16"}, environment=HOME).network_allowed == expected
    file = tmp_path / "lambent.toml"
    file.write_text('network_allowed = ["10.0.0.5:5432", "192.168.0.0/16"]\n')
    assert load(file=file, environment=HOME).network_allowed == expected


@pytest.mark.parametrize(
    "text", ["x", "10.0.0.5:0", "10.0.0.5:65536", "10.0.0.5:", "::1", "127.0.0.1:80", "169.254.169.254", "10.0.0.5/8"]
)
def test_what_functions_cannot_be_allowed_to_reach(text):
    with pytest.raises(ConfigError, match="IPv4 addresses or networks"):
        load({"network_allowed": text}, environment=HOME)


def test_file_systems_as_text_and_as_a_table(tmp_path):
    arn = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-1"
    assert load({"file_systems": f"{arn}=/a {arn}2=/b"}, environment=HOME).file_systems == {
        arn: Path("/a"),
        f"{arn}2": Path("/b"),
    }
    file = tmp_path / "lambent.toml"
    file.write_text(f'[file_systems]\n"{arn}" = "/srv/f"\n')
    assert load(file=file, environment=HOME).file_systems == {arn: Path("/srv/f")}
    with pytest.raises(ConfigError, match="with absolute directories"):
        load({"file_systems": f"{arn}=relative"}, environment=HOME)


@pytest.mark.parametrize("text", ["o-short=111111111111", "o-a1b2c3d4e5", "o-a1b2c3d4e5=1111", "nonsense"])
def test_what_is_no_organisation(text):
    with pytest.raises(ConfigError, match="organisations with their accounts"):
        load({"organizations": text}, environment=HOME)


@pytest.mark.parametrize("source", ["", "env:", "command:", "command: ", "elsewhere", "env:A B"])
def test_what_is_no_source_of_a_root_key(source):
    with pytest.raises(ConfigError, match="root_key must be file, env:NAME or command:"):
        load({"root_key": source}, environment=HOME)


def test_where_a_root_key_comes_from():
    text = base64.b64encode(bytes(32)).decode()
    assert config.root_key("file") is None
    assert config.root_key("env:KEY", {"KEY": text + "\n"}) == bytes(32)
    assert config.root_key(f"command:echo {text}") == bytes(32)
    for source, variables in (("env:KEY", {}), ("env:KEY", {"KEY": "c2VjcmV0"}), ("command:echo c2VjcmV0", {})):
        with pytest.raises(ConfigError, match="does not give 32 bytes in base64") as refusal:
            config.root_key(source, variables)
        assert "c2VjcmV0" not in str(refusal.value).replace(source, "")
    with pytest.raises(ConfigError, match="failed: no such key"):
        config.root_key("command:echo no such key >&2; exit 1")


def test_every_setting_has_a_parser():
    assert set(config._PARSERS) == set(config.SETTINGS)


def test_a_home_directory_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert load({"data_dir": "~/state"}, environment=HOME).data_dir == Path("/home/ada/state")


def test_the_client_follows_the_servers_settings():
    client = load_client(environment=HOME | {"LAMBENT_HOST": "::1", "LAMBENT_PORT": "5000"})
    assert client.endpoint == "http://[::1]:5000"
    assert client.region == "us-east-1"


def test_the_client_follows_awss_variables():
    environment = HOME | {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "111122223333",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
    }
    client = load_client(environment=environment)
    assert (client.endpoint, client.region) == ("http://127.0.0.1:1", "eu-west-1")
    assert (client.account, client.secret_access_key, client.session_token) == (
        "111122223333",
        "secret",
        "token",
    )
    narrower = environment | {"AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:2", "AWS_REGION": "eu-west-2"}
    assert load_client(environment=narrower).endpoint == "http://127.0.0.1:2"
    assert load_client(environment=narrower).region == "eu-west-2"
    given = load_client(endpoint="http://127.0.0.1:3", region="eu-west-3", environment=narrower)
    assert (given.endpoint, given.region) == ("http://127.0.0.1:3", "eu-west-3")


def test_a_key_that_is_no_account_speaks_for_the_default_one():
    assert load_client(environment=HOME | {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}).account == "000000000000"


def test_no_color_and_dumb_terminals_are_respected():
    assert config.colour_wanted({"TERM": "xterm"})
    assert config.colour_wanted({"NO_COLOR": ""})
    assert not config.colour_wanted({"NO_COLOR": "1"})
    assert not config.colour_wanted({"TERM": "dumb"})


def test_services_come_from_text_and_from_tables(tmp_path):
    text = "sqs=http://127.0.0.1:9324 s3=https://minio.local:9000,credentials=env:MINIO default=none kms=native"
    found = load({"services": text}, environment=HOME).services
    assert found == {
        "sqs": {"mode": "upstream", "url": "http://127.0.0.1:9324", "credentials": ""},
        "s3": {"mode": "upstream", "url": "https://minio.local:9000", "credentials": "env:MINIO"},
        "default": {"mode": "none"},
        "kms": {"mode": "native"},
    }
    file = tmp_path / "lambent.toml"
    table = '[services]\nsqs = "http://127.0.0.1:9324"\ns3 = { url = "https://minio.local:9000", credentials = "env:MINIO" }\n'
    file.write_text(table + 'default = "none"\nkms = "native"\n')
    assert load(file=file, environment=HOME).services == found


@pytest.mark.parametrize(
    "text",
    [
        "sqs",
        "sqs=",
        "sqs=elsewhere",
        "sqs=http://",
        "sqs=http://a:b@host/",
        "sqs=http://host/path",
        "s3=http://h,region=x",
    ],
)
def test_services_that_cannot_be_are_refused(text):
    with pytest.raises(ConfigError, match="services with native, embedded, none or a URL"):
        load({"services": text}, environment=HOME)


@pytest.mark.parametrize("credentials", ["AKID:secret", "env:", "file:x"])
def test_a_secret_has_no_place_among_the_services(credentials):
    with pytest.raises(ConfigError, match="env:NAME or profile:NAME, never a secret itself"):
        load({"services": f"s3=http://h,credentials={credentials}"}, environment=HOME)
