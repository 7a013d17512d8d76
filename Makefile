# `make` alone prints what there is.
.DEFAULT_GOAL := help
SHELL := bash
GO ?= go

# Only these need more than Go: lint (golangci-lint), race (a C compiler).
GOLANGCI_LINT ?= golangci-lint
FUZZTIME ?= 10s

.PHONY: help build test race lint floors outside bench bench-storage flips demo fmt vet cover fuzz clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/ringcore: node, command line and benchmark
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ringcore ./cmd/ringcore

test: ## every test; needs Go alone
	CGO_ENABLED=0 $(GO) test -timeout 10m ./...

race: ## every test under the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 15m ./...

lint: ## golangci-lint, with the rules and their reasons in .golangci.yml
	$(GOLANGCI_LINT) run ./...

floors: ## which package may import which, and that an outside module builds
	testdata/floors/floors.sh
	testdata/outside/build.sh

outside: ## build and run a module that requires this one
	testdata/outside/build.sh

bench: ## three processes on this machine; REPLICAS=3 DURATION=5s CALLERS=1,16,64,256
	testdata/bench/three-nodes.sh

flips: ## bits are flipped in every page of the files of real nodes: minutes
	RINGCORE_TEST_DEEP=1 $(GO) test -count=1 -timeout 60m -run '^TestFlippedBits' -v ./cmd/ringcore/

bench-storage: ## the storage engine beside what the disk can do; LENGTH=3s KEYS=2000000
	RINGCORE_BENCH_STORAGE=$(or $(LENGTH),3s) RINGCORE_BENCH_KEYS=$(or $(KEYS),2000000) \
		$(GO) test -count=1 -timeout 30m -run '^TestStorageBench$$' -v ./vnodes/

demo: ## three nodes in one process, until Ctrl-C; data in ./ringcore-data
	$(GO) run ./cmd/ringcore dev

fmt: ## format as lint wants it
	$(GOLANGCI_LINT) fmt ./...

vet: ## go vet
	$(GO) vet ./...

cover: ## test coverage by function, in dist/cover.txt
	@mkdir -p dist
	$(GO) test -timeout 15m -coverpkg=./... -coverprofile=dist/cover.out ./...
	$(GO) tool cover -func=dist/cover.out >dist/cover.txt
	@tail -1 dist/cover.txt

fuzz: ## each fuzz test for FUZZTIME (10s)
	@set -e; for pkg in $$($(GO) list ./...); do \
		for name in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

clean: ## remove what the others have built
	rm -rf bin dist
