.PHONY: stores-table
stores-table: setup ## Keep a registry on stores of nine makers and write the table of docs/object-store.md
	@GRAFT_VERSITYGW=$(GRAFT_CACHE)/bin/versitygw GRAFT_STORES_TABLE=docs/object-store.md \
	  $(PYTEST) tests/wire/registry/stores/test_stores.py -k keeps
