.PHONY: memory-table

memory-table: setup ## Compare the memory estimator with published measurements (the table of docs/memory.md)
	@$(PYTHON) -m tests.unit.registry.published_memory

.PHONY: bench-router
bench-router: setup ## Measure what the router adds to a request, at 500 a second (docs/benchmarks.md)
	@$(PYTHON) -m tests.bench.router_overhead
