from __future__ import annotations

import json
import platform

from lambent import __version__
from lambent.cli.main import main


def test_for_people(capsys):
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"lambent {__version__} (Python {platform.python_version()},")


def test_for_scripts(capsys):
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lambent"] == __version__
