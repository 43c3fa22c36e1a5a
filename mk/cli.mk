# kubectl graft as one file. It holds pydantic's compiled core, so each platform has its own: build it there.
SHIV := shiv==1.0.8
CLI_NAME := kubectl-graft
CLI_PLATFORM := $(shell uname -s | tr A-Z a-z)-$(shell uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
CLI_ARCHIVE := build/$(CLI_NAME)-$(CLI_PLATFORM).tar.gz

.PHONY: cli-archive cli-krew
cli-archive: $(UV) ## kubectl graft as one file for this platform, and packed for krew: build/kubectl-graft*
	@rm -rf build/cli-packages && mkdir -p build
	@$(UV) pip install -q --python python3.11 --target build/cli-packages -c constraints/dev.txt ".[cli]"
	@$(UV) tool run -q --python python3.11 --from $(SHIV) --with pip shiv --compressed --python "/usr/bin/env python3" \
	  --site-packages build/cli-packages --console-script $(CLI_NAME) --output-file build/$(CLI_NAME)
	@tar -czf $(CLI_ARCHIVE) LICENSE -C build $(CLI_NAME)
	@echo "build/$(CLI_NAME) and $(CLI_ARCHIVE)"

cli-krew: ## krew's manifest of this platform's archive, to be published below REPOSITORY: build/graft.yaml
	@test -n "$(REPOSITORY)" || { echo "say where releases are: make cli-krew REPOSITORY=https://github.com/OWNER/graft"; exit 2; }
	@test -f $(CLI_ARCHIVE) || $(MAKE) cli-archive
	@sed -e 's|@REPOSITORY@|$(REPOSITORY)|; s|@PLATFORM@|$(CLI_PLATFORM)|' \
	  -e "s|@VERSION@|$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)|" \
	  -e 's|@OS@|$(firstword $(subst -, ,$(CLI_PLATFORM)))|; s|@ARCH@|$(lastword $(subst -, ,$(CLI_PLATFORM)))|' \
	  -e "s|@SHA256@|$$(sha256sum $(CLI_ARCHIVE) | cut -d' ' -f1)|" cli/krew/graft.yaml > build/graft.yaml
	@echo build/graft.yaml

.PHONY: chromium dashboard-screenshots
chromium: ## Install Debian's Chromium for the tests of the dashboard, if it is not here (GRAFT_CHROMIUM: another one)
	@test -n "$(GRAFT_CHROMIUM)" || command -v chromium >/dev/null || { echo "Installing Debian's chromium"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; }

dashboard-screenshots: setup chromium ## Take the dashboard's screenshots of docs/screenshots again
	@$(PYTHON) -m tests.cli.dashboard.screenshots

.PHONY: recordings
recordings: setup cluster-up images ## Record the plugin's verbs for docs/recordings again, on the cluster (SCENES="lint doctor": only these; KEEP=1: leave what they were played with)
	@$(PYTHON) -m tests.cli.recordings $(SCENES) $(if $(KEEP),--keep)
