# Everything that one does with a checkout. It needs Go 1.26, gcc, git and
# make; the tests also need curl and jq, and those with JavaScript clients node
# 20 or newer and npm.
#
#   make                build bin/ipfs-cluster-pinsvc and bin/ipfs (Kubo)
#   make run            run a peer of one's own in ./data (PROFILE=private: loopback only;
#                       LOGLEVEL=info: with all that the cluster has to say)
#   make test           every test, with real peers and real Kubo nodes
#   make lint           gofmt, go vet, staticcheck
#   make vulncheck      known vulnerabilities of the dependencies that our code reaches, where
#                       the database at vuln.go.dev can be reached; says so where not
#   make fuzz           each fuzz target for 10 seconds (FUZZTIME=1m: longer); keeps some of the
#                       inputs that it found in testdata/fuzz
#   make compliance     the public compliance suite, 9 of 9
#                       (ENDPOINT=http://... TOKEN=...: against a service that runs already)
#   make bench          measure against the pinsvcapi of ipfs-cluster, about 15 minutes,
#                       and write docs/performance.md
#                       (BENCHFLAGS='-n 1000,10000 -posts 0': less of it; -h lists the flags)
#   make load           load on the built daemon beside ipfs-cluster-service: 64, 512 and 4,096
#                       connections for 5 minutes each, pins in flight, a restart with a million
#                       pins; about an hour and a half, and write docs/load.md (LOAD=1m, LOADPINS=100000: less)
#   make soak           10 minutes of use, after which memory must be what it was
#                       (SOAK=1h: longer)
#   make faults         30 minutes of a cluster under faults and load, all histories checked
#                       (FAULTS=5m MODE=crdt|batching|raft SEED=7: shorter, otherwise, again;
#                       COPIES=2: each pin at two of the three peers, not at all)
#   make clean          remove what was built; ./data stays

GO       ?= go
PROFILE  ?= default
DATA     ?= data
LOGLEVEL ?= warn
FUZZTIME ?= 10s
SOAK     ?= 10m
LOAD     ?= 5m
LOADPINS ?= 1000000
FAULTS   ?= 30m
MODE     ?= crdt
SEED     ?= 0
COPIES   ?= 0
COMMIT   := $(shell git rev-parse --short=12 HEAD 2>/dev/null)

# Raft's log, github.com/boltdb/bolt, does pointer arithmetic that the checks
# which come with the race detector end a program for.
RACE := -race -tags=nocheckptr -gcflags=github.com/boltdb/bolt=-d=checkptr=0

.DEFAULT_GOAL := build
.PHONY: build build-race run test lint vulncheck fuzz compliance bench load soak faults clean bin/ipfs-cluster-pinsvc bin/race/ipfs-cluster-pinsvc bin/netns
.DELETE_ON_ERROR:

## Programs. Go itself knows what has changed, so ours are always asked for;
## Kubo is asked for only when its pinned version changes.

build: bin/ipfs-cluster-pinsvc bin/ipfs

bin/ipfs-cluster-pinsvc:
	$(GO) build -ldflags '-X main.commit=$(COMMIT)' -o $@ ./cmd/ipfs-cluster-pinsvc

bin/ipfs: cmd/kubo/go.mod cmd/kubo/go.sum
	$(GO) build -C cmd/kubo -o $(CURDIR)/$@ github.com/ipfs/kubo/cmd/ipfs
	@touch $@

# What the tests run: our program with the race detector, Kubo beside it.
build-race: bin/race/ipfs-cluster-pinsvc bin/race/ipfs

bin/race/ipfs-cluster-pinsvc:
	$(GO) build $(RACE) -o $@ ./cmd/ipfs-cluster-pinsvc

bin/race/ipfs: bin/ipfs
	@mkdir -p $(@D)
	@ln -sf ../ipfs $@

bin/netns:
	$(GO) build -o $@ ./test/netns

# The profile is chosen at the first run. Asking for the other one later would
# not change what ./data says, so it is refused.
run: build
ifeq ($(origin PROFILE),command line)
	@test ! -e "$(DATA)/service.json" || grep -q '"profile": *"$(PROFILE)"' "$(DATA)/service.json" || \
	{ echo '$(DATA) was not made with PROFILE=$(PROFILE). Another folder has its own: make run PROFILE=$(PROFILE) DATA=...'; exit 1; }
endif
	@exec bin/ipfs-cluster-pinsvc --config "$(DATA)" --loglevel "$(LOGLEVEL)" daemon --init --profile "$(PROFILE)" --user me

## Tests. Each test binary runs where only loopback exists (test/netns); all
## that comes from elsewhere is there before.

NODE_PACKAGES := ./test/compliance ./test/js
HAVE_NODE := $(shell command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null && echo yes)
NODE_MODULES := test/js/node_modules/.package-lock.json
GOTEST := $(GO) test $(RACE) -count=1 -timeout 20m -exec $(CURDIR)/bin/netns

ifeq ($(HAVE_NODE),yes)
test: $(NODE_MODULES)
endif

test: build build-race bin/netns
ifeq ($(HAVE_NODE),yes)
	$(GOTEST) ./...
else
ifdef REQUIRE_NODE
	$(error node 20 or newer and npm are required here and missing)
endif
	$(GOTEST) $$($(GO) list ./... | grep -v $(patsubst ./%,-e /%$$,$(NODE_PACKAGES)))
	@echo 'Not run, because node 20 or newer and npm are missing:'
	@grep -ho '^func Test[A-Za-z0-9_]*' $(addsuffix /*_test.go,$(NODE_PACKAGES)) | sed 's/^func /  /'
endif

$(NODE_MODULES): test/js/package.json test/js/package-lock.json
	cd test/js && npm ci
	@touch $@

lint:
	@files=$$(gofmt -l .); test -z "$$files" || { echo "not formatted with gofmt:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# Not a part of lint: without a network there is no database. Its own exit code tells
# found vulnerabilities (3) from other failures.
vulncheck:
	@$(GO) tool govulncheck ./... || { code=$$?; \
	[ $$code = 3 ] || echo 'govulncheck could not check: the database at https://vuln.go.dev was not reached, see above.'; exit $$code; }

# The go command runs one fuzz target at a time; they are found by their names. It keeps what it
# finds in its cache. Some of that, of all sizes, goes into the repository while there is room:
# FUZZKEPT inputs for a target, of at most 4 KiB each. Inputs that fail are written there anyway.
FUZZKEPT := 32
fuzz:
	@grep -rE --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' cmd config internal pinsvcapi test | sed 's/:func / /' | sort -u | \
	while read -r file target; do \
		echo "== $$target in $$(dirname $$file)"; \
		$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "./$$(dirname $$file)" || exit 1; \
		found=$$($(GO) env GOCACHE)/fuzz/$$($(GO) list "./$$(dirname $$file)")/$$target; \
		kept=$$(dirname $$file)/testdata/fuzz/$$target; \
		[ -d "$$found" ] || continue; \
		mkdir -p $$kept; \
		find "$$found" -type f -size -9 -exec ls -Sr {} + | awk -v kept=$(FUZZKEPT) \
			'{ name[NR] = $$0 } END { step = NR > kept ? NR / kept : 1; for (i = 1; i <= NR; i += step) print name[int(i)] }' | \
		while read -r input; do [ $$(ls $$kept | wc -l) -ge $(FUZZKEPT) ] || cp -n "$$input" $$kept/; done; \
	done

ifdef ENDPOINT
compliance: $(NODE_MODULES)
	node test/compliance/run.mjs "$(ENDPOINT)" "$(TOKEN)"
else
compliance: $(NODE_MODULES) build build-race bin/netns
	$(GOTEST) -v ./test/compliance
endif

# Both run where only loopback exists, as the tests do.
bench: bin/netns
	$(GO) build -o bin/bench ./test/bench
	bin/netns bin/bench -out test/bench/out -page docs/performance.md $(BENCHFLAGS)

load: build bin/netns
	$(GO) build -o bin/ipfs-cluster-service github.com/ipfs-cluster/ipfs-cluster/cmd/ipfs-cluster-service
	$(GO) test -count=1 -timeout 0 -v -exec $(CURDIR)/bin/netns ./test/load -load.duration $(LOAD) \
	  -load.connections 64,512,4096 -load.pins 10000 -load.inflight 10000 -load.restarted $(LOADPINS) \
	  -load.upstream $(CURDIR)/bin/ipfs-cluster-service -load.page $(CURDIR)/docs/load.md

soak: bin/netns
	$(GO) test -count=1 -timeout 0 -v -exec $(CURDIR)/bin/netns ./test/soak -soak.duration $(SOAK)

# Seed 0 is one by chance; the run prints it. Copies 0 is one at each peer.
faults: build bin/netns
	NETNS_REQUIRED=1 $(GO) test -count=1 -timeout 0 -v -exec $(CURDIR)/bin/netns ./test/faults -run '^TestFaults$$' \
		-faults.mode $(MODE) -faults.duration $(FAULTS) -faults.seed $(SEED) -faults.copies $(COPIES)

clean:
	rm -rf bin test/js/node_modules
