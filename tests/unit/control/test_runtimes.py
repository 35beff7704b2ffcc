from __future__ import annotations

import pytest

from lambent.control import runtimes
from lambent.wire import models
from lambent.wire.errors import AwsError


def test_every_runtime_of_the_model_is_supported_retired_or_custom():
    known = models.service("lambda").model.shape_for("Runtime").metadata["enum"]
    assert set(known) == {*runtimes.SUPPORTED, *runtimes.RETIRED, "custom"}
    assert not runtimes.RETIRED & set(runtimes.SUPPORTED)
    assert len(set(runtimes.SUPPORTED)) == len(runtimes.SUPPORTED)


@pytest.mark.parametrize("runtime", runtimes.SUPPORTED)
def test_supported(runtime):
    runtimes.check(runtime)


@pytest.mark.parametrize("runtime", ["", "python", "Python3.12", "python3.12 ", "arn:aws:lambda:us-east-1::runtime:x"])
def test_anything_else_is_refused(runtime):
    with pytest.raises(AwsError):
        runtimes.check(runtime)
