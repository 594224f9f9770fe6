# The lab's verbs. `make help` lists them; each sets up .venv by itself when needed.
# Overrides go in ARGS: make sweep ARGS="model.depth=5 search.n_trials=50"

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))

.DEFAULT_GOAL := help
.PHONY: help install sweep worker train diagnose symmetry answers report compare open ui theory status repair metrics bench test test-fast test-e2e test-faults cluster test-cluster lint format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## set up .venv from the lock; afterwards .venv/bin/initlab is there

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no python3.11, 3.12 or 3.13 found; set PYTHON=/path/to/python" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14))' || \
		{ echo "make: $(PYTHON) is not 3.11, 3.12 or 3.13; set PYTHON=/path/to/python" >&2; exit 2; }
	@echo "setting up $(VENV) (once; some minutes)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

sweep: $(READY) ## search init scale and bias value on digits, track every run, write the report
	@$(BIN)/initlab sweep $(ARGS)

worker: $(READY) ## join a study: train its trials beside those who work on it already
	@$(BIN)/initlab worker $(ARGS)

train: $(READY) ## train one network and log its run
	@$(BIN)/initlab train $(ARGS)

diagnose: $(READY) ## the verdict on one network and its data, before training
	@$(BIN)/initlab diagnose $(ARGS)

symmetry: $(READY) ## which neurons must stay copies, and what broke the ties of the others
	@$(BIN)/initlab symmetry $(ARGS)

answers: $(READY) ## answer the seven questions by experiment (some minutes)
	@$(BIN)/initlab answers $(ARGS)

report: $(READY) ## make the HTML report of a study again
	@$(BIN)/initlab report $(ARGS)

compare: $(READY) ## set studies or runs side by side: make compare ARGS="NAME_OR_ID NAME_OR_ID"
	@$(BIN)/initlab compare $(ARGS)

open: $(READY) ## the address of a study or a run in the MLflow UI: make open ARGS="NAME_OR_ID"
	@$(BIN)/initlab open $(ARGS)

ui: $(READY) ## serve the MLflow UI on 127.0.0.1
	@$(BIN)/initlab ui $(ARGS)

theory: $(READY) ## mean-field figures at a point: make theory ARGS="activation=tanh sigma_b2=0.05"
	@$(BIN)/initlab theory $(ARGS)

status: $(READY) ## list the studies and their trials, and whether MLflow holds the same
	@$(BIN)/initlab status $(ARGS)

repair: $(READY) ## mend what a crash has left of a study (the next sweep of it does so too)
	@$(BIN)/initlab repair $(ARGS)

bench: $(READY) ## measure the table in benchmarks/RESULTS.md (hours); some rows: make bench ARGS="row=digits,cnn"
	@$(BIN)/python -m benchmarks $(ARGS)

test: $(READY) ## run all tests, on all cores
	@$(BIN)/pytest -n auto --dist loadfile $(ARGS)

test-fast: $(READY) ## run the tests that take seconds
	@$(BIN)/pytest -m "not slow" $(ARGS)

E2E := $(VENV)/.e2e

$(E2E): $(READY) requirements-e2e.lock
	@command -v chromium >/dev/null || { echo "installing chromium"; apt-get update -qq && apt-get install -qq -y chromium >/dev/null; } || \
		{ echo "make: chromium is not here and could not be installed; install it" >&2; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-e2e.lock
	@touch $(E2E)

test-e2e: $(E2E) ## test the report and the MLflow UI in a browser (minutes; screenshots in e2e-screenshots/)
	@$(BIN)/pytest tests/e2e $(ARGS)

FAULTS := $(BIN)/pytest -rP -p no:logging
# What may run beside anything, as no time is measured in it.
REFUSALS := $(addprefix tests/faults/,$(addsuffix .py,test_broken_configurations test_broken_data test_passwords))

test-faults: $(READY) ## inject faults and bad input (minutes)
ifeq ($(ARGS),)
	@$(FAULTS) -n auto $(REFUSALS)
	@$(FAULTS) tests/faults $(addprefix --ignore=,$(REFUSALS))
else
	@$(FAULTS) tests/faults $(ARGS)
endif

CLUSTER := $(VENV)/.cluster
DAEMONS := slurm-wlm munge slurmdbd mariadb-server-core mariadb-client-core postgresql

$(CLUSTER): $(READY) requirements-cluster.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-cluster.lock
	@touch $(CLUSTER)

cluster: $(CLUSTER) ## set up what Slurm, PostgreSQL and MLflow servers with passwords need: docs/cluster.md

test-cluster: $(CLUSTER) ## test studies on a real Slurm and PostgreSQL, started on loopback (minutes)
	@PATH="$$PATH:/usr/sbin"; { command -v slurmctld && command -v slurmdbd && command -v munged && command -v mariadbd && \
		ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 || { echo "installing $(DAEMONS)"; apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(DAEMONS) >/dev/null; } || \
		{ echo "make: could not be installed; as root: apt-get install $(DAEMONS)" >&2; exit 2; }
	@$(BIN)/pytest tests/cluster $(ARGS)

lint: $(READY) ## check format, style, types and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

metrics: $(READY) ## write docs/metrics.md from the registry of probes
	@$(BIN)/python -m pipeline.probes.docs > docs/metrics.md

lock: ## pin what pyproject.toml asks for, at the newest versions, in requirements.lock
	@rm -rf .lockenv && "$(PYTHON)" -m venv .lockenv
	@.lockenv/bin/pip install --quiet --disable-pip-version-check -e ".[dev]"
	@.lockenv/bin/pip freeze --all --exclude pip --exclude initlab | sed 's/+cpu$$//' > requirements.lock
	@rm -rf .lockenv

clean: ## remove .venv and caches; studies under mlruns/ stay
	@rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
