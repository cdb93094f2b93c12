# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
# Each sets up what it needs in .venv, and again only after pyproject.toml has changed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The libraries that the benchmarks compare with live apart; one of them is under the AGPL.
BENCH := .venv-bench
# More arguments for pytest or the demo: make test ARGS="-k affine"
ARGS ?=
# Processes that share the tests, a file at a time: as many as there are processors, or a number.
JOBS ?= auto
# Those with a marker wait for other processes most of the time.
MARKED_JOBS ?= $(if $(filter auto,$(JOBS)),3,$(JOBS))
PYTEST = $(BIN)/python -m pytest --maxprocesses 8 --dist loadfile --durations=10

# What these set is installed elsewhere; the environment here must stand alone.
unexport PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Tests with one of these markers run in `make test-all` only.
MARKERS := browser fashion faults hosts long manifests notebooks s3 slurm sshd tensorflow torch
MARKED := $(subst $() $(), or ,$(MARKERS))
MARKERS_IN_USE = $(shell grep -rhoE --include='test_*.py' 'mark\.($(subst $() $(),|,$(MARKERS)))\b' tests | sed 's/mark\.//' | sort -u)

.PHONY: help
help:
	@cat <<-'END'
	make demo         run the whole flow on real images and draw a contact sheet
	make test         run the tests that need nothing but Python packages
	make test-all     those, and the tests that need Debian packages, PyTorch or notebooks
	make lint         check style, types, layers and spelling
	make format       put the code into the form that lint asks for
	make docs         build the site (build/docs/html), and check its examples, links, names and spelling
	make bench        run the benchmarks
	make clean        remove the environment and every cache
	Variables: PYTHON=python3.12 picks the interpreter, ARGS="-k affine" goes to pytest or the demo, JOBS=1 runs the
	tests one after the other.
	END

.PHONY: demo
demo: $(VENV)/.stamp-demo
	@echo "==> Running the demo: $(BIN)/daskaug demo $(ARGS)"
	$(BIN)/daskaug demo $(ARGS)

.PHONY: test
test: $(VENV)/.stamp-test
	@echo "==> Running every test without a marker (a few minutes)"
	$(PYTEST) -n $(JOBS) -m "not ($(MARKED))" $(ARGS)

.PHONY: test-all
test-all: test test-marked

.PHONY: test-marked
test-marked: $(if $(MARKERS_IN_USE),$(VENV)/.stamp-test-marked)
	@if [ -n "$(MARKERS_IN_USE)" ]; then
	    echo "==> Running the tests marked $(MARKERS_IN_USE)"
	    echo "    (their Debian packages: as root, .ci/install-debian-packages $(MARKERS_IN_USE); without them they skip)"
	    $(PYTEST) -n $(MARKED_JOBS) -m "$(MARKED)" $(ARGS)
	else
	    echo "==> No test has a marker yet ($(MARKERS)): nothing more to run"
	fi

.PHONY: markers-in-use
markers-in-use:
	@echo "$(MARKERS_IN_USE)"

.PHONY: lint
lint: $(VENV)/.stamp-lint
	@echo "==> Checking style (ruff), types (mypy), layers (import-linter) and spelling (codespell)"
	# import-linter's cache goes stale when a file that others import appears: it would name imports that are not there.
	status=0
	for check in "ruff check" "ruff format --check" mypy "lint-imports --no-logo --no-cache" codespell; do
	    echo "--> $$check"
	    $(BIN)/$$check || status=1
	done
	exit $$status

.PHONY: format
format: $(VENV)/.stamp-lint
	@echo "==> Sorting imports and formatting the code (ruff)"
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: docs
docs: $(VENV)/.stamp-docs
	@echo "==> Building the site in build/docs/html, and checking it: warnings, spelling, links, names, examples"
	$(BIN)/codespell *.md docs
	$(BIN)/python -m sphinx --builder html --conf-dir docs --nitpicky --fail-on-warning --keep-going --quiet \
	    --jobs auto . build/docs/html
	$(BIN)/python docs/check_site.py build/docs/html
	$(BIN)/python docs/check_docstrings.py
	$(PYTEST) -n $(JOBS) tests/test_docs*.py README.md docs --doctest-glob='*.md' $(ARGS)

.PHONY: bench
bench: $(BENCH)/.stamp-peers
	@echo "==> Running the benchmarks (about ten minutes; best on a machine that does nothing else)"
	$(BENCH)/bin/python -m benchmarks $(ARGS)

.PHONY: clean
clean:
	@echo "==> Removing $(VENV), $(BENCH), builds and caches"
	rm -rf $(VENV) $(BENCH) build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp-venv:
	@found="'$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)"
	if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	    echo "daskaug needs Python 3.11 or newer, and $$found. Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2
	    exit 1
	fi
	if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then
	    echo "$$found, without its venv module (on Debian and Ubuntu the package python3-venv)." \
	         "Install that, or name another Python: make $(MAKECMDGOALS) PYTHON=python3.12" >&2
	    exit 1
	fi
	echo "==> Making a virtual environment in $(VENV): $$found"
	$(PYTHON) -m venv $(VENV)
	touch $@

# One stamp for each extra of pyproject.toml that a target needs.
$(VENV)/.stamp-%: pyproject.toml | $(VENV)/.stamp-venv
	@echo "==> Installing daskaug[$*] into $(VENV) (a minute or two the first time)"
	$(BIN)/python -m pip install --quiet --quiet --editable ".[$*]"
	touch $@
	echo "    took $$SECONDS s; $(VENV) is now $$(du -sm $(VENV) | cut -f1) MB"

# Each peer by itself: one that cannot be installed here is reported, and the others take part.
$(BENCH)/.stamp-peers: pyproject.toml benchmarks/requirements.txt | $(VENV)/.stamp-venv
	@echo "==> Installing daskaug[bench] and the libraries to compare with into $(BENCH) (a few minutes the first time)"
	[ -d $(BENCH) ] || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --quiet --editable ".[bench]"
	grep -vE '^(#|$$)' benchmarks/requirements.txt | while read -r peer; do
	    $(BENCH)/bin/python -m pip install --quiet --quiet "$$peer" || echo "    not installable here: $$peer"
	done
	touch $@
	echo "    took $$SECONDS s; $(BENCH) is now $$(du -sm $(BENCH) | cut -f1) MB"
