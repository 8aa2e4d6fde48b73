# make demo | test | torture | check | audit | serve | bench: each makes the environment first, from nothing but Python and pip.

PYTHON ?= python3
VENV ?= .venv
# Where the demo keeps its store and its datasets.
ATLAS_HOME ?= $(CURDIR)/atlas-home
export ATLAS_HOME
# Trainings run in worker processes; more threads in each would only fight for the cores.
export OMP_NUM_THREADS ?= 1

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow torture check audit serve bench clean

demo: $(INSTALLED)
	$(BIN)/atlas demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --slow

# New cases from a seed, for so many seconds: make torture SECONDS=60 SEED=7 (a quarter of them for the inputs)
torture: SECONDS ?= 1200
torture: $(INSTALLED)
	$(BIN)/python -W ignore -m tests.torture inputs --seconds $$(($(SECONDS) / 4)) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -W ignore -m tests.torture faults --seconds $$(($(SECONDS) * 3 / 4 - 30)) $(if $(SEED),--seed $(SEED))

check: $(INSTALLED)
	$(BIN)/ruff check atlas_core tasks flows tests data .ci
	$(BIN)/mypy

audit: $(INSTALLED)
	$(BIN)/python .ci/audit.py

serve: $(INSTALLED)
	$(BIN)/python -m flows.serve

bench: $(INSTALLED)
	$(BIN)/atlas bench

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) $(ATLAS_HOME) .mypy_cache .ruff_cache .pytest_cache
