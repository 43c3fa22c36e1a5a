.PHONY: methods-table
methods-table: setup ## Train every method on the toy base and write the table of docs/methods.md
	@GRAFT_METHODS_STEPS=120 GRAFT_METHODS_TABLE=docs/methods.md $(PYTEST) tests/trainer/methods/test_methods.py -k learns

.PHONY: families-table
families-table: setup ## Try tiny models of every architecture and write the table of docs/bases.md
	@GRAFT_FAMILIES_TABLE=docs/bases.md $(PYTEST) tests/trainer/bases/test_families.py -k default

.PHONY: test-families
test-families: setup cluster-up images ## The whole loop of every kind of base on the CPU engine, into the table of docs/bases.md (FAMILY=llama for one)
	GRAFT_FAMILIES_TABLE=docs/bases.md $(PYTEST) -m families tests/families $(if $(FAMILY),-k "[$(FAMILY)]")

.PHONY: gpu-bundle gpu-check
gpu-bundle: setup ## Pack what a machine with a GPU lacks (hack/README.md; GPU_HAS=packages.txt GPU_PYTHON=3.12 GPU_CUDA=130)
	@$(PYTHON) -m graft_gpu bundle --python $(or $(GPU_PYTHON),3.12) --cuda $(or $(GPU_CUDA),130) $(if $(GPU_HAS),--has $(GPU_HAS))

gpu-check: setup ## What that machine is to run, in ten minutes (GPU_DRY_RUN=1: on a CPU, with tiny shapes)
	@$(PYTHON) -m graft_gpu check $(if $(GPU_DRY_RUN),--dry-run)

.PHONY: metrics-table
metrics-table: setup ## Write the tables of docs/metrics.md that are made from the code
	@$(PYTHON) -m tests.unit.telemetry.metrics_table

.PHONY: importing-table
importing-table: setup ## Import adapters as other libraries write them and write the table of docs/importing.md
	@GRAFT_IMPORTING_TABLE=docs/importing.md $(PYTEST) tests/trainer/importing/test_importing.py -k read_or_refused
