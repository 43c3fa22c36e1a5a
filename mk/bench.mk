.PHONY: memory-table

memory-table: setup ## Compare the memory estimator with published measurements (the table of docs/memory.md)
	@$(PYTHON) -m tests.unit.registry.published_memory
