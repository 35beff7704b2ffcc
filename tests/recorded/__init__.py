"""Responses recorded on AWS, played again: each case's calls are rebuilt and each answer is compared, member by member.

`tests/api/golden/` holds the recordings, `cases/` the calls (one file per noun), `exceptions.py` what does not match
and why. `python -m recorded` in `tests/` (or `make conformance`) prints where it stands.
"""
