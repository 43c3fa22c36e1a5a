# The local cluster. GRAFT_CACHE says where it keeps things (~/.cache/graft).
GRAFT_CLUSTER = PYTHONPATH=hack python3 -m graft_cluster

.PHONY: cluster-up cluster-down cluster-status images prometheus

cluster-up: ## Make a kind cluster with S3 and Graft's images, or repair it (LIGHT=1: without torch)
	@$(GRAFT_CLUSTER) up $(if $(LIGHT),--light)

cluster-down: ## Delete the cluster and stop everything that was started for it
	@$(GRAFT_CLUSTER) down

cluster-status: ## Say what is running
	@$(GRAFT_CLUSTER) status

prometheus: ## Fetch prometheus and promtool, if they are not here
	@$(GRAFT_CLUSTER) prometheus

images: ## Build and push the images whose files changed (LIGHT=1: without torch)
	@$(GRAFT_CLUSTER) images $(if $(LIGHT),--light)
