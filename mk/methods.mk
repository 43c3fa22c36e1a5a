.PHONY: methods-table
methods-table: setup ## Train every method on the toy base and write the table of docs/methods.md
	@GRAFT_METHODS_STEPS=120 GRAFT_METHODS_TABLE=docs/methods.md $(PYTEST) tests/trainer/test_methods.py -k learns
