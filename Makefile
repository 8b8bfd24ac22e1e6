# Everything that a developer or a newcomer types. `make help` lists it.
# A bare Debian 12 with make is enough: the targets install what they need (as root) and work inside .venv.

SHELL := /bin/bash
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
CLANG_FORMAT := clang-format-16
C_SOURCES = $(shell git ls-files '*.c' '*.h')

# Debian packages: to build · to run a node or a backend · for the lab and the tests · for the guest on Debian's
# stock kernel · for the tests of the images
PACKAGES_BUILD := python3 python3-venv gcc libc6-dev make git clang-16 llvm-16 clang-format-16 libbpf-dev linux-libc-dev
PACKAGES_RUN := libbpf1 iproute2 util-linux
PACKAGES_LAB := bird2 zookeeper default-jre-headless ethtool curl procps tcpdump systemd
PACKAGES_INTEROP := qemu-system-x86 busybox-static cpio kmod
PACKAGES_COMPOSE := docker.io docker-compose debootstrap nftables

# Tests that share nothing run side by side, a file to a worker: they wait more than they compute. What loads the machine
# for long, or measures what load would change, runs alone, after them.
ALONE := tests/e2e tests/compose tests/integration/test_life.py tests/bpf/test_bench_end_to_end.py
BESIDE := -n 3 --dist loadfile --no-loadscope-reorder $(addprefix --ignore=,$(ALONE))

.DEFAULT_GOAL := help
.PHONY: help setup build wheel demo test unit compose interop lint format bench life fuzz fuzz-faults pictures drill settings lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: $(VENV)/.ready build ## install Debian packages and the virtual environment (done once)

$(VENV)/.packages: Makefile
	@deploy/install-packages $(PACKAGES_BUILD) $(PACKAGES_RUN) $(PACKAGES_LAB)
	@mkdir -p $(VENV) && touch $@

$(VENV)/.compose-packages: $(VENV)/.packages
	@deploy/install-packages $(PACKAGES_COMPOSE)
	@touch $@

$(VENV)/.interop-packages: $(VENV)/.packages
	@deploy/install-packages $(PACKAGES_INTEROP)
	@touch $@

$(VENV)/.ready: $(VENV)/.packages pyproject.toml constraints.txt
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

build: $(VENV)/.ready ## compile the eBPF objects, the table builder and the gRPC code (what is stale)
	@$(BIN)/python hatch_build.py

wheel: setup ## a wheel, which needs no compiler where it is installed, and a source distribution: dist/
	@$(BIN)/python -m hatchling build -d dist

demo: setup ## the main job on this machine: 3 nodes, 4 backends, 500 connections, and nodes that come and go
	@$(BIN)/python -m lbnode.lab.demo

test: setup $(VENV)/.compose-packages $(VENV)/.interop-packages lint ## every check and every test
	@$(BIN)/pytest $(BESIDE); beside=$$?; \
	$(BIN)/pytest $(ALONE); alone=$$?; \
	test $$beside -eq 0 || echo "make test: of the tests side by side, further up, some failed"; \
	exit $$((beside | alone))

unit: setup ## the unit tests alone (seconds)
	@$(BIN)/pytest tests/unit -q

compose: setup $(VENV)/.compose-packages ## the images and docker-compose.yml for real: built, scaled, killed (minutes)
	@$(BIN)/pytest tests/compose

interop: setup $(VENV)/.interop-packages ## our programs on Debian's stock kernel and its gre devices, in a QEMU guest (a minute)
	@$(BIN)/pytest tests/interop

lint: setup ## ruff, mypy, import-linter, clang-format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@test -z "$(C_SOURCES)" || $(CLANG_FORMAT) --dry-run --Werror $(C_SOURCES)

format: setup ## rewrite the sources in house form
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .
	@test -z "$(C_SOURCES)" || $(CLANG_FORMAT) -i $(C_SOURCES)

bench: setup ## what packets, epochs and changes cost, beside floors, goals and the kernel's own (ARGS="--only veth")
	@$(BIN)/python -m tests.bench $(ARGS)

life: setup ## ten million packets through a node that is killed, restarted and upgraded: each one counted (a minute)
	@$(BIN)/python -m tests.life $(ARGS)

fuzz: setup ## programs against models on a million generated and mutated packets each (ARGS="--seed 7 --packets 5000000")
	@$(BIN)/python -m tests.fuzz $(ARGS)

fuzz-faults: setup ## is the fuzzer any good? plant faults in the C, one by one, and find them all
	@$(BIN)/python -m tests.fuzz.fault_run

pictures: setup ## draw the pictures of docs/affinity.md anew (minutes)
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[pictures]'
	@set -o pipefail; $(BIN)/python -m ring.simulate --json | $(BIN)/python docs/images/draw.py

drill: setup ## the churn drill: 2,000 connections while everything comes, goes, fails and is replaced (minutes)
	@$(BIN)/lbctl lab drill churn --flows 2000 --events 60 --seed 1

settings: setup ## write docs/settings.md and docs/schema anew from the settings' models
	@$(BIN)/python -m lbnode.cli.reference docs

lock: setup ## write constraints.txt anew from what is installed
	@deploy/lock-versions $(BIN)/pip > constraints.txt.new && mv constraints.txt.new constraints.txt

clean: ## remove what was built (not .venv)
	@rm -rf lbnode/bpf/build ring/*.so lbnode/api/v1/*_pb2* dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
