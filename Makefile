# One command each: installs what is missing, builds into .venv, does the job. `make help` lists them.
# The engine is compiled once, in build/make, for the wheel, the C++ tests and the consumer test alike.

PYTHON ?= python3
VENV := .venv
BUILD := build/make
JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
DEMO_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=

# CMake and pip take these from the environment; a virtual environment of the caller's has no say here.
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

SOURCES := $(shell find cpp python cmake -not -name '*.so' -not -name '__pycache__' -not -name '*.pyc') \
           CMakeLists.txt pyproject.toml README.md LICENSE

.DEFAULT_GOAL := help
.PHONY: help demo test test-cpp test-python test-consumer sanitize bench lint format install venv system clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.installed-plot  ## train a character model for about a minute and let it write
	$(VENV)/bin/rnncore demo $(DEMO_ARGS)

test: test-cpp test-python test-consumer  ## all C++ and Python tests

test-cpp: $(BUILD)/.tests-built  ## the C++ tests
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

test-python: $(VENV)/.installed-test  ## the Python tests
	$(VENV)/bin/python -m pytest -n 2 $(PYTEST_ARGS)

test-consumer: $(VENV)/.installed-test  ## a separate CMake project against the installed package
	tests/consumer/run $(BUILD) $(VENV)/bin/python

sanitize: | system  ## the C++ tests under the address, undefined-behaviour and thread sanitizers (builds twice)
	scripts/sanitize $(JOBS)

bench: $(VENV)/.installed-plot  ## native benchmarks, and rnncore beside PyTorch where torch is installed
	PYTHON=$(PYTHON) scripts/install-system-packages --bench
	bench/run $(VENV)/bin/python $(BENCH_ARGS)

lint: $(VENV)/.installed-dev  ## formatting and static checks
	scripts/lint $(VENV)/bin

format: $(VENV)/.installed-dev  ## rewrite the sources in the project's format
	scripts/lint $(VENV)/bin --fix

install: $(VENV)/.installed-plot  ## build and install into .venv

venv: $(VENV)/.created

system:  # cheap where nothing is missing
	@PYTHON=$(PYTHON) scripts/install-system-packages

$(VENV)/.created: | system
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet "scikit-build-core>=0.10" "pybind11>=2.12" setuptools wheel setuptools_scm
	@touch $@

# .installed-EXTRA: the package with one of pyproject.toml's extras. Without build isolation the build folder keeps
# its meaning from one call to the next, so that only what changed is compiled.
# What dependencies without wheels (seqeval) are built with has to be there then, too.
$(VENV)/.installed-%: $(SOURCES) | $(VENV)/.created
	SKBUILD_BUILD_DIR=$(BUILD) SKBUILD_CMAKE_DEFINE="RNNCORE_TESTS=ON" \
	  $(VENV)/bin/python -m pip install --no-build-isolation ".[$*]"
	@touch $@

$(BUILD)/.tests-built: $(VENV)/.installed-test $(wildcard tests/cpp/* tests/fuzz/*)
	cmake --build $(BUILD) --target rnncore_tests rnncore_fuzz
	@touch $@

clean:  ## remove everything that was built
	rm -rf build $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
