# The commands of this repository. Their code is in scripts/.

.PHONY: help run new test check fmt fuzz model hunt hunt-bugs mutants bench bench-smoke claim-cost startup advisories build deploy test-deploy costs

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: ## serve all functions on 127.0.0.1:9000 (PORT=… for another port; reads .env)
	@scripts/run

# make exports the variables of its command line to the commands of a rule. In these commands, `PATH=/api/…` would replace the folders of
# programs, and no program would be found. Without PATH, the shell searches its default folders.
ifneq ($(filter new,$(MAKECMDGOALS)),)
ifeq ($(origin PATH),command line)
export ENDPOINT_PATH := $(PATH)
unexport PATH
endif
endif

new: ## write a new endpoint into every place that names one (NAME=orders-get METHOD=GET PATH='/api/orders/{id}')
	@scripts/new

test: check ## install what is missing, check everything, run all tests
	@scripts/test

check: ## check formatting, templates, dependencies, clippy, documentation
	@scripts/check

fmt: ## format the code
	@cargo fmt --all

fuzz: ## send valid and invalid requests generated from openapi.json (EXAMPLES=100, SEED=1)
	@scripts/fuzz

model: ## model-check the protocols of keys and payments, deeper than `make test` does (release profile)
	@cargo test --quiet --release --package idempotency --package payments --lib model:: -- --nocapture

hunt: ## search for double charges under random faults (PAYMENTS=2000, SEED, MODE=tiered|mongodb|redis, WORK=payments|once|rerun, RETENTION=2, FAULTS=Kill,…|none)
	@scripts/hunt

hunt-bugs: ## check that the hunt finds known bugs, planted in a copy of the sources (BUGS=…)
	@scripts/hunt-bugs

mutants: ## mutation tests: change a copy of the sources in one place at a time, and check that a test fails (AREA=decision, leases, memory, …; FILE=shared/crates/…)
	@scripts/mutants

bench: ## measure the cost of idempotency on Valkey, compared with other libraries; half an hour (release profile; ONLY=latency,…, KEYS=10000000, TEST_REDIS_SERVER=redis-server)
	@scripts/bench full

bench-smoke: ## check that the benchmark works, with the installed libraries; measures nothing
	@scripts/bench smoke

claim-cost: ## benchmark: the cost of a claim compared with a bare round trip to Redis (release profile)
	@ONLY=claim scripts/bench full

startup: ## benchmark: the start time of each function (release profile)
	@ONLY=functions scripts/bench full

advisories: ## look up known vulnerabilities of all locked dependencies in OSV (needs api.osv.dev)
	@scripts/advisories

build: ## build the functions for Lambda and check that it can load them (ARCH=arm64 or x86_64 for one of them; PROFILE=quick builds faster)
	@scripts/build

test-deploy: ## test a deployment as far as possible without an AWS account: both architectures, sam build
	@scripts/test-deploy

deploy: ## build and deploy to the environment ENV of samconfig.toml (development); asks for confirmation, unless YES=1 (ALARMS=ignored)
	@scripts/deploy

costs: ## print the cost of a million payments and of an idle month, by the prices in scripts/costs.py
	@python3 scripts/costs.py
