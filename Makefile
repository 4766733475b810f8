# Every target stands alone on a fresh Debian 12 with Python, gcc and root: what is missing is
# installed from Debian's packages (deploy/install-needs) and into .venv, and built when it changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
# Tests in namespaces mostly wait, so more of them run side by side than there are cores.
WORKERS ?= 4
# More arguments for pytest: make test ARGS='-k keepalived'
ARGS ?=

EXTENSIONS := $(wildcard ext/*.pyx fastvrrp/*.pxd)

# How long each fuzzer runs: make fuzz FUZZ_SECONDS=60
FUZZ_SECONDS ?= 300

.PHONY: build demo test lint bench fuzz deb clean

build: $(VENV)/.extensions

demo: needs-demo build
	@$(VENV)/bin/fastvrrp demo

# Thousands of processes are started, also where PYTHONDONTWRITEBYTECODE keeps them from writing what
# they have compiled.
test: needs-test build
	@$(PY) -m compileall -q fastvrrp
	@.ci/tests $(PY) -n $(WORKERS) --dist loadgroup $(ARGS)

# Measures everything, in about an hour, and writes docs/performance.md; what was interrupted goes on
# with make bench ARGS=--resume, and 'fastvrrp bench --help' has the single parts.
bench: needs-bench build
	@$(VENV)/bin/fastvrrp bench document $(ARGS)

# Configurations made from the table of keywords, then bytes, then requests to the control socket; what
# breaks a reader stays in build/fuzz.
fuzz: needs-test build $(VENV)/.fuzzers
	@FASTVRRP_FUZZ_SECONDS=$(FUZZ_SECONDS) $(PY) -m pytest -q tests/test_config_fuzz.py
	@mkdir -p build/fuzz
	@PYTHONPATH=tests $(PY) tests/fuzz/config_bytes.py -max_total_time=$(FUZZ_SECONDS) \
	    -artifact_prefix=$(CURDIR)/build/fuzz/
	@PYTHONPATH=tests $(PY) tests/fuzz/control_bytes.py -max_total_time=$(FUZZ_SECONDS) \
	    -artifact_prefix=$(CURDIR)/build/fuzz/

# build/deb has the packages. dpkg-buildpackage wants its recipe at the top of a tree, so in a copy.
deb: needs-test build
	@rm -rf build/deb && mkdir -p build/deb/tree
	@$(PY) -m build --wheel --no-isolation --outdir build/deb . >/dev/null
	@cp -r CHANGELOG.md README.md deploy docs build/deb/tree && mv build/deb/tree/deploy/debian build/deb/tree/
	@cd build/deb/tree && FASTVRRP_WHEEL="$$(echo $(CURDIR)/build/deb/*.whl)" \
	    dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >../log 2>&1 || { cat ../log; exit 1; }
	@ls build/deb/*.deb

lint: build $(VENV)/.linters
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint ext fastvrrp # which runs pycodestyle by its name

clean:
	rm -rf $(VENV) build dist *.egg-info fastvrrp/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: needs-build needs-demo needs-test needs-bench
needs-build needs-demo needs-test needs-bench: needs-%:
	@deploy/install-needs $*

# Prints what pyproject.toml requires, one requirement a line: $(call requirements,TABLE)
requirements = $(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
    print(*p$(1), sep="\n")'
PIP_INSTALL := $(PY) -m pip install -q --disable-pip-version-check

# Order-only: whether something is missing is asked every time, and by itself rebuilds nothing.
$(VENV)/.requirements: pyproject.toml | needs-build
	@echo 'Making $(VENV)'
	@[[ -x $(PY) ]] || "$$(deploy/choose-python)" -m venv $(VENV)
	@$(call requirements,["build-system"]["requires"]) >$@
	@$(PIP_INSTALL) -r $@

# Without build isolation, so that this step and the next compile with one Cython.
$(VENV)/.installed: $(VENV)/.requirements
	@echo 'Installing fastvrrp into $(VENV)'
	@$(PIP_INSTALL) --no-build-isolation -e '.[test]'
	@touch $@

$(VENV)/.extensions: $(VENV)/.installed setup.py $(EXTENSIONS)
	@$(PY) setup.py -q build_ext --inplace
	@touch $@

$(VENV)/.fuzzers: $(VENV)/.requirements
	@$(call requirements,["project"]["optional-dependencies"]["fuzz"]) >$@
	@$(PIP_INSTALL) -r $@

$(VENV)/.linters: $(VENV)/.requirements
	@$(call requirements,["project"]["optional-dependencies"]["lint"]) >$@
	@$(PIP_INSTALL) -r $@
