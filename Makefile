# The habits of this project. `make` alone lists them.

PYTHON ?= python3
VENV   ?= .venv
SEED   ?= 0
ARGS   ?=
UV     := uv==0.13.9

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules

BIN     := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
# Only what is pinned, by hash, and only wheels: nothing is compiled on the way.
PINNED  := $(INSTALL) --require-hashes --only-binary :all:

# The stamps below carry the interpreter and the place of the checkout in their names: with another
# Python, or in a copy of this folder, the environment is made anew instead of quietly being the old one.
TAG  := $(shell $(PYTHON) -c 'import os, sys, zlib; print("%d.%d.%d-%08x" % (sys.version_info[:3] + (zlib.crc32((os.getcwd() + sys.base_prefix).encode()),)))' 2>/dev/null)
BASE := $(VENV)/base-$(TAG)
DEMO := $(VENV)/demo-$(TAG)
DEV  := $(VENV)/dev-$(TAG)
REAL := $(VENV)/real-$(TAG)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "variables: PYTHON=python3.12 (any from 3.11 on), VENV=folder, ARGS='more arguments', SEED=n"

.PHONY: demo
demo: $(DEMO) ## run examples/flights.py; installs what it needs first
	@$(BIN)/python examples/flights.py $(ARGS)

.PHONY: questions
questions: $(DEV) ## ten questions about the flights, asked of streamlib, Polars and DuckDB
	@$(BIN)/python examples/ten_questions.py $(ARGS)

.PHONY: test
test: $(DEV) ## the tests that need nothing but pip; under 10 minutes
	$(BIN)/python -m pytest -n 2 -m "not real" $(ARGS)

.PHONY: test-real
test-real: $(REAL) ## real servers and processes, and every property with ten times the examples
	@command -v strace >/dev/null || { echo "installing strace, which kills processes at chosen system calls"; \
		apt-get update -qq && apt-get install -y -qq strace >/dev/null; }
	STREAMLIB_TEST_PROFILE=long $(BIN)/python -m pytest -n 2 -m "real or hypothesis" --hypothesis-seed=$(SEED) --timeout=1800 $(ARGS)

.PHONY: check
check: $(DEV) ## format, lint, types (twice) and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

.PHONY: format
format: $(DEV) ## rewrite the code in the project's format, and fix what ruff can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(DEV) ## race against the batch engines; prints JSON
	@$(BIN)/python benchmarks/race.py --json $(ARGS)

.PHONY: pins
pins: $(BASE) ## recompute constraints/ after a change of dependencies (UPGRADE=1: to the newest versions)
	@$(INSTALL) $(UV)
	@compile="$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header --annotation-style line $(if $(UPGRADE),--upgrade)"; \
	$$compile pyproject.toml --extra all --group dev --output-file constraints/dev.txt; \
	$$compile pyproject.toml --group demo --constraint constraints/dev.txt --output-file constraints/demo.txt; \
	$$compile --group real --constraint constraints/dev.txt --output-file constraints/real.txt
	@echo "wrote constraints/dev.txt, demo.txt and real.txt (constraints/flights.txt is kept by hand)"

.PHONY: clean
clean: ## remove the environment, caches and everything built or written by the demo
	rm -rf $(VENV) .demo build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An empty environment. Made anew when a pin changes, so that it holds the pins and nothing else.
$(BASE): constraints/demo.txt constraints/dev.txt constraints/flights.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		found=$$($(PYTHON) --version 2>&1) || found="not found"; \
		echo "streamlib needs Python 3.11 or newer; '$(PYTHON)' is $$found." >&2; \
		echo "Name a newer one, for example: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' has no venv module. Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@test ! -e $(VENV) -o -e $(VENV)/pyvenv.cfg || { \
		echo "'$(VENV)' exists and is no Python environment; move it, or name another: VENV=folder" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(DEMO): $(BASE) pyproject.toml .ci/sdist_links.py
	@echo "installing streamlib and its dependencies (constraints/demo.txt)"
	@$(PINNED) -r constraints/demo.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@echo "installing the flights data (constraints/flights.txt)"
	@$(INSTALL) --require-hashes --no-deps --no-build-isolation --use-pep517 -r constraints/flights.txt
	@touch $@

$(DEV): $(DEMO)
	@echo "installing the tools for tests and checks (constraints/dev.txt)"
	@$(PINNED) -r constraints/dev.txt
	@touch $@

$(REAL): $(DEV) constraints/real.txt
	@echo "installing servers for the tests that need real ones (constraints/real.txt)"
	@$(PINNED) -r constraints/real.txt
	@touch $@
