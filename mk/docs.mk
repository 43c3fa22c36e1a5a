# The documentation as a site. mkdocs has packages of its own, which nothing else needs: they are not in .venv.
DOCS_VENV := build/docs-venv
DOCS_SITE := build/site

.PHONY: docs docs-serve docs-reference

$(DOCS_VENV)/.installed: constraints/docs.txt | $(UV)
	@test -x $(DOCS_VENV)/bin/python || $(UV) venv -q --python python3.11 $(DOCS_VENV)
	@$(UV) pip sync -q --python $(DOCS_VENV)/bin/python constraints/docs.txt
	@touch $@

docs: $(DOCS_VENV)/.installed ## Build the documentation into build/site; a broken link fails (GRAFT_DOCS_URL, GRAFT_REPOSITORY_URL: where it will be)
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --site-dir $(DOCS_SITE)
	@echo "$(DOCS_SITE)/index.html and $(DOCS_SITE)/llms.txt"

docs-serve: $(DOCS_VENV)/.installed ## Show the documentation on http://127.0.0.1:8000 while it is written
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs serve

docs-reference: setup ## Generate docs/reference from the CRDs, the chart, the plugin and the reasons in the code
	@$(PYTHON) -m graft_docs
