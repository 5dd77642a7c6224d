# Two commands matter: `make run` and `make test`. Both install what they lack (scripts/require says how).

SHELL := /bin/bash
# A shell that has not been opened anew since Rust was installed does not know cargo yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

# What the build of the dependencies needs: pingora's zlib-ng asks for cmake, the bundled SQLite for a C compiler.
BUILD_PACKAGES := cc=gcc+libc6-dev cmake=cmake make=make pkg-config=pkg-config

.DEFAULT_GOAL := help
.PHONY: help run demo test lint fmt deny bench bench-dashboards dashboards pictures references image-check deb build-tools test-tools clean-test

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

run: build-tools ## build the release and run it with the embedded defaults (ARGS='--config tollgate.yaml')
	cargo run --release --locked --bin tollgate -- run $(ARGS)

demo: build-tools ## a Tollgate with a past, traffic and an incident, for 18 minutes and on until Ctrl-C (docs/incident.md)
	@scripts/require python3=python3
	@scripts/demo --keep $(ARGS)

test: ## install what the tests need, then run all of them
	@scripts/require $(BUILD_PACKAGES) python3=python3 python3-venv
	@scripts/test-tools
	@scripts/test

lint: build-tools ## formatting, clippy, licences (where cargo-deny is installed) and shell scripts
	@scripts/lint

fmt: ## format the Rust sources
	cargo fmt

deny: build-tools ## licences, advisories and sources of the dependencies; installs cargo-deny first
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check

bench: ## measure direct, nginx, bare Pingora and Tollgate side by side (BENCH_QUICK=1: a short run)
	@scripts/require $(BUILD_PACKAGES) wrk=wrk
	@scripts/bench

bench-dashboards: ## time every panel's query on a full ledger and Prometheus (ARGS='1000000 90': requests, days)
	@scripts/require $(BUILD_PACKAGES) python3=python3
	@scripts/bench-dashboards $(ARGS)

dashboards: test-tools ## write grafana/dashboards/*.json from grafana/source
	cd grafana && ../target/test-tools/venv/bin/python -m source dashboards

image-check: ## prove the Dockerfile without a container engine (as root; the first time builds everything)
	@scripts/image-check

deb: build-tools ## build the Debian package, target/debian/*.deb; installs cargo-deb first
	@command -v cargo-deb >/dev/null || cargo install --locked cargo-deb
	cargo deb --locked

references: test-tools build-tools ## write docs/settings.md, docs/metrics.md and docs/api.md from what Tollgate says of itself
	source target/test-tools/environment && TOLLGATE_WRITE_REFERENCES=1 cargo test --locked --test dashboards -- every_question the_reference

pictures: test-tools build-tools ## draw docs/pictures/*.png from the dashboards and the demo's incident (20 minutes)
	@scripts/require pngquant=pngquant $(if $(CHROMIUM),,chromium=chromium)
	@source target/test-tools/environment && bin=$$(dirname "$$TOLLGATE_TEST_NODE") && export PATH="$$bin:$$PATH" && \
	  (cd grafana/pictures && node "$$bin/../lib/node_modules/npm/bin/npm-cli.js" ci --no-progress --loglevel=error) && \
	  scripts/demo --work /tmp/tollgate-demo -- node grafana/pictures/incident.mjs docs/pictures

build-tools:
	@scripts/require $(BUILD_PACKAGES)

test-tools: ## install only the tools of the tests: Python and Node clients, the mock provider, a mail server, promtool, Alertmanager
	@scripts/require python3=python3 python3-venv
	@scripts/test-tools

clean-test: ## remove the installed tools of the tests
	rm -rf target/test-tools
