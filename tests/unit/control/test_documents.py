from __future__ import annotations

import orjson
import pytest

from lambent.base.db import DatabaseError
from lambent.control.documents import from_document, to_document
from lambent.control.records import LoggingConfig
from lambent.control.secrets import NOTHING

from .test_store import function


def test_a_function_comes_back_as_it_was():
    original = function(
        logging=LoggingConfig("JSON", "g", "INFO", None), environment=NOTHING, extras={"KMSKeyArn": "k"}
    )
    assert from_document(to_document(original)) == original


def test_members_that_came_later_have_their_defaults():
    members = orjson.loads(to_document(function()))
    del members["snap_start"], members["vpc_config"]
    assert from_document(orjson.dumps(members).decode()) == function()


@pytest.mark.parametrize("change", [{"unheard_of": 1}, {"logging": {"unheard_of": 1}}])
def test_what_a_newer_lambent_wrote_is_refused(change):
    members = orjson.loads(to_document(function())) | change
    with pytest.raises(DatabaseError, match="unheard_of"):
        from_document(orjson.dumps(members).decode())
