"""The job behind CreateFunction and updates: makes sure that the function can run, then says so."""

from __future__ import annotations

import logging

_log = logging.getLogger("lambent.preparation")
