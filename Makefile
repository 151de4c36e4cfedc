# Everything that a fresh clone needs: Python 3.11 to 3.13, make, and a package registry.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PORT ?= 5000
BASE ?= main
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: help train app test quick test-slow results benchmark benchmark-quick lint format doctor ui report screenshots browser postgresql lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

train: .venv/installed ## train the MNIST app on all of MNIST
	@$(BIN)/python -m apps.mnist_mlp train

app: .venv/installed-dev ## copy an app: make app NAME=my_digits FROM=lenet5
	@$(BIN)/python -m common.cli.new_app $(NAME) --from $(or $(FROM),lenet5)

test: .venv/installed-dev browser postgresql ## run the fast tests
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --no-loadscope-reorder

quick: lint ## check style and types, and test the files that differ from the last commit
	@tests="$$($(BIN)/python -m tests.changed)"; test -z "$$tests" || $(BIN)/python -m pytest $$tests

test-slow: .venv/installed-dev ## reproduce the published results (hours)
	@$(BIN)/python -m pytest -m slow

results: .venv/installed ## measure the table of docs/results.md again (hours)
	@$(BIN)/python -m benchmarks.published

benchmark: .venv/installed-benchmark ## measure the speed beside PyTorch, JAX and others (hours)
	@$(BIN)/python -m benchmarks.speed

benchmark-quick: .venv/installed ## compare the speed with a commit's: make benchmark-quick BASE=main
	@$(BIN)/python -m benchmarks.speed.quick --base $(BASE)

lint: .venv/installed-dev ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

format: .venv/installed-dev ## fix style automatically
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

doctor: .venv/bin/python ## check the installation, and say how to fix its problems
	@$(BIN)/python -m common.cli.doctor

ui: .venv/installed ## compare runs in the MLflow UI
	@$(BIN)/python -m common.cli.ui --port $(PORT)

report: .venv/installed ## show the page of a run: make report RUN=…; without RUN, of the newest
	@$(BIN)/python -m common.cli.report $(RUN)

screenshots: .venv/installed-dev browser ## take screenshots of the UI for docs/ (minutes)
	@mkdir -p docs
	@$(BIN)/python -m tests.screenshots

browser: # the tests of the UI need it; installs Debian's if there is none
	@for program in chromium chromium-browser google-chrome; do command -v $$program >/dev/null && exit; done; \
	echo "installing chromium …"; \
	{ $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install --yes --no-install-recommends chromium; } >/dev/null 2>&1 || \
	{ echo "error: no Chromium found; install the package chromium, or Google Chrome" >&2; exit 2; }

postgresql: # the tests of the team's store need it; installs Debian's if there is none
	@for program in /usr/lib/postgresql/*/bin/initdb initdb; do command -v $$program >/dev/null && exit; done; \
	echo "installing postgresql …"; \
	{ $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install --yes --no-install-recommends postgresql; } >/dev/null 2>&1 || \
	{ echo "error: no PostgreSQL found; install the package postgresql" >&2; exit 2; }

lock: .venv/installed-dev ## compile the pinned requirements from pyproject.toml
	@$(call compile,requirements.txt,)
	@$(call compile,requirements-dev.txt,--extra dev -c requirements.txt)
	@$(call compile,requirements-gpu.txt,--extra gpu -c requirements.txt)
	@$(call compile,requirements-jax.txt,--extra jax -c requirements.txt)
	@$(call compile,requirements-team.txt,--extra team -c requirements.txt)
	@$(call compile,requirements-cluster.txt,--extra cluster -c requirements.txt)
	@$(call compile,requirements-shards.txt,--extra shards -c requirements.txt)
	@$(call compile,requirements-benchmark.txt,--extra benchmark -c requirements.txt)

clean: ## remove the environment and caches; runs and data stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

compile = $(BIN)/uv pip compile pyproject.toml $(2) --universal --python-version 3.11 --generate-hashes --upgrade --quiet \
	--custom-compile-command "make lock" --output-file $(1)

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 is needed; give its path with make PYTHON=..." >&2; exit 2; }
	@echo "making .venv with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	@echo "installing requirements.txt, 3 GB, some minutes …"
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt | .venv/installed
	@echo "installing requirements-dev.txt …"
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@

.venv/installed-benchmark: requirements-benchmark.txt | .venv/installed
	@echo "installing requirements-benchmark.txt, 5 GB, some minutes …"
	@$(PIP_INSTALL) -r requirements-benchmark.txt
	@touch $@
