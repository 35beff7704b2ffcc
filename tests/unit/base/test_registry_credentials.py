"""Logins for other registries."""

from __future__ import annotations

import base64
import json
import os

import pytest

from lambent.base.registry_credentials import CredentialError, Credentials, Login, from_file


def entry(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def find(document, host="registry.example:5000", repository="team/app"):
    return Credentials(lambda: json.dumps(document)).find(host, repository)


@pytest.mark.parametrize(
    ("auths", "login"),
    [
        ({}, None),
        ({"other.example": entry("a", "b")}, None),
        ({"registry.example:5000": entry("a", "b:c")}, Login("a", "b:c")),
        ({"https://registry.example:5000/v1/": entry("a", "b")}, Login("a", "b")),
        ({"registry.example:5000": {"username": "a", "password": "b"}}, Login("a", "b")),
        ({"registry.example:5000": {"identitytoken": "t"}}, Login(identity_token="t")),
        (
            {
                "registry.example:5000": entry("wide", "x"),
                "registry.example:5000/team": entry("team", "x"),
                "registry.example:5000/team/other": entry("other", "x"),
            },
            Login("team", "x"),
        ),
    ],
)
def test_auths(auths, login):
    assert find({"auths": auths}) == login


def test_docker_s_own_registry():
    assert find({"auths": {"https://index.docker.io/v1/": entry("a", "b")}}, "docker.io") == Login("a", "b")


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"auths": {"registry.example:5000": {"auth": "%%"}}},
        {"auths": {"registry.example:5000": {"auth": "c2VjcmV0"}}},
    ],
)
def test_damaged_ones_show_nothing(document):
    with pytest.raises(CredentialError) as caught:
        find(document)
    assert "c2VjcmV0" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_helper(tmp_path, monkeypatch):
    helper = tmp_path / "docker-credential-mine"
    helper.write_text(
        '#!/bin/sh\nread host; [ "$host" = none ] && { echo "credentials not found in native keychain"; exit 1; }\n'
        '[ "$host" = bad ] && { echo secret >&2; exit 2; }\n'
        'echo "{\\"Username\\": \\"for $host\\", \\"Secret\\": \\"s\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    document = {"credsStore": "mine", "auths": {"registry.example:5000": {}}}
    assert find(document) == Login("for registry.example:5000", "s")
    assert find({"credHelpers": {"registry.example:5000": "mine"}}) == Login("for registry.example:5000", "s")
    assert find(document, "none") is None
    for wrong, host in ((document, "bad"), ({"credsStore": "missing"}, "x"), ({"credsStore": "../../bin/sh"}, "x")):
        with pytest.raises(CredentialError) as caught:
            find(wrong, host)
        assert "secret" not in str(caught.value)


def test_a_file_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "auth.json"
    path.write_text("{}")
    path.chmod(0o640)
    with pytest.raises(CredentialError, match="chmod 600"):
        from_file(path)
    path.chmod(0o600)
    assert from_file(path) == "{}"
    with pytest.raises(CredentialError, match="cannot be read"):
        from_file(tmp_path / "missing")


def test_logins_are_not_shown():
    assert "secret" not in repr(Login("me", "secret", "secret"))
