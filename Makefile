# `make` only wraps: the program is the console script `credit-risk` in .venv/bin.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_ARGS ?=
BENCH_OUT ?= build/benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo test test-all up jvm bench lint format lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error Python 3.11 or later is needed, found $$($(PYTHON) --version); set PYTHON=python3.12"; exit 1; }
	@echo "installing into $(VENV) (about a minute, once)"
	@$(PYTHON) -m venv $(VENV) || { echo "error no venv: install your system's python3-venv package"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -oE '^uv==[^ ;]+' requirements.lock)" \
	  && $(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode requirements.lock \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . \
	  || { echo "error the packages cannot be installed: check the network and the disk, then run make again"; exit 1; }
	@touch $(READY)

demo: $(READY) ## simulate 50,000 loans, run every asset and check, print the results
	@$(BIN)/credit-risk demo

test: $(READY) ## the tests; those that need Java or Chromium skip without them
	@$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-all: $(READY) ## the tests with the slow ones: both engines compared, real daemons
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

up: $(READY) ## serve the Dagster UI (port 3000) and the dashboard (port 8050)
	@$(BIN)/credit-risk up

jvm: $(READY) ## fetch Delta's JARs once, for the engines that need Java
	@$(BIN)/credit-risk jvm

bench: $(READY) ## measure the main job at 50,000 and 500,000 loans beside polars, print how its cost grows
	@$(BIN)/credit-risk benchmark --records 50000 --incremental 1 --peer --json $(BENCH_OUT)/50k.json
	@$(BIN)/credit-risk benchmark --records 500000 --incremental 1 --peer --json $(BENCH_OUT)/500k.json
	@$(BIN)/credit-risk benchmark --fit $(BENCH_OUT)/50k.json $(BENCH_OUT)/500k.json

lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## mend the layout of the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

lock: ## pin the dependencies again
	@$(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --extra server --upgrade --no-annotate --no-header \
	  --quiet pyproject.toml -o requirements.lock

clean: ## remove the environment; the home with its lake stays
	@rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache
