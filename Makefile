# Every target works from a fresh clone with Go; `make help` lists them.
GO      ?= go
BIN     := .bin
LDFLAGS := -s -w
TESTARGS ?=

.PHONY: help build demo test race soak lint bench bench-builds prometheus fleet clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

build: ## build cbops into .bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o $(BIN)/cbops ./cmd/cbops

demo: build ## show the main job on the embedded lab: no server, no network
	$(BIN)/cbops rehearse --plan testdata/example/cbops.yaml

test: prometheus ## run every test, the real Prometheus included
	$(GO) test $(TESTARGS) ./...

race: prometheus ## the tests again, the long ones left out, with the race detector
	$(GO) test -race -short $(TESTARGS) $$($(GO) list ./... | grep -v /rollout/doctor)
	$(GO) test -race -run 'TestExamine|TestDocumentedAlerts$$' $(TESTARGS) ./rollout/doctor

soak: prometheus ## the long versions: fuzzing and repeated tests
	$(GO) test -fuzz FuzzMerge -fuzztime 2m ./rollout/policy
	$(GO) test -fuzz FuzzParse -fuzztime 2m ./rollout/policy
	$(GO) test -run xxx -fuzz FuzzReadBundle -fuzztime 2m -fuzzminimizetime 10x ./rollout/evidence
	$(GO) test -fuzz FuzzRollback -fuzztime 2m ./rollout/plan
	$(GO) test -run xxx -fuzz FuzzParseStatements -fuzztime 2m ./rollout/plan
	$(GO) test -fuzz FuzzDecode -fuzztime 2m ./promquery
	$(GO) test -fuzz FuzzSample -fuzztime 2m ./promquery
	$(GO) test -fuzz FuzzParseRules -fuzztime 2m ./promquery/promlab
	$(GO) test -fuzz FuzzParseDashboard -fuzztime 2m ./rollout/doctor
	$(GO) test -run xxx -fuzz FuzzParse -fuzztime 2m -fuzzminimizetime 10x ./breaker/scenario
	$(GO) test -run xxx -fuzz FuzzParse -fuzztime 1m -fuzzminimizetime 10x ./breaker/live
	$(GO) test -run xxx -fuzz FuzzParseFile -fuzztime 1m -fuzzminimizetime 10x ./rollout/lab
	$(GO) test -run TestModel -rapid.checks 50000 ./breaker
	CBOPS_SOAK=4 $(GO) test -run 'TestCalibration|TestStatedVolumes|TestFamilyWise|TestNoMutationSurvives' -timeout 4h -v ./rollout/criteria
	$(GO) test -race -count 5 ./...

lint: $(BIN)/golangci-lint ## gofmt, go vet and golangci-lint
	@out=$$(gofmt -l breaker cmd internal promquery rollout tickets); if [ -n "$$out" ]; then echo "gofmt would change: $$out"; exit 1; fi
	$(GO) vet ./...
	$(BIN)/golangci-lint run ./...

$(BIN)/golangci-lint: internal/tools/go.mod
	cd internal/tools && $(GO) build -o ../../$(BIN)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bench: prometheus fleet ## ratios against named peers in the same binary
	cd internal/bench && $(GO) run .

bench-builds: fleet ## see that the benchmarks build
	cd internal/bench && $(GO) vet ./...

prometheus: $(BIN)/prometheus $(BIN)/backfill ## build the real Prometheus and promtool for the tests

$(BIN)/prometheus: internal/testprom/go.mod
	cd internal/testprom && $(GO) build -trimpath -tags remove_all_sd -ldflags "$(LDFLAGS)" -o ../../$(BIN)/ \
	  github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool

$(BIN)/backfill: internal/testprom/go.mod internal/testprom/backfill/main.go
	cd internal/testprom && $(GO) build -trimpath -tags remove_all_sd -ldflags "$(LDFLAGS)" -o ../../$(BIN)/ ./backfill

fleet: $(BIN)/fleet ## build the writer of a synthetic fleet's history, for make bench

$(BIN)/fleet: internal/testprom/go.mod internal/testprom/fleet/main.go
	cd internal/testprom && $(GO) build -trimpath -tags remove_all_sd -ldflags "$(LDFLAGS)" -o ../../$(BIN)/ ./fleet

clean: ## remove what was built
	rm -rf $(BIN)
