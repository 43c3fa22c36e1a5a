# Flux and Argo CD, built once into the cache, against an example repository in a Git server of the cluster.
.PHONY: gitops-tools test-gitops

gitops-tools: ## Build Flux, Argo CD and a Git server, if they are not here (TOOL=flux or argocd: only that one)
	@$(GRAFT_CLUSTER) gitops $(if $(TOOL),--only $(TOOL))

test-gitops: setup cluster-up images gitops-tools ## Adapters and bases by commits, on the real Flux and Argo CD (TOOL=flux or argocd)
	$(PYTEST) -m gitops tests/gitops $(if $(TOOL),-k $(TOOL))
