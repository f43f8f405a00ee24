# `make demo` and `make test` bring their own tools: a virtual environment in .venv, made once and
# brought up to date when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
JOBS ?= 2

.PHONY: help demo test lint bench clean

help:
	@echo "make demo    train on digits, build Verilog, simulate all test samples"
	@echo "make test    lint, types and the test suite"
	@echo "make lint    ruff and mypy alone"
	@echo "make bench   the benchmarks"
	@echo "make clean   remove build/ (and not .venv)"

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/lutgen demo -o build/demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

bench: $(READY)
	set -e; for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file; done

clean:
	rm -rf build
