# Everything here needs Go and make; `check` and `race` also git and a C compiler. Nothing is installed outside the
# repository: the tools are built from the versions in tools/ into bin/tools.

GO    ?= go
PKGS  ?= ./...
TESTS ?= -timeout 30m
ARGS  ?=

tools := bin/tools
export PATH := $(CURDIR)/$(tools):$(PATH)

.PHONY: help
help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

.PHONY: run
run: ## a day of a city: fills a registry, plays calls, whistles and closings, and serves them
	$(GO) run ./cmd/dispatcher demo $(ARGS)

.PHONY: build
build: ## the two binaries, in bin/
	$(GO) build -trimpath -o bin/ ./cmd/...

.PHONY: test
test: ## the whole test suite
	$(GO) test $(TESTS) $(PKGS)

.PHONY: race
race: ## the whole test suite under the race detector, which needs a C compiler
	CGO_ENABLED=1 $(GO) test -race $(TESTS) $(PKGS)

.PHONY: bench
bench: ## the figures of targets, as a table
	$(GO) run ./cmd/dispatcher bench $(ARGS)

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
