"""A short run of the soak: no response is lost, and none is somebody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).parents[2] / "benchmarks/soak.py"


def test_no_response_is_lost_or_crossed() -> None:
    command = [sys.executable, str(SOAK), "--seconds", "12", "--workers", "8", "--every", "6"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "\n0 lost or crossed" in result.stdout
