# `make` alone prints what there is.
.DEFAULT_GOAL := help
SHELL := bash
GO ?= go

# Only these need more than Go: lint (golangci-lint), race (a C compiler).
GOLANGCI_LINT ?= golangci-lint
FUZZTIME ?= 10s

.PHONY: help build test race lint floors outside upgrade bench bench-storage bench-start bench-big bench-list bench-backup bench-transfers bench-overload bench-peers bench-resp bench-guard bench-growth anti-entropy soak-crash soak-faults soak-restarts soak-outages soak-nodes soak-topology soak-transfers soak-model soak-1754 claim-table flips topology browser newcomer demo docs man dist deb fmt vet cover fuzz clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/ringcore: node, command line and benchmark
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ringcore ./cmd/ringcore

# The two packages whose tests take longest begin first, side by side.
packages = ./cmd/ringcore ./vnodes ./...

test: ## every test; needs Go alone
	CGO_ENABLED=0 $(GO) test -timeout 15m $(packages)

race: ## the tests under the race detector; LONG=1 for those too that take long under it
	RINGCORE_TEST_LONG=$(LONG) CGO_ENABLED=1 $(GO) test -race -timeout $(if $(LONG),60m,20m) $(packages)

lint: ## golangci-lint, with the rules and their reasons in .golangci.yml
	$(GOLANGCI_LINT) run ./...

floors: ## which package may import which, and that an outside module builds
	testdata/floors/floors.sh
	testdata/outside/build.sh

outside: ## build and run a module that requires this one
	testdata/outside/build.sh

bench: ## three processes on this machine; REPLICAS=3 DURATION=5s CALLERS=1,16,64,256
	testdata/bench/three-nodes.sh

soak-outages: ## nodes of a simulated world die and return in any order, with one replica too; ROUNDS=20
	RINGCORE_SOAK_OUTAGES=1 $(GO) test -count=$(or $(ROUNDS),20) -timeout 60m -run '^TestRandomOutages$$' ./vnodes/

claim-table: ## what Claim gives, moves and takes, for rings of 16 to 1,024 partitions and 1 to 100 nodes; rewrites docs/claim.md
	RINGCORE_CLAIM_TABLE=1 $(GO) test -count=1 -timeout 30m -run '^TestClaimTable$$' ./metadata/ring/ >/dev/stderr
	@cat docs/claim.md

flips: ## bits are flipped in every page of the files of real nodes: minutes
	RINGCORE_TEST_DEEP=1 $(GO) test -count=1 -timeout 60m -run '^TestFlippedBits' -v ./cmd/ringcore/

bench-storage: ## the storage engine beside what the disk can do; LENGTH=5s SUSTAINED=60s KEYS=2000000
	RINGCORE_BENCH_STORAGE=$(or $(LENGTH),5s) RINGCORE_BENCH_SUSTAINED=$(or $(SUSTAINED),60s) RINGCORE_BENCH_KEYS=$(or $(KEYS),2000000) \
		$(GO) test -count=1 -timeout 30m -run '^Test(Storage|Stall)Bench$$' -v ./vnodes/

bench-start: ## start after kill -9: a gigabyte of state and a full log; 1,024 partitions; MB=1200 SOFT=1 DIR=…
	$(if $(DIR),TMPDIR=$(DIR) )SOFT=$(SOFT) RINGCORE_BENCH_START=$(or $(MB),1200) $(GO) test -count=1 -timeout 30m -run '^TestStartBench$$' -v ./cmd/ringcore/

bench-big: ## ten million records on a node, then a tenth of them; RECORDS=10000000 WAIT=600 SOFT=1 DIR=…
	$(if $(DIR),TMPDIR=$(DIR) )SOFT=$(SOFT) RINGCORE_BENCH_BIG=$(or $(RECORDS),10000000) RINGCORE_BENCH_WAIT=$(or $(WAIT),600) \
		$(GO) test -count=1 -timeout 120m -run '^TestBigBench$$' -v ./cmd/ringcore/

bench-backup: ## three nodes backed up without load and under it, what has changed since, and restored into two; RECORDS=300000 SOFT=1 DIR=…
	$(if $(DIR),TMPDIR=$(DIR) )SOFT=$(SOFT) RINGCORE_BENCH_BACKUP=$(or $(RECORDS),300000) $(GO) test -count=1 -timeout 60m -run '^TestBackupBench$$' -v ./cmd/ringcore/

bench-list: ## a million keys listed through the Go client and HTTP, and the memory of both ends; RECORDS=1000000 SOFT=1
	SOFT=$(SOFT) RINGCORE_BENCH_LIST=$(or $(RECORDS),1000000) $(GO) test -count=1 -timeout 30m -run '^TestListBench$$' -v ./cmd/ringcore/

bench-transfers: ## a fourth node joins three with a million records, and leaves, without load and under it; RECORDS=1000000 REPLICAS=1,3 SOFT=1 DIR=…
	$(if $(DIR),TMPDIR=$(DIR) )SOFT=$(SOFT) RINGCORE_BENCH_TRANSFERS=$(or $(RECORDS),1000000) RINGCORE_BENCH_REPLICAS=$(or $(REPLICAS),1,3) \
		$(GO) test -count=1 -timeout 60m -run '^TestTransfersBench$$' -v ./cmd/ringcore/

bench-overload: ## p99 of others while 1,000 callers want a stuck vnode, or a node that hangs, and without; LENGTH=10s SOFT=1
	SOFT=$(SOFT) RINGCORE_BENCH_OVERLOAD=$(or $(LENGTH),10s) $(GO) test -count=1 -timeout 10m -run '^Test(Overload|StoppedNode)Bench$$' -v . ./cmd/ringcore/

bench-peers: ## Ringcore beside Redis, NATS, etcd and olric, each in turn, and every goal; DURATION=3s CALLERS=1,64,256 ONLY=ringcore,redis,… JSON=… MARKDOWN=…
	testdata/bench/peers.sh bench

bench-resp: ## redis-benchmark against one node of three, and against Redis with two replicas; DURATION=3s JSON=… MARKDOWN=…
	testdata/bench/peers.sh resp

bench-guard: ## CPU and allocations of an operation beside testdata/bench/baseline.json: 15 % more fails; UPDATE=1 writes it, SOFT=1
	UPDATE=$(UPDATE) SOFT=$(SOFT) RINGCORE_BENCH_GUARD=1 $(GO) test -count=1 -timeout 10m -run '^TestGuardBench$$' -v ./cmd/ringcore/

bench-growth: ## what 1,024 partitions, ten million records and large values cost; RECORDS=10000000 SOFT=1 DIR=…
	$(if $(DIR),TMPDIR=$(DIR) )SOFT=$(SOFT) RINGCORE_BENCH_GROWTH=$(or $(RECORDS),10000000) $(GO) test -count=1 -timeout 60m -run '^TestGrowthBench$$' -v ./cmd/ringcore/

anti-entropy: ## replicas that were wiped, or have diverged, become equal by themselves; RECORDS=100000
	RINGCORE_TEST_RECORDS=$(or $(RECORDS),100000) $(GO) test -count=1 -timeout 30m -run '^Test(WipedReplicaComesBack|DivergedReplicasConverge)$$' -v ./vnodes/ ./cmd/ringcore/

soak-crash: ## kill -9 at random moments, of the engine and of nodes; ROUNDS=300
	RINGCORE_SOAK_ROUNDS=$(or $(ROUNDS),300) $(GO) test -count=1 -timeout 60m -run '^TestSoak(Kill|Node)$$' -v ./vnodes/ ./cmd/ringcore/

soak-restarts: ## one of three nodes is stopped or killed and started again at once, over and over, under load; ROUNDS=10 ONLY=stop,kill
	RINGCORE_SOAK_RESTARTS=$(or $(ROUNDS),10) RINGCORE_SOAK_ONLY=$(ONLY) $(GO) test -count=1 -timeout 60m -run '^TestSoakRestarts$$' -v ./cmd/ringcore/

soak-faults: ## nodes die, hang, lose links, room and the time under load, and every answer is checked; ROUNDS=10 ONLY=kill,stop,clock-ahead,clock-behind,full-disk,cut,cut-out,cut-in,isolate,slow,two,two-up,two-down
	RINGCORE_SOAK_FAULTS=$(or $(ROUNDS),10) RINGCORE_SOAK_ONLY=$(ONLY) $(GO) test -count=1 -timeout 120m -run '^TestSoakFaults$$' -v ./cmd/ringcore/

upgrade: ## nodes of another commit are rolled to this version, back, and for good, under load; FROM=<commit>
	$(if $(FROM),,$(error say from where: make upgrade FROM=<commit>))testdata/upgrade/upgrade.sh $(FROM)

soak-topology: ## a random walk of joins and leaves on real nodes that die, hang and are cut off under load; TRANSFERS=1000
	RINGCORE_SOAK_TOPOLOGY=$(or $(TRANSFERS),1000) $(GO) test -count=1 -timeout 120m -run '^TestTopology$$' -v ./cmd/ringcore/

soak-transfers: ## random transfers in a simulated world of crashes, broken streams and lost proposals; TRANSFERS=10000
	RINGCORE_SOAK_TRANSFERS=$(or $(TRANSFERS),10000) $(GO) test -count=1 -timeout 120m -run '^TestRandomWalk$$' -v ./vnodes/

soak-model: ## every interleaving of one transfer with crashes, in the large: four minutes, a gigabyte
	RINGCORE_SOAK_MODEL=1 $(GO) test -count=1 -timeout 60m -run '^TestTransferModel' -v ./metadata/

soak-1754: ## the run of riak_kv#1754: five nodes, 40 clients on 10 keys, two join, two leave; ROUNDS=50 RATE=1x
	RINGCORE_SOAK_1754=$(or $(ROUNDS),50) RINGCORE_SOAK_RATE=$(or $(RATE),1x) $(GO) test -count=1 -timeout 120m -run '^TestSoak1754$$' -v ./cmd/ringcore/

topology: ## replicas up and down, plans and dead nodes with real processes, under readers; COUNT=1
	RINGCORE_TEST_TOPOLOGY=1 $(GO) test -count=$(or $(COUNT),1) -timeout 30m -run '^Test(StagedClustering|DeadNode|ReplicasUpAndDown)$$' -v ./cmd/ringcore/

soak-nodes: ## clusters of 10, 25 and 50 nodes: changes are everywhere within a second, and cost each node the same; what an idle node costs (root)
	RINGCORE_SOAK_NODES=1 $(GO) test -count=1 -timeout 10m -run '^Test(ManyNodes|IdleNodes)$$' -v ./metadata/ ./cmd/ringcore/

browser: ## the web console in a headless Chromium, which is installed if it can be; SHOTS=<folder> for pictures of every page
	admin/console/testdata/chromium.sh
	RINGCORE_BROWSER=1 RINGCORE_SHOTS=$(abspath $(SHOTS)) $(GO) test -count=1 -timeout 20m -run '^TestConsole$$' -v ./admin/console/

newcomer: ## from a fresh clone to the first put, and to an own vnode, by the README, timed; CACHE=cold,build,warm
	CACHE=$(CACHE) testdata/newcomer/newcomer.sh

demo: ## three nodes in one process, until Ctrl-C; data in ./ringcore-data
	$(GO) run ./cmd/ringcore dev

docs: ## docs/cli.md, config.md, http.md, the tables of wire.md and admin/openapi.json anew, from the code
	$(GO) run ./cmd/ringcore docs markdown docs
	RINGCORE_WRITE_REFERENCE=1 $(GO) test -count=1 -run '^(TestWirePage|TestOpenAPIIsCurrent)$$' ./dataplane/wire/ ./admin/ >/dev/stderr

man: ## manual pages in dist/man
	$(GO) run ./cmd/ringcore docs man dist/man

dist: ## archives for Linux and macOS in dist/, the same bytes each time, with SHA256SUMS
	deploy/dist.sh

deb: ## the Debian package in dist/; ARCH=amd64
	deploy/deb.sh $(ARCH)

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
