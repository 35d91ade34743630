# The commands of this repository. The code of the commands is in scripts/.

.PHONY: help run new test check fmt fuzz model hunt hunt-bugs mutants bench bench-smoke claim-cost startup advisories build deploy test-deploy costs

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: ## serve all functions on 127.0.0.1:9000 (PORT=… selects another port); reads .env
	@scripts/run

# make exports the variables of its command line to the commands of a rule. There, `PATH=/api/…` would replace the search path for
# programs, and the shell would find no program. So the rule does not export PATH, and the shell searches its default folders.
ifneq ($(filter new,$(MAKECMDGOALS)),)
ifeq ($(origin PATH),command line)
export ENDPOINT_PATH := $(PATH)
unexport PATH
endif
endif

new: ## create an endpoint, and add it to every file that lists endpoints (NAME=orders-get METHOD=GET PATH='/api/orders/{id}')
	@scripts/new

test: check ## install missing tools, run all checks and tests
	@scripts/test

check: ## check formatting, templates, dependencies, lints and documentation
	@scripts/check

fmt: ## format the code
	@cargo fmt --all

fuzz: ## send valid and invalid requests generated from openapi.json (EXAMPLES=100, SEED=1)
	@scripts/fuzz

model: ## check the models of keys and payments, with more faults than `make test` (release profile)
	@cargo test --quiet --release --package idempotency --package payments --lib model:: -- --nocapture

hunt: ## search for double charges under random faults (PAYMENTS=2000, SEED, MODE=tiered|mongodb|redis, WORK=payments|once|rerun, RETENTION=2, FAULTS=Kill,…|none)
	@scripts/hunt

hunt-bugs: ## check that the hunt finds known bugs, planted in a copy of the sources (BUGS=…)
	@scripts/hunt-bugs

mutants: ## run mutation tests: change a copy of the sources in one place at a time, and check that a test fails (AREA=decision, leases, memory, …; FILE=shared/crates/…)
	@scripts/mutants

bench: ## measure the cost of idempotency on Valkey for this library and other libraries; takes half an hour (release profile; ONLY=latency,…, KEYS=10000000, TEST_REDIS_SERVER=redis-server)
	@scripts/bench full

bench-smoke: ## check that the benchmark works with the installed libraries; does not measure
	@scripts/bench smoke

claim-cost: ## measure the cost of a claim and of a plain round trip to Redis (release profile)
	@ONLY=claim scripts/bench full

startup: ## measure the start time of each function (release profile)
	@ONLY=functions scripts/bench full

advisories: ## look up known vulnerabilities of all locked dependencies in OSV (needs api.osv.dev)
	@scripts/advisories

build: ## build the functions for Lambda, and check that Lambda can load them (ARCH=arm64 or ARCH=x86_64 selects one architecture; PROFILE=quick builds faster)
	@scripts/build

test-deploy: ## test without an AWS account that the functions build for both architectures, and that `sam build` works
	@scripts/test-deploy

deploy: ## build and deploy to the environment ENV of samconfig.toml (development); asks for confirmation (YES=1 skips the question; ALARMS=ignored)
	@scripts/deploy

costs: ## print the cost of a million payments and of an idle month (prices: scripts/costs.py)
	@python3 scripts/costs.py
