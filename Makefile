# `make` says what each target does. Needs Python 3.11 or newer with pip; everything else goes into $(VENV).
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3))
VENV ?= .venv
TORCH ?= 2.13.0
PYTEST_ARGS ?=
DEMO_ARGS ?=

PY := $(VENV)/bin/python
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help browser demo test test-slow test-kill test-sanitized lint format types pytest bench constraints clean

# Read by pip, also where it builds a package in an environment apart.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

DEMO_EXTRAS := lite,photos
TEST_EXTRAS := deploy,dev,explain,keras,lite,peers,photos,search,tensorboard
DEMO_READY := $(VENV)/demo-ready
TEST_READY := $(VENV)/test-ready
SANITIZED := build/sanitized
KERNELS := $(wildcard src/triscale/kernels/*.cpp src/triscale/kernels/*.h src/triscale/deploy/engine/native/*) \
  src/triscale/kernels/CMakeLists.txt

help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

demo: $(DEMO_READY) ## Solve a budget and classify real photographs: the whole chain in minutes
	@$(VENV)/bin/triscale demo $(DEMO_ARGS)

test: lint types pytest ## Everything a change must pass: lint, types, tests

lint: $(TEST_READY) ## Check style and formatting (ruff)
	@echo "Checking style and formatting"
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check --quiet . || { echo "Badly formatted: run 'make format'"; exit 1; }

format: $(TEST_READY) ## Format the code and mend what ruff can
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format .

types: $(TEST_READY) ## Check types (mypy --strict)
	@echo "Checking types"
	@$(PY) -m mypy --strict src

pytest: $(TEST_READY) browser ## Run the tests; PYTEST_ARGS="tests/cost -k memory" narrows
	@echo "Running the tests"
	@$(PY) -m pytest --numprocesses=auto --maxprocesses=8 --dist=worksteal $(PYTEST_ARGS)

test-slow: $(TEST_READY) ## Run the tests marked slow
	@$(PY) -m pytest --numprocesses=auto --maxprocesses=8 --dist=worksteal -m slow $(PYTEST_ARGS)

test-kill: $(TEST_READY) ## Kill training runs 100 times and compare what they learnt
	@$(PY) -m pytest --numprocesses=2 -m slow tests/train/test_kill.py $(PYTEST_ARGS)

test-sanitized: $(TEST_READY) ## Run the engine's tests in a build that checks addresses and undefined behaviour
	@echo "Building the engine with sanitizers in $(SANITIZED)"
	@mkdir -p $(SANITIZED) && export PATH="$(CURDIR)/$(VENV)/bin:$$PATH" && \
	  cmake -S src/triscale/kernels -B $(SANITIZED) -G Ninja -DSANITIZE=ON -DPython_EXECUTABLE="$(CURDIR)/$(PY)" \
	    > $(SANITIZED)/log && cmake --build $(SANITIZED) --target _engine >> $(SANITIZED)/log || \
	  { cat $(SANITIZED)/log; exit 1; }
	@SANITIZED_ENGINE="$$(ls $(CURDIR)/$(SANITIZED)/engine/_engine*.so)" PYTHONPATH=$(CURDIR)/tests/sanitized \
	  LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 $(PY) -m pytest tests/deploy/engine \
	  --ignore=tests/deploy/engine/test_c_library.py -m 'not slow or sanitized' $(PYTEST_ARGS)

bench: $(TEST_READY) ## Run every benchmark, each beside its peers in one process
	@for script in benchmarks/*.py; do echo "== $$script"; $(PY) -m benchmarks.$$(basename $$script .py) || exit 1; done

constraints: ## Resolve every package anew and write constraints.txt (TORCH=2.13.0 chooses torch)
	@echo "Resolving in $(VENV)-resolve: torch $(TORCH), all else the newest that fits"
	@rm -rf $(VENV)-resolve && $(PYTHON) -m venv --without-pip $(VENV)-resolve
	@unset PIP_CONSTRAINT PIP_BUILD_CONSTRAINT; \
	  $(PYTHON) -m pip --python $(VENV)-resolve/bin/python install -qq pip && \
	  $(VENV)-resolve/bin/python -m pip install -qq --editable '.[$(TEST_EXTRAS)]' torch==$(TORCH)
	@{ echo "# What CI installs. Written by 'make constraints'; change pyproject.toml, not this file."; \
	   $(VENV)-resolve/bin/python -m pip list --format=freeze --exclude triscale \
	     | sed -E 's/\+[a-z0-9.]+$$//' | LC_ALL=C sort --ignore-case; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt && rm -rf $(VENV)-resolve

clean: ## Remove the environment, caches and build products
	rm -rf $(VENV) $(VENV)-resolve build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	cd src/triscale/kernels && rm -rf .cmake .ninja_* .skbuild-info.json CMakeCache.txt CMakeFiles CMakeInit.txt \
	  build.ninja cmake_install.cmake engine *.a *.so ../deploy/engine/*.so
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# ---- Set-up: each environment file is made once, and again after a change of what it was made from.
$(PY):
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --without-pip $(VENV)
	@$(PYTHON) -m pip --python $(PY) install -qq pip

$(DEMO_READY): pyproject.toml constraints.txt $(KERNELS) | $(PY)
	@echo "Installing Triscale with its example weights and photographs into $(VENV) (minutes the first time)"
	@$(PY) -m pip install -qq --editable '.[$(DEMO_EXTRAS)]'
	@touch $@

$(TEST_READY): pyproject.toml constraints.txt $(KERNELS) | $(PY)
	@echo "Installing Triscale and all that its tests compare with into $(VENV) (minutes the first time)"
	@$(PY) -m pip install -qq --editable '.[$(TEST_EXTRAS)]'
	@touch $@

# Pages are tested in a browser: Debian's Chromium, where this machine has none and lets us install it.
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable
browser:
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	  if [ "$$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi; \
	  if command -v apt-get >/dev/null && $$root true 2>/dev/null; then \
	    echo "Installing Chromium, in which pages are tested"; \
	    $$root apt-get update -qq && \
	    $$root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null && exit 0; \
	  fi; \
	  echo "No Chromium is here and none could be installed: tests of pages in a browser are left out, or fail where CI=true"
