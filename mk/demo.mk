DEMO_ARGUMENTS := $(if $(BASE),--base $(BASE)) $(if $(REVISION),--revision $(REVISION)) \
	$(if $(NEXT_REVISION),--next-revision $(NEXT_REVISION))

.PHONY: demo
demo: setup cluster-up ## Train, serve, update, roll back and re-adapt two adapters on a local cluster (BASE=<hub repo> for your own base)
	@$(PYTHON) -m demo $(DEMO_ARGUMENTS)

.PHONY: demo-down
demo-down: setup ## Remove everything that the demo made, the cluster included
	@$(PYTHON) -m demo --down
	@$(MAKE) cluster-down
