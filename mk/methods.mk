.PHONY: methods-table
methods-table: setup ## Train every method on the toy base and write the table of docs/methods.md
	@GRAFT_METHODS_STEPS=120 GRAFT_METHODS_TABLE=docs/methods.md $(PYTEST) tests/trainer/test_methods.py -k learns

.PHONY: families-table
families-table: setup ## Try tiny models of every architecture and write the table of docs/bases.md
	@GRAFT_FAMILIES_TABLE=docs/bases.md $(PYTEST) tests/trainer/test_families.py -k default

.PHONY: metrics-table
metrics-table: setup ## Write the tables of docs/metrics.md that are made from the code
	@$(PYTHON) -m tests.unit.telemetry.metrics_table

.PHONY: importing-table
importing-table: setup ## Import adapters as other libraries write them and write the table of docs/importing.md
	@GRAFT_IMPORTING_TABLE=docs/importing.md $(PYTEST) tests/trainer/test_importing.py -k read_or_refused
