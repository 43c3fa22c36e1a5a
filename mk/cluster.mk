# The local cluster. GRAFT_CACHE says where it keeps things (~/.cache/graft).
GRAFT_CLUSTER = PYTHONPATH=hack python3 -m graft_cluster

.PHONY: cluster-up cluster-down cluster-status images publish-images prometheus

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

publish-images: ## Push the local cluster's images to TO=registry.example.com/graft, where GRAFT_IMAGES_FROM takes them from
	@test -n "$(TO)" || { echo "say where to: make publish-images TO=registry.example.com/graft"; exit 2; }
	@$(GRAFT_CLUSTER) publish-images --to "$(TO)"
