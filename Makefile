# Two commands: `make ablation` trains and reports, `make test` checks everything. Both set themselves up.
PYTHON ?= python3.11
GRID ?= quick
OVERRIDES ?=
VENV := .venv
# A whole notebook takes under 60 s on an idle machine; one of its cells may take that long on a busy one.
CELL_SECONDS := 60
# Test files side by side, one process per core. The order stays, which is that of tests/conftest.py.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: ablation test types notebooks test-all stress setup lint clean-cache

ablation: $(VENV)/.ready
	$(VENV)/bin/python -m experiments.ablation run $(GRID) --all $(OVERRIDES)

test: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(MAKE) --jobs=2 types notebooks
	$(VENV)/bin/python -m pytest $(PARALLEL) --durations=25 --durations-min=10

types: $(VENV)/.ready-dev
	$(VENV)/bin/mypy

notebooks: $(VENV)/.ready-dev
	$(VENV)/bin/python -m pytest --nbmake --nbmake-timeout=$(CELL_SECONDS) notebooks

# Everything, also what takes long: the tests of `test`, then the stress test.
test-all: test stress

# 200 runs whose workers are killed at random moments; about 20 minutes, so no part of `test`.
stress: $(VENV)/.ready-dev
	$(VENV)/bin/python -m pytest -m stress -s

lint: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

setup: $(VENV)/.ready

# `import sys` of the interpreter decides, so that any name of a fitting Python will do.
$(VENV)/bin/python:
	@chosen=$$(command -v $(PYTHON) || command -v python3 || command -v python) \
		|| { echo "error: Python 3.11 to 3.14 is needed and no Python was found; install it or set PYTHON=/path/to/python3"; exit 1; }; \
	"$$chosen" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
		|| { echo "error: Python 3.11 to 3.14 is needed, $$chosen is $$("$$chosen" -V 2>&1); set PYTHON=/path/to/python3"; exit 1; }; \
	"$$chosen" -m venv $(VENV)

$(VENV)/.ready: requirements.txt requirements.lock | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt requirements-cluster.txt requirements-export.txt requirements-serve.txt requirements.txt requirements.lock | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $(VENV)/.ready $@

clean-cache:
	rm -rf .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
