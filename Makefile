# Graft. `make help` lists everything; `make demo` and `make test` need nothing before them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export GRAFT_CACHE ?= $(HOME)/.cache/graft
export UV_CACHE_DIR ?= $(GRAFT_CACHE)/uv
export PYTHONPATH := operator/src:registry/src:serving_image/src:trainer_image/src:cli/src:hack:.
# Bytecode is kept, that of the tests with it: without it every run compiles five hundred of them anew.
unexport PYTHONDONTWRITEBYTECODE

UV_VERSION := 0.13.9
UV := $(GRAFT_CACHE)/uv-$(UV_VERSION)/bin/uv
VENV := .venv
PYTHON := $(VENV)/bin/python
PYTEST := $(PYTHON) -m pytest -q
# Two processes: the tests that run this way share nothing, and every machine has two cores.
PARALLEL := -n 2 --dist worksteal
SOURCES := operator/src registry/src serving_image/src trainer_image/src cli/src hack demo tests
TYPED := operator/src/graft_operator registry/src/graft_registry serving_image/src/graft_serving trainer_image/src/graft_trainer cli/src/graft_cli hack/graft_cluster hack/graft_docs hack/graft_gpu hack/generate_crds.py demo tests

##@ The two commands

include mk/*.mk

.PHONY: test
test: check docs cluster-up ## Everything: lint, types, contracts, documentation, unit, wire, trainer, serving, end to end
	@$(MAKE) -j2 test-e2e test-beside

##@ Develop

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.installed ## Create .venv with everything pinned

$(UV):
	@echo "Installing uv $(UV_VERSION) into $(GRAFT_CACHE)"
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "Installing Debian's python3-venv"; apt-get update -qq && apt-get install -qq -y python3-venv; }
	@python3 -m venv $(GRAFT_CACHE)/uv-$(UV_VERSION)
	@$(GRAFT_CACHE)/uv-$(UV_VERSION)/bin/pip install -q uv==$(UV_VERSION)

$(VENV)/.installed: constraints/dev.txt | $(UV)
	@echo "Installing the pinned packages into $(VENV)"
	@test -x $(PYTHON) || $(UV) venv -q --python python3.11 $(VENV)
	@$(UV) pip sync -q --compile-bytecode --python $(PYTHON) constraints/dev.txt
	@touch $@

.PHONY: lock
lock: $(UV) ## Pin the packages of pyproject.toml again
	$(UV) pip compile pyproject.toml --all-extras --no-emit-index-url --no-header --no-annotate -q --upgrade --python-version 3.11 -o constraints/dev.txt
	echo "mkdocs-material>=9.8,<10" | $(UV) pip compile - --no-emit-index-url --no-header --no-annotate -q --upgrade --python-version 3.11 -o constraints/docs.txt

.PHONY: format
format: setup ## Format the code
	$(VENV)/bin/ruff check --fix -q $(SOURCES)
	$(VENV)/bin/ruff format -q $(SOURCES)

##@ Test

# Beside the tests, which begin first and take longest; with -k a failure of one hides none of another.
.PHONY: check
check: setup ## The fast part: lint, types, import contracts, and the tests that need nothing but Python
	@$(MAKE) -k -j2 -Otarget test-fast types lint imports

.PHONY: lint
lint: setup ## Format and lint
	$(VENV)/bin/ruff format --check -q $(SOURCES)
	$(VENV)/bin/ruff check -q $(SOURCES)

.PHONY: types
types: setup ## mypy --strict
	$(VENV)/bin/mypy $(TYPED)

.PHONY: imports
imports: setup ## Import contracts: who may know whom
	$(VENV)/bin/lint-imports --no-cache

.PHONY: test-fast
test-fast: setup ## Unit, wire and contract tests that need nothing but Python
	$(PYTEST) $(PARALLEL) tests/unit tests/wire/operator tests/contract

.PHONY: test-trainer
test-trainer: setup ## The real trainer on CPU
	$(PYTEST) $(PARALLEL) tests/trainer -m "not gpu"

.PHONY: test-kills
test-kills: setup ## Kill training runs at random moments, on a store that fails now and then (KILLS=20, SEED=20)
	KILLS=$(or $(KILLS),20) SEED=$(or $(SEED),20) $(PYTEST) -s tests/trainer/resuming/test_kills.py

.PHONY: test-serving
test-serving: setup ## The agent against an engine double
	$(PYTEST) $(PARALLEL) tests/serving

.PHONY: test-chart
test-chart: setup cluster-up prometheus ## The chart as the cluster's Helm renders it
	$(PYTEST) $(PARALLEL) tests/chart

.PHONY: test-cli
test-cli: setup cluster-up chromium ## kubectl graft against a real API server with the real CRDs, its dashboard in Chromium
	$(PYTEST) tests/cli

.PHONY: test-s3
test-s3: setup cluster-up ## The registry on two S3 servers, one of them real
	GRAFT_VERSITYGW=$(GRAFT_CACHE)/bin/versitygw $(PYTEST) $(PARALLEL) tests/wire/registry

.PHONY: test-oci
test-oci: setup ## Adapters from and to a real OCI registry, built once into the cache
	@PYTHONPATH=hack python3 -m graft_cluster registry-program
	GRAFT_DISTRIBUTION=$(GRAFT_CACHE)/bin/registry $(PYTEST) $(PARALLEL) tests/wire/oci tests/wire/exports

.PHONY: test-export
EXPORT_VENV := $(GRAFT_CACHE)/export-venv
test-export: setup ## Exports to MLflow and W&B, whose packages get an environment of their own
	@test -x $(EXPORT_VENV)/bin/python || $(UV) venv -q --python python3.11 $(EXPORT_VENV)
	@$(UV) pip install -q --python $(EXPORT_VENV)/bin/python -r constraints/export.in
	$(EXPORT_VENV)/bin/python -m pytest -q tests/wire/exports/test_mlflow.py tests/wire/exports/test_wandb.py

.PHONY: test-e2e
test-e2e: setup cluster-up images prometheus ## End to end on the kind cluster: real API server, S3, training and vLLM
	$(PYTEST) -m e2e tests/e2e

# The end-to-end tests wait for the cluster much of the time; at the lowest priority these fill that, and delay little.
# With -k a suite that fails hides none of those after it.
BESIDE := test-trainer test-serving test-chart test-cli test-s3 test-oci
.PHONY: test-beside
test-beside: setup cluster-up ## What `make test` runs beside the end-to-end tests: trainer, serving, chart, plugin, S3 and OCI
	@mkdir -p build
	@echo "Beside the end-to-end tests: trainer, serving, chart, plugin, S3 and OCI, in build/test-beside.log"
	@code=0; MAKEFLAGS= nice -n 19 $(MAKE) -k $(BESIDE) >build/test-beside.log 2>&1 || code=$$?; \
	cat build/test-beside.log; \
	test $$code = 0 || sed -n "s/^make.*\*\*\* \[[^]]*: \([a-z0-9-]*\)\] Error.*/Failed beside the end-to-end tests: \1/p" build/test-beside.log; \
	exit $$code

# What names another engine than the cluster's: docs/engines.md.
export ENGINE ENGINE_KEY ENGINE_BASE ENGINE_ADAPTERS ENGINE_ADAPTERS_THERE

.PHONY: test-engine
test-engine: setup $(if $(ENGINE),,cluster-up images) ## The engine's behaviour that serving relies on (ENGINE=http://…: of your own engine)
	$(PYTEST) -m engine tests/engine

.PHONY: test-kueue
test-kueue: setup cluster-up images ## Trainings in the queues of a real Kueue, built once into the cache; a quarter of an hour
	GRAFT_VERSITYGW=$(GRAFT_CACHE)/bin/versitygw $(PYTEST) -m kueue tests/wire/kueue tests/kueue

.PHONY: test-soak
test-soak: setup cluster-up images ## Hundreds of swaps and deaths under load, outages, bad versions (GRAFT_SOAK_SWAPS, _KILLS, _OUTAGE_SECONDS)
	$(PYTEST) -m soak tests/e2e

.PHONY: test-gpu
test-gpu: setup ## What needs a CUDA GPU
	$(PYTEST) -m gpu tests

.PHONY: manifests
manifests: setup ## Generate the CRDs from the models
	$(PYTHON) hack/generate_crds.py
