# The commands of this repository; what they do is in scripts/.

.PHONY: help run test check fmt fuzz model hunt hunt-bugs mutants bench bench-smoke claim-cost startup advisories build deploy test-deploy costs

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: ## serve all functions on 127.0.0.1:9000 (PORT=… for another port; reads .env)
	@scripts/run

test: check ## install what is missing, check everything, run all tests
	@scripts/test

check: ## formatting, templates, dependencies, clippy, documentation
	@scripts/check

fmt: ## format the code
	@cargo fmt --all

fuzz: ## send the functions what openapi.json allows, and what it does not (EXAMPLES=100, SEED=1)
	@scripts/fuzz

model: ## check the protocols of keys and payments state by state, further than `make test` does (release profile)
	@cargo test --quiet --release --package idempotency --package payments --lib model:: -- --nocapture

hunt: ## look for double charges under random faults (PAYMENTS=2000, SEED, MODE=tiered|mongodb|redis, WORK=payments|once|rerun, RETENTION=2, FAULTS=Kill,…|none)
	@scripts/hunt

hunt-bugs: ## plant known bugs in a copy of the sources, and hunt them (BUGS=…)
	@scripts/hunt-bugs

mutants: ## change a copy of the sources in one place at a time, and see that a test fails (AREA=decision, holds, memory, …; FILE=shared/crates/…)
	@scripts/mutants

bench: ## measure what idempotency costs, ours beside its peers; half an hour (release profile; ONLY=latency,…, KEYS=10000000)
	@scripts/bench full

bench-smoke: ## show that the benchmark works, with the peers that are installed; measures nothing
	@scripts/bench smoke

claim-cost: ## of the benchmark: what a claim costs beside a bare round trip to Redis (release profile)
	@ONLY=claim scripts/bench full

startup: ## of the benchmark: how long each function takes to start (release profile)
	@ONLY=functions scripts/bench full

advisories: ## look up the advisories of all that lock files list in OSV, which has those of RustSec, PyPA and GitHub (needs api.osv.dev)
	@scripts/advisories

build: ## build the functions for Lambda and check that it can load them (ARCH=arm64 or x86_64 for one of both; PROFILE=quick for what is only tried)
	@scripts/build

test-deploy: ## try what of a deployment can be tried without an account: both architectures, sam build
	@scripts/test-deploy

deploy: ## sam build, and sam deploy to what samconfig.toml calls ENV (development); wants a yes, or YES=1 (ALARMS=ignored)
	@scripts/deploy

costs: ## what a million payments and an idle month cost, by the prices in scripts/costs.py
	@python3 scripts/costs.py
