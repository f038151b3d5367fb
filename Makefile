# What people type. Everything is built with one profile and one resolution of
# features (docs/decisions/0001-one-workspace-one-profile.md), so that the targets
# share every artefact.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
FORETELL := $(TARGET_DIR)/release/foretell

.DEFAULT_GOAL := run
.PHONY: run build test lint format bench docs clean python servers nextest

## run: build, then real prices in, an honest forecast out, served on 127.0.0.1:8080
run: build
	$(FORETELL) run pipelines/btc-usd-hourly.toml --serve

build:
	$(CARGO) build --release --bin foretell

## test: every test, with the pinned peers and servers that some of them ask
test: servers nextest
	$(CARGO) nextest run --release --workspace

## lint: formatting, clippy, and the rules of the house
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	$(CARGO) run --release --quiet --bin xtask -- tidy

## format: rewrite the sources as rustfmt wants them
format:
	$(CARGO) fmt --all

## bench: measure ourselves and the peers, print ratios, fail when a bar is missed
bench: python
	@tests/reference/environment bench/requirements.txt .venv-bench
	$(CARGO) build --release --workspace --bins --examples
	.venv/bin/python bench/run.py --target-dir "$(TARGET_DIR)" $(BENCH)

## docs: the API documentation of every crate, in target/doc
docs:
	$(CARGO) doc --release --workspace --no-deps --document-private-items

## python: the environment of tests/reference/requirements.txt, as .venv
python:
	@tests/reference/environment

## servers: the servers that tests start, as tests/servers/node_modules
servers: python
	@tests/servers/environment

nextest:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install cargo-nextest --locked

## clean: what was built; the data directory .foretell is yours and stays
clean:
	$(CARGO) clean
	rm -rf .venv bench/out fuzz/artifacts
