# What a person or a CI machine runs here. `make` alone lists it.

PORT ?= 4566
export PORT

SOURCES := src tests scripts benchmarks examples

.PHONY: help run test lint bench conformance operations requirements clean

help:
	@echo "make run          start Lambent, deploy an example, invoke it, keep serving (PORT=$(PORT), ONCE=1 to leave)"
	@echo "make test         install what is needed, lint, check types, run every test"
	@echo "make lint         ruff and mypy only"
	@echo "make bench        measure Lambent beside a peer and print one table"
	@echo "make conformance  play the cases recorded on AWS and say which answers match"
	@echo "make operations   write docs/operations.md and the lists of docs/services.md again"
	@echo "make requirements compile requirements/*.txt again"
	@echo "make clean        remove what was built; functions in .lambent stay"

run:
	@scripts/bootstrap run
	@.venv/bin/python scripts/run.py

lint:
	@scripts/bootstrap test
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy

test: lint
	.venv/bin/python -m pytest

bench:
	@scripts/bootstrap test
	@.venv/bin/python benchmarks/compare.py

conformance:
	@scripts/bootstrap test
	@cd tests && ../.venv/bin/python -m recorded

operations:
	@scripts/bootstrap run
	@.venv/bin/python scripts/operations.py
	@.venv/bin/python scripts/services.py

requirements:
	@scripts/compile-requirements

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests scripts benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
