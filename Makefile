# Needs make, and a Python of 3.11 or newer (or root on Debian, to install what is missing).
# make help says what there is.

VENV := .venv
PYTHON := $(VENV)/bin/python
# A worker for each core, within bounds: each keeps servers of its own.
PYTEST_WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 2 ? 2 : cores > 4 ? 4 : cores)))
PYTEST ?= $(PYTHON) -m pytest
ARGS ?=
CHECKED := vya_backupd tests
# Tests start programs by the hundred: none shall compile the product again, not even where PYTHONDONTWRITEBYTECODE is set.
COMPILE := $(PYTHON) -m compileall -q $(CHECKED)

.PHONY: help setup servers test lint format demo bench clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## a virtual environment in .venv with everything that development needs

$(VENV)/.installed: pyproject.toml .ci/setup
	bash .ci/setup $(VENV)
	@touch $@

servers: setup ## database servers to test on: as root packages, otherwise a folder in ~/.cache
	bash .ci/servers

# Without all servers the tests run all the same; header and summary say what was not tested.
test: setup ## the whole suite, on all servers that can be had
	-@bash .ci/servers
	@$(COMPILE)
	$(PYTEST) -n $(PYTEST_WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

lint: setup ## style, types, layers, security
	bash .ci/lint $(CHECKED)

format: setup ## let ruff rewrite what it can
	$(PYTHON) -m ruff check --fix $(CHECKED)
	$(PYTHON) -m ruff format $(CHECKED)

demo: setup ## see it work: a daemon, throw-away servers, backups and restores; KEEP=1 leaves them running
	-@$(PYTHON) -m vya_backupd.testing.provision --unpack mariadb >$(VENV)/servers.log 2>&1 </dev/null
	@$(COMPILE)
	$(PYTHON) -m vya_backupd.testing.demo $(if $(KEEP),--keep)

bench: setup ## the measurements in docs/performance.md, half an hour long on a quiet machine
	-@bash .ci/servers
	$(PYTHON) -m tests.benchmarks

clean: ## remove what the targets above made inside this folder
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist htmlcov demo
	rm -rf *.egg-info
	rm -f .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
