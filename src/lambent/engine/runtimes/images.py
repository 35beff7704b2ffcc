"""What functions that are container images run on: nothing of the machine's, the image brings everything."""

from __future__ import annotations

from pathlib import Path

from lambent.control.records import IMAGE_RUNTIME
from lambent.engine.runtimes.runtime import LIBRARIES, SEARCH, Runtime, Start

RUNTIME = Runtime(
    IMAGE_RUNTIME,
    "",
    build="",
    source=Path("/"),
    start=Start.EXEC,
    command=lambda environment: (),  # the image's own
    variables={"LANG": "en_US.UTF-8", "LD_LIBRARY_PATH": LIBRARIES, "PATH": SEARCH, "TZ": ":UTC"},
    wrappable=False,
)
