"""The composition root: the only file that knows every room."""

from __future__ import annotations

import logging

_log = logging.getLogger("lambent")
