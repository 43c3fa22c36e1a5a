# Releases. The version is that of pyproject.toml, which the chart has, too.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
TOWNCRIER := $(UV) tool run -q --python python3.11 --from towncrier==25.8.0 towncrier

.PHONY: publish
publish: setup ## Build the images from public bases, push them to REGISTRY and pack the chart with their digests
	@test -n "$(REGISTRY)" || { echo "say where to: make publish REGISTRY=registry.example.com/graft"; exit 2; }
	@PATH="$(GRAFT_CACHE)/bin:$$PATH" $(PYTHON) hack/publish.py --registry "$(REGISTRY)" --version "$(VERSION)" \
	  $(if $(PYTHON_BASE),--python "$(PYTHON_BASE)") $(if $(PLATFORMS),--platforms "$(PLATFORMS)") $(if $(BUILD_NETWORK),--network "$(BUILD_NETWORK)")

.PHONY: changelog release
changelog: $(UV) ## Show what changelog.d/ would add to CHANGELOG.md
	@$(TOWNCRIER) build --draft --version "$(VERSION)"

release: setup ## Try a release: the changelog, the chart and the plugin's archive in build/; nothing is pushed
	@test "$(VERSION)" = "$$(sed -n 's/^version: //p' charts/graft/Chart.yaml)" || { echo "pyproject.toml and Chart.yaml differ"; exit 2; }
	@mkdir -p build/release && $(MAKE) -s changelog > build/release/CHANGES.md
	@PATH="$(GRAFT_CACHE)/bin:$$PATH" helm package charts/graft --destination build/release >/dev/null
	@$(MAKE) cli-archive && cp $(CLI_ARCHIVE) build/release/
	@$(UV) build -q --out-dir build/release
	@(cd build/release && sha256sum *.tgz *.tar.gz *.whl > SHA256SUMS) && ls build/release
	@echo "To release: bump the version, '$(notdir $(UV)) tool run towncrier build', commit, and push the tag v$(VERSION)."

ACTIONLINT := $(GRAFT_CACHE)/bin/actionlint
$(ACTIONLINT):
	@GOBIN=$(GRAFT_CACHE)/bin go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.8

.PHONY: lint-workflows
lint-workflows: $(UV) $(ACTIONLINT) ## Check the GitHub workflows with actionlint and zizmor
	@$(ACTIONLINT) .github/workflows/*.yml
	@$(UV) tool run -q --python python3.11 --from zizmor==1.14.2 zizmor --offline --pedantic --no-progress .github
