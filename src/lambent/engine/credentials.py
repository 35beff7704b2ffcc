"""How long an environment's credentials last, and when it needs others.

Variables cannot change while a process lives. So an environment that has its credentials in variables ends before they
do and another takes its place, as on AWS; one that asks for them over HTTP is given new ones.
"""

from __future__ import annotations

LASTING = 43_200  # seconds, from when they are issued
MARGIN = 3_600  # seconds: with less than this left, no further invocation begins with them. A function runs 900 at most
EXPIRY = LASTING - MARGIN
