DEMO_ARGUMENTS = $(if $(BASE),--base $(BASE)) $(if $(REVISION),--revision $(REVISION)) \
	$(if $(NEXT_REVISION),--next-revision $(NEXT_REVISION))

.PHONY: demo demo-down

demo: setup cluster-up ## Train, serve, update, roll back and re-adapt two adapters (BASE=repo: your own base)
	@$(PYTHON) -m demo $(DEMO_ARGUMENTS)

demo-down: setup ## Remove everything that the demo made, the local cluster included
	@$(PYTHON) -m demo --down || echo "  going on without the cluster's help"
	@$(MAKE) cluster-down
