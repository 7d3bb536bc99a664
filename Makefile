# `make` lists the commands. Everything they make is under .venv/ and .modelfleet/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV_VERSION := 0.13.8
AZURITE_VERSION := 3.35.0
VENV := $(CURDIR)/.venv
READY := .venv/.ready
PYTEST_ARGS ?=
WORKLOADS ?= W1 W1f W2 W3 W4 W5 wide big

export MODELFLEET_HOME := $(CURDIR)/.modelfleet
# The demo's source database; another one is named the same way.
export AIRFLOW_CONN_FLIGHTS_DB ?= sqlite:///$(MODELFLEET_HOME)/source.db
export PATH := $(VENV)/bin:$(PATH)
export PYSPARK_PYTHON := $(VENV)/bin/python
export PYSPARK_DRIVER_PYTHON := $(VENV)/bin/python
# One native thread per process: Spark already runs one worker per core.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
# Bytecode is written at first import; compiling everything in `make setup` would take 20 s, most of it for modules never used.
unexport PYTHONDONTWRITEBYTECODE

# $(call apt_install,packages,what they are for): installs Debian packages as root, or says what to install.
define apt_install
if [[ $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  echo "Installing $(1) with apt-get: $(2)"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null
else
  echo "$(2) is missing. Install it (on Debian or Ubuntu, as root: apt-get install $(1)) and run make again." >&2
  exit 1
fi
endef

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z][a-z-]*:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{printf "make %-13s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(READY) java ## Make .venv from the pinned requirements; check Java 17

$(READY): requirements.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
	  echo "Modelfleet needs Python 3.11, but $(PYTHON) is another version. Name one: make PYTHON=/path/to/python3.11 ..." >&2
	  exit 1
	}
	if [[ ! -x .venv/bin/python ]]; then
	  "$(PYTHON)" -c 'import ensurepip' 2>/dev/null || { $(call apt_install,python3-venv,Python's venv module); }
	  "$(PYTHON)" -m venv .venv
	fi
	[[ -x .venv/bin/uv ]] || .venv/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	# --no-deps: the list is complete (overrides.txt says what it leaves out, and why).
	.venv/bin/uv pip install -q --python .venv/bin/python --no-deps -r requirements.txt
	.venv/bin/uv pip install -q --python .venv/bin/python --no-deps -e .
	touch $@

.PHONY: java
java: ## Check for Java 17 or later, which Spark needs; as root on Debian, install it
	@have() { "$${JAVA_HOME:+$$JAVA_HOME/bin/}java" -version 2>&1 | grep -qE 'version "(1[7-9]|[2-9][0-9])'; }
	have || { $(call apt_install,openjdk-17-jre-headless,Java 17); }
	have || { echo "Java is older than 17: set JAVA_HOME to a Java 17." >&2; exit 1; }

.PHONY: postgres
postgres: ## Check for PostgreSQL's programs, which some tests start; as root on Debian, install them
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { $(call apt_install,postgresql,PostgreSQL); }

# Under .venv/, as it is a tool and no result of a run.
.PHONY: azurite
azurite: .venv/azurite/$(AZURITE_VERSION) ## Install Azurite, the emulator of Azure's object store that slow tests start

.venv/azurite/$(AZURITE_VERSION): | $(READY)
	@command -v npm >/dev/null || { echo "npm is missing, which installs Azurite: install Node.js 20 or later and run make again." >&2; exit 1; }
	mkdir -p .venv/azurite
	npm install --silent --no-fund --no-audit --no-save --prefix .venv/azurite azurite@$(AZURITE_VERSION)
	touch $@

.PHONY: demo
demo: setup ## Train, promote and score two fleets on the flights of 2013, under Airflow (about 5 minutes)
	@.venv/bin/python demo/run.py

.PHONY: demo-forecast
demo-forecast: setup ## The same with a forecast fleet: seats on each route, a week ahead
	@.venv/bin/python demo/run.py --fleets route_seats

.PHONY: airflow
airflow: setup ## Serve the Airflow UI on the demo's home
	@.venv/bin/python -m modelfleet.airflow.standalone

.PHONY: mlflow
mlflow: setup ## Serve the two registries: staging on port 5001, production on port 5002
	@.venv/bin/python -c 'from modelfleet import registry; registry.ensure("staging"); registry.ensure("production")'
	export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
	serve() {
	  echo "$$1 registry: http://127.0.0.1:$$2"
	  .venv/bin/mlflow server --backend-store-uri "sqlite:///$(MODELFLEET_HOME)/mlflow/$$1.db" --workers 1 --host 127.0.0.1 --port $$2 &
	}
	serve staging 5001
	serve production 5002
	trap 'kill $$(jobs -p) 2>/dev/null || true' EXIT
	trap 'exit 0' INT TERM
	wait -n

# Two processes; the tests of one file stay together, as they share what is costly to make.
.PHONY: test
test: setup postgres ## Run the tests, but for the slow ones
	@export MODELFLEET_REQUIRE_POSTGRES=1
	.venv/bin/pytest -m 'not slow' -n 2 --dist loadfile $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: setup postgres azurite ## Run the slow tests: Airflow's scheduler, a Spark cluster, libraries on hundreds of series
	@export MODELFLEET_REQUIRE_POSTGRES=1 MODELFLEET_REQUIRE_AZURITE=1
	.venv/bin/pytest -m slow $(PYTEST_ARGS)

.PHONY: test-unit
test-unit: setup ## Run the quick tests: no servers, nothing slow
	@.venv/bin/pytest -m 'not slow and not integration' $(PYTEST_ARGS)

# Quick sizes of the workloads, about 5 minutes on two idle cores; then the page is written anew.
.PHONY: bench
bench: setup postgres ## Measure the quick sizes beside the reference, tuned Spark and a plain script (about 5 minutes)
	@.venv/bin/python -m bench.run W1 --seconds-per-reference 20
	.venv/bin/python -m bench.run W2 W3 W4 W5 --implementations ours,plain
	.venv/bin/python -m bench.report

.PHONY: bench-full
bench-full: setup postgres azurite ## Measure the full sizes: 40 million rows, a million partitions (hours; 70 GB of disk)
	@for workload in $(WORKLOADS); do .venv/bin/python -m bench.run $$workload --full --seconds-per-reference 120; done
	for partitions in 1000 10000 100000; do
	  .venv/bin/python -m bench.run W2 --rows $$((40 * partitions)) --partitions $$partitions --implementations ours
	done
	for bench in poison copying orchestrated cluster; do .venv/bin/python -m bench.$$bench; done
	for bench in incremental resume; do .venv/bin/python -m bench.$$bench --full; done
	.venv/bin/python -m bench.report

.PHONY: lint
lint: lint-ruff lint-types lint-imports ## Check style, types and the direction of imports

.PHONY: lint-ruff
lint-ruff: $(READY) ## Check style and formatting
	@.venv/bin/ruff check .
	.venv/bin/ruff format --check .

.PHONY: lint-types
lint-types: $(READY) ## Check types
	@.venv/bin/mypy

.PHONY: lint-imports
lint-imports: $(READY) ## Check the direction of imports
	@.venv/bin/lint-imports

.PHONY: format
format: $(READY) ## Format the code and fix what can be fixed
	@.venv/bin/ruff check --fix --exit-zero .
	.venv/bin/ruff format .

.PHONY: lock
lock: $(READY) ## Compile requirements.in to requirements.txt, keeping the pins that still fit
	@.venv/bin/uv pip compile -q requirements.in --override overrides.txt --python-version 3.11 --custom-compile-command "make lock" -o requirements.txt

.PHONY: clean
clean: ## Remove what runs made: .modelfleet/
	@rm -rf .modelfleet

.PHONY: distclean
distclean: clean ## Remove also the environment and the caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis include/*.egg-info
	find bench dags demo include plugins tests -name __pycache__ -type d -prune -exec rm -rf {} +
