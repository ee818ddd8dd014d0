# Everything here needs Go and make; `check` and `race` also git and a C compiler. Nothing is installed outside the
# repository: the tools are built from the versions in tools/ into bin/tools.

GO    ?= go
PKGS  ?= ./...
TESTS ?= -timeout 30m
ARGS  ?=

# What an image is made for, what it is called, and where it is pushed to, if anywhere.
PLATFORMS ?= linux/amd64 linux/arm64
IMAGE     ?= chuishao/dispatch:dev
PUSH      ?=

tools := bin/tools
export PATH := $(CURDIR)/$(tools):$(PATH)

.PHONY: help
help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

.PHONY: run
run: ## a day of a city: fills a registry, plays calls, whistles and closings, and serves them
	$(GO) run ./cmd/dispatcher demo $(ARGS)

.PHONY: year
year: ## a year of a city on a driven clock, held against what must be true of it
	$(GO) run ./cmd/dispatcher simulate $(ARGS)

.PHONY: build
build: ## the two binaries, in bin/
	$(GO) build -trimpath -o bin/ ./cmd/...

.PHONY: image
image: ## a container image of the static binaries, in bin/image.tar; PUSH=registry/name:tag also pushes it
	rm -rf bin/image
	@for platform in $(PLATFORMS); do \
		echo "building for $$platform"; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO) build -trimpath -ldflags='-s -w' \
			-o bin/image/$$(echo $$platform | tr / -)/ ./cmd/dispatcher ./cmd/projector || exit 1; done
	$(GO) -C deploy run ./cmd/image --binaries ../bin/image --out ../bin/image.tar --name $(IMAGE) $(if $(PUSH),--push $(PUSH))

# What is deployed is a module of its own. Nothing in it runs at once, so it does without the race detector.
.PHONY: test
test: ## the whole test suite
	$(GO) test $(TESTS) $(PKGS)
	$(if $(filter ./...,$(PKGS)),$(GO) -C deploy test $(filter-out $(RACE),$(TESTS)) ./...)

# The detector watches memory of Go. The embedded SQLite is C in Go's clothes, with memory of its own that is not watched: to instrument
# it finds nothing, and takes half of the suite's time. What our code does with what it hands to SQLite is watched all the same.
RACE := -race -gcflags=modernc.org/...=-race=false

.PHONY: race
race: ## the whole test suite under the race detector, which needs a C compiler
	CGO_ENABLED=1 $(MAKE) test TESTS="$(RACE) $(TESTS)"

.PHONY: bench
bench: ## the figures of targets, as a table
	$(GO) run ./cmd/dispatcher bench $(ARGS)

.PHONY: faults
faults: build ## kill and cut off all that a deployment is made of, under load, and see that nothing is lost
	bin/dispatcher faults $(ARGS)

.PHONY: generate
generate: bin/generated ## the Go of the contract, from api/proto into api/gen
	rm -rf api/gen
	mv bin/generated/api/gen api/gen
	rm -rf bin/generated

# Always made anew, apart from api/gen, so that what is there can be compared with it before it is replaced.
.PHONY: bin/generated
bin/generated: tools
	rm -rf bin/generated
	mkdir -p bin/generated/api/gen
	buf generate --output bin/generated

.PHONY: tools
tools: $(tools)/.built ## buf, the protoc plugins, staticcheck and govulncheck, in bin/tools

$(tools)/.built: tools/go.mod tools/go.sum tools/buf/go.mod tools/buf/go.sum
	mkdir -p $(tools)
	cd tools && $(GO) build -o ../$(tools)/ tool
	cd tools/buf && $(GO) build -o ../../$(tools)/ tool
	touch $@

.PHONY: check
check: gofmt vet staticcheck generated lint breaking arch vulnerabilities ## all that a change must pass before its tests count
	@echo "check: all passed"

.PHONY: gofmt
gofmt:
	@files=$$(find . -name '*.go' -not -path './bin/*' -exec gofmt -l {} +) || exit 1; \
	if [ -n "$$files" ]; then echo "gofmt: not formatted:"; echo "$$files"; exit 1; fi

.PHONY: vet
vet:
	$(GO) vet ./...
	cd tools && $(GO) vet ./...
	cd deploy && $(GO) vet ./...

.PHONY: staticcheck
staticcheck: tools
	staticcheck ./...
	cd deploy && staticcheck ./...

.PHONY: generated
generated: bin/generated ## that api/gen is what api/proto makes
	@diff -r bin/generated/api/gen api/gen || { echo "generated: api/gen is not what api/proto makes; run make generate"; exit 1; }
	@rm -rf bin/generated

.PHONY: lint
lint: tools
	buf lint

# A contract only grows. It is compared with the last commit if the work tree has changed it, otherwise with what it was
# before the last commit that changed it; a shallow clone cannot tell, and fails. If it must
# break, that commit or a later one says why in a trailer, "Breaking: the reason".
.PHONY: breaking
breaking: tools ## that clients and recorded events of the contract before still fit
	@if [ "$$(git rev-parse --is-shallow-repository)" != false ]; then \
		echo "breaking: the clone is shallow, so the contract before is not at hand; run git fetch --unshallow"; exit 1; fi
	@rm -rf bin/before; mkdir -p bin/before; \
	changed=$$(git log --format=%H -2 -- api/proto) || exit 1; \
	last=$$(echo "$$changed" | sed -n 1p); before=$$(echo "$$changed" | sed -n 2p); \
	if [ -z "$$last" ]; then echo "breaking: no contract committed yet"; exit 0; fi; \
	if [ -n "$$(git status --porcelain -- api/proto)" ]; then before=$$last; fi; \
	if [ -z "$$before" ]; then echo "breaking: no contract before this one"; exit 0; fi; \
	why=$$(git log --format='%(trailers:key=Breaking,valueonly)' "$$before..HEAD" | grep .); \
	if [ -n "$$why" ]; then echo "breaking: declared: $$why"; exit 0; fi; \
	echo "buf breaking against $$before"; \
	git archive "$$before" api/proto | tar -x -C bin/before && \
	buf breaking api/proto --against bin/before/api/proto
	@rm -rf bin/before

.PHONY: arch
arch: ## that packages import what they may, links live and names are documented
	$(GO) test -count=1 ./internal/arch

# Not to reach the database is no fault of the code; everything else that govulncheck says is.
.PHONY: vulnerabilities
vulnerabilities: tools
	@govulncheck ./... >bin/govulncheck.txt 2>&1; code=$$?; \
	if [ $$code -ne 0 ] && grep -q 'fetching vulnerabilities' bin/govulncheck.txt; then \
		echo "govulncheck: not run: its database cannot be reached"; \
	else cat bin/govulncheck.txt; exit $$code; fi
