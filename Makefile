# patrol: audit Databricks personal access tokens against policy.
# Needs Go, make and git; every other tool is built by Go at a pinned version.

GO      ?= go
BIN     := bin/patrol
PREFIX  ?= $(HOME)/.local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2
OPA      := $(GO) tool opa
RACE    ?=
# The packages that do several things at once; a test holds the list.
CONCURRENT := ./cmd/internal/pipeline ./cmd/patrol ./collectors ./collectors/simulator ./engine ./engine/apply ./engine/eval ./engine/eval/sandbox ./engine/policy ./engine/remedy ./engine/store ./engine/journal ./engine/sqlite ./reports
VULN     := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.DEFAULT_GOAL := help
.PHONY: help build install demo test race torture fuzz lint mutate mutants bench docs platforms vuln licences sbom reproducible clean

help: ## Show this help
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use it

build: ## Build bin/patrol
	@test -e $(BIN) || echo "The first build compiles every library: it takes some minutes." >&2
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/patrol

install: build ## Put patrol into ~/.local/bin (PREFIX=/usr/local: into /usr/local/bin)
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 755 $(BIN) '$(DESTDIR)$(PREFIX)/bin/patrol'

demo: build ## Tell the whole story on a simulated account, without credentials
	$(BIN) demo

##@ Check it at each commit

test: ## Run every test: Go, Rego, stories through the real binary (RACE=-race)
	$(GO) test -vet=all $(RACE) -timeout 40m ./...
	$(OPA) test policies

race: ## Run what does several things at once under the race detector
	$(GO) test -race -short -timeout 40m $(CONCURRENT)

lint: ## Check format and style of Go and Rego
	$(GO) run $(GOLANGCI) run ./...
	@test -z "$$($(OPA) fmt --list policies)" || { $(OPA) fmt --diff policies; exit 1; }
	$(OPA) check --strict --schema policies/schemas policies

platforms: ## Check the types of everything, tests included, for the other systems that a release is for
	PATROLTEST_SYSTEMS='darwin/arm64 windows/amd64' $(GO) test -count=1 -run TestOtherSystems ./cmd/internal/rigs

vuln: ## Look for known vulnerabilities in what the binary calls (VULN_DB=DIR, VULN_REQUIRED=1)
	@GO='$(GO)' VULN='$(VULN)' VULN_DB='$(VULN_DB)' VULN_REQUIRED='$(VULN_REQUIRED)' sh .ci/vuln

licences: ## List the licence of every module in the binary, and refuse those that are not allowed
	$(GO) test -count=1 -v -run TestLicences ./cmd/internal/rigs

docs: build ## Generate the pages on commands, exit codes and policies
	$(BIN) docs docs

##@ Check it each night and before a release

# KILLS of apply while it works, RACES of two, DRIFTS, EDITS of snapshots, killed
# MIGRATIONS, losses of power (twice IMAGES), every call to the disk, 30 policies
# that hang; what is left is held against the truth. Drawn anew each time: SEED=n
# repeats a run.
torture: ## Kill, race, starve and pull the plug, 10,000 times and more (KILLS=n …, see here)
	PATROLTEST_TORTURE_BOMBS=1 $(GO) test -count=1 -v -run 'TestBombs$$' ./engine/eval
	PATROLTEST_SEED=$(or $(SEED),random) PATROLTEST_TORTURE_KILLS=$(or $(KILLS),10000) PATROLTEST_TORTURE_RACES=$(or $(RACES),500) PATROLTEST_TORTURE_DRIFTS=$(or $(DRIFTS),1000) PATROLTEST_TORTURE_EDITS=$(or $(EDITS),1000) \
		PATROLTEST_TORTURE_MIGRATIONS=$(or $(MIGRATIONS),1000) PATROLTEST_TORTURE_IMAGES=$(or $(IMAGES),2000) PATROLTEST_TORTURE_IO=all \
		$(GO) test -count=1 -timeout 6h -v -run 'TestTorture|TestRaces|TestDrifts$$|TestVerifyNoticesEveryEdit|TestMigrationsKilled|TestPowerLoss|TestIOErrors|TestFullDiskDuringApply' ./cmd/internal/rigs ./engine/apply ./engine/store ./engine/journal ./engine/sqlite

# What is found is shortened in ten attempts at most: by default a minute goes into
# each find, in which nothing is fuzzed.
fuzz: ## Fuzz every parser for a minute each (FUZZTIME=10m)
	@grep -rn --include='*_test.go' '^func Fuzz' . | sed -E 's/^(.*)\/[^/]*:[0-9]+:func (Fuzz[A-Za-z0-9]*).*/\1 \2/' | sort | { failed=0; while read -r dir target; do \
		echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),1m) -fuzzminimizetime 10x "$$dir" </dev/null || failed=1; done; exit $$failed; }

mutants: ## Take each guard away in turn and want its tests to fail (MUTANTS='gate-*,journal-*')
	PATROLTEST_MUTANTS='$(or $(MUTANTS),*)' $(GO) test -count=1 -timeout 6h -v -run TestMutantsAreNoticed ./cmd/internal/rigs

mutate: ## Change each line of each policy in turn and count what the Rego tests catch
	PATROLTEST_MUTATE=1 $(GO) test -run TestMutants -count=1 -v ./engine/policy

bench: build ## Measure speed and memory as ratios of one run (AGAINST=COMMIT: beside the patrol of that commit; BENCH=flags)
	$(GO) run ./cmd/bench -patrol $(BIN) -against=$(AGAINST) $(BENCH)

##@ Release it

sbom: build ## Write bin/patrol.cdx.json: the modules in the binary, digests, licences (CycloneDX)
	GO='$(GO)' sh .ci/sbom $(BIN).cdx.json $$($(GO) env GOOS) $$($(GO) env GOARCH)

reproducible: ## Build twice, apart, and compare byte by byte (VERSION=1.2.3 TARGETS="linux/amd64 …")
	TARGETS='$(TARGETS)' LDFLAGS='$(LDFLAGS)' GO='$(GO)' sh .ci/reproducible

clean: ## Remove what the other targets made
	rm -rf bin patrol-demo
