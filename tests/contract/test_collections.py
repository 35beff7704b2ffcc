"""What the garbage collector of a server has to look at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import asyncio, gc, sys
from pathlib import Path
from lambent.app import App
from lambent.config import Config

async def main():
    app = App(Config(data_dir=Path(sys.argv[1]), port=0, isolation="process"))
    await app.start()
    while not gc.get_freeze_count():
        await asyncio.sleep(0.01)
    print(gc.get_freeze_count(), len(gc.get_objects()))
    await app.stop()

asyncio.run(main())
"""


def test_full_collections_leave_the_service_models_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "data")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    frozen, looked_at = map(int, result.stdout.split())
    assert frozen > 20 * looked_at
