# Each target makes the environment where it is missing. PYTHON may name another interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test quick wheel check bench planted format clean

demo: $(READY)  ## sample data and weights, every usable engine, a table
	$(BIN)/modelport demo --out demo

# A process for each of two cores. A file stays in one of them: what its tests share is made once.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(READY)  ## the whole suite, about 10 minutes on two idle cores
	$(PYTEST)

quick: $(READY)  ## all but the slow tests, about two minutes; first what failed last, and no further than the first failure
	$(PYTEST) -m 'not slow' --exitfirst --failed-first

wheel: $(READY)  ## the wheel in an empty environment, with the README's commands
	.ci/wheel

check: $(READY)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## every bar, both sides in one run; writes docs/benchmarks.md (up to 25 minutes, idle machine)
	$(BIN)/python benchmarks/all.py

planted: $(READY)  ## faults planted into six networks: traced, named, repaired? writes docs/planted-faults.md (about an hour)
	$(BIN)/python benchmarks/planted_faults.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "modelport needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
