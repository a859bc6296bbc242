# One word per job; `make` alone lists them. Each sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CARGO  := cargo
# Both cores of a small machine, and not all of a large one.
JOBS   ?= $(shell n=$$(nproc); echo $$((n < 8 ? n : 8)))
# Each of `make fuzz`'s targets.
FUZZ_SECONDS ?= 60

# rustup's programs, also where a login shell has not put them on the PATH.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
export CARGO_BUILD_JOBS := $(JOBS)
# The binding is a module that Python loads, so nothing here links libpython.
export PYO3_BUILD_EXTENSION_MODULE := 1
export PYO3_PYTHON := $(abspath $(BIN)/python)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where tests find a stock targetcli, by itself: one of its requirements has to be compiled.
TARGETCLI := $(abspath $(VENV)/targetcli)
export SCSI_SNAP_TARGETCLI := $(TARGETCLI)

BUILD_PACKAGES := python3-venv gcc libc6-dev
TOOL_PACKAGES  := libiscsi-bin qemu-utils qemu-block-extra e2fsprogs
# libFuzzer is compiled with its searches.
FUZZ_PACKAGES  := g++
BENCH_PACKAGES := $(TOOL_PACKAGES) tgt nbdkit
# Those of the guest's that the host lends it, as a machine of Vagrant's has them.
LAB_PACKAGES   := qemu-system-x86 busybox-static $(shell cat vagrant/packages)

NATIVE       := scsi_snap/_native.abi3.so
INSTALLED    := $(VENV)/installed $(NATIVE)
RUST_SOURCES := $(shell find rust -name target -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
CARGO_TEST   := $(CARGO) test --locked --manifest-path rust/Cargo.toml --workspace --features simulation

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

demo: $(INSTALLED) | tools ## the main job, shown: a pool, a volume, a snapshot, a foreign initiator
	@$(BIN)/python scripts/demo.py $(DEMO_OPTIONS)

test: test-rust test-python ## every test

test-rust: $(VENV)/ready | toolchain ## tests of the data path alone
	$(CARGO_TEST)

test-python: $(INSTALLED) | tools ## pytest, with foreign initiators (PYTEST_OPTIONS="-k ...")
	$(BIN)/pytest $(PYTEST_OPTIONS)

test-lowest: $(INSTALLED) ## the faces with the lowest versions that setup.cfg declares
	$(BIN)/python scripts/lowest.py build/lowest

check: $(INSTALLED) | toolchain fuzz-tools ## format, lint, types, stubs, floors, generated pages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest scsi_snap._native
	$(BIN)/lint-imports
	cd rust && $(CARGO) fmt --all --check
	cd rust/fuzz && $(CARGO) fmt --check
	cd rust && $(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings
	cd rust/fuzz && $(CARGO) clippy --locked --target-dir ../target -- -D warnings
	$(BIN)/python scripts/generate_docs.py --check

format: $(INSTALLED) | toolchain ## put every file in its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .
	cd rust && $(CARGO) fmt --all

docs: $(INSTALLED) ## write the pages that are made from tables in the code
	$(BIN)/python scripts/generate_docs.py

conformance: $(INSTALLED) | bench-tools ## libiscsi's suite on every kind of unit and on tgt: docs/conformance.md
	$(BIN)/python -m tests.conformance.page

fuzz: $(VENV)/fuzz | toolchain fuzz-tools ## search what reads bytes from outside, FUZZ_SECONDS each (60)
	PATH="$(abspath $(BIN)):$$PATH" scripts/fuzz.sh $(BIN)/python $(FUZZ_SECONDS) $(FUZZ_TARGETS)

lab: $(INSTALLED) | lab-tools ## scenarios in a real kernel, in a guest (LAB_OPTIONS="--only 1,3")
	$(BIN)/python -m tests.lab $(LAB_OPTIONS)

lab-quick: $(INSTALLED) | lab-tools ## three of them, shortened
	$(BIN)/python -m tests.lab --quick --only 1,2,3 $(LAB_OPTIONS)

bench: $(INSTALLED) | bench-tools ## full comparison with tgt and nbdkit, table and JSON
	$(BIN)/python -m bench $(BENCH_OPTIONS)

bench-quick: $(INSTALLED) | bench-tools ## the same in a few minutes, coarser
	$(BIN)/python -m bench --quick $(BENCH_OPTIONS)

wheel: $(VENV)/ready | toolchain ## dist/*.whl: installs on CPython 3.11 and later, without Rust
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls -1 dist/*.whl

clean: ## remove what was built; keeps sources and nothing else
	rm -rf $(VENV) build dist *.egg-info $(NATIVE) rust/target rust/fuzz/target
	rm -rf .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ---------------------------------------------------------------------------------------

toolchain:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "error: scsi_snap needs Python 3.11 or newer; set PYTHON=... to one")'
	@$(PYTHON) scripts/rust_toolchain.py

system:
	@scripts/ensure_packages.sh $(BUILD_PACKAGES)

tools:
	@scripts/ensure_packages.sh $(TOOL_PACKAGES)

fuzz-tools:
	@scripts/ensure_packages.sh $(FUZZ_PACKAGES)

bench-tools:
	@scripts/ensure_packages.sh $(BENCH_PACKAGES)

lab-tools:
	@scripts/ensure_packages.sh $(LAB_PACKAGES)

# What builds the module and runs cargo's tests.
$(VENV)/ready: | system toolchain
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip 'setuptools>=77' 'setuptools-rust>=1.12'
	touch $@

# cargo decides what is out of date; make only whether to ask it.
$(NATIVE): $(VENV)/ready $(RUST_SOURCES) | toolchain
	$(BIN)/python -c 'import setuptools; setuptools.setup()' --quiet build_rust --inplace
	@touch $@

# The package itself, editable, with all that tests and checks need. The module is there by then.
$(VENV)/installed: setup.cfg pyproject.toml | $(NATIVE)
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(TARGETCLI) targetcli
	@touch $@ $(NATIVE)

# cargo-fuzz and atheris, beside the other tools.
$(VENV)/fuzz: $(VENV)/installed
	$(CARGO) install --quiet --locked --root $(VENV) cargo-fuzz
	$(BIN)/pip install --quiet 'atheris >= 2.3'
	touch $@

.PHONY: help demo test test-rust test-python test-lowest check format docs conformance fuzz lab lab-quick bench bench-quick \
	wheel clean toolchain system tools fuzz-tools bench-tools lab-tools
