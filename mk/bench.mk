.PHONY: memory-table

memory-table: setup ## Compare the memory estimator with published measurements (the table of docs/memory.md)
	@$(PYTHON) -m tests.unit.registry.published_memory

.PHONY: bench-router
bench-router: setup ## Measure what the router adds to a request, beside another router (docs/benchmarks.md; ROUTER="--page docs/benchmarks.md")
	@$(PYTHON) -m tests.bench.router $(ROUTER)

.PHONY: bench-agent
bench-agent: setup ## Measure what many adapters cost the agent (docs/benchmarks.md; AGENT="--adapters 1 100 1000 --page docs/benchmarks.md")
	@$(BENCH) tests.bench.agent $(AGENT)

.PHONY: bench-check
bench-check: setup ## Measure what it costs to tell whether an adapter fits a base
	@$(PYTHON) -m tests.bench.compatibility_check

BENCH = PYTHONPATH=$(PYTHONPATH) GRAFT_VERSITYGW=$(GRAFT_CACHE)/bin/versitygw $(PYTHON) -m

.PHONY: bench-train bench-transfer
bench-train: setup ## Train answers and preferences against a bare PEFT loop and TRL, and transfer against plain boto3 (docs/benchmarks.md)
	@$(BENCH) tests.bench.training
	@$(BENCH) tests.bench.transfer

bench-transfer: setup ## Only the second: publish and fetch against plain boto3
	@$(BENCH) tests.bench.transfer

.PHONY: bench-scale
bench-scale: setup cluster-up ## Measure the operator with 1,000 and 10,000 adapters (docs/scale.md; SCALE="--adapters 1000")
	@$(BENCH) tests.bench.scale --page docs/scale.md $(SCALE)

.PHONY: test-chaos test-fields
test-chaos: setup cluster-up ## Lives behind proxies that let the operator down (RUNS=200; CHAOS_SEED=7 runs one again)
	@$(BENCH) tests.chaos --runs $(or $(RUNS),200)

test-fields: setup cluster-up ## Every field of the CRDs unset, at its limits, beyond, changed while live and changed back
	@$(BENCH) tests.fields

.PHONY: test-histories
test-histories: setup ## Random lives in the simulation, and a death at each write of one (HISTORIES=2000 ACTS=30)
	HISTORIES=$(or $(HISTORIES),2000) ACTS=$(or $(ACTS),30) DEATHS=1 $(PYTEST) $(PARALLEL) \
	  tests/unit/reconcilers/faults/test_histories.py tests/unit/reconcilers/faults/test_crashes.py

.PHONY: bench-data
bench-data: setup ## Read and render rows, beside datasets with TRL (docs/benchmarks.md; SCALE=1 for a million rows, PROCESSES=2, DATA="--rounds 1")
	@$(BENCH) tests.bench.data $(or $(SCALE),0.02) $(or $(PROCESSES),1) $(DATA)
