# brainpress: `make demo` prints a small release, `make test` runs every check. Needs Python >= 3.11.
# Another interpreter: make demo PYTHON=python3.12.  pip's own PIP_* variables are honoured.

VENV := .venv
BIN := $(VENV)/bin
CODE := ldm manifests ray_jobs tests

USABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	$$p -c '$(USABLE)' >/dev/null 2>&1 && { echo $$p; break; }; done)

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help demo test docs lint format types fast e2e slow clean

help:  ## this list
	@echo "make TARGET"; grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12 | sed 's/^/  /'

demo: $(VENV)/.press  ## set up, print 16 volumes into demo-release/, show where things are
	$(BIN)/brainpress generate --n 16 --out demo-release
	@echo; echo '$$ brainpress query demo-release --where "age > 60" --limit 5'
	@$(BIN)/brainpress query demo-release --where "age > 60" --limit 5
	@echo
	@echo "volumes    demo-release/sub-*/anat/*_T1w.nii.gz"
	@echo "manifest   demo-release/manifest.parquet"
	@echo "next       source $(VENV)/bin/activate; brainpress --help"
	@echo "a model    $(BIN)/brainpress view demo"
	@echo "its page   $(BIN)/brainpress view demo-release"
	@echo "pictures   $(CURDIR)/demo-release/previews/samples.png"

test: lint types fast e2e  ## every check: style, types, imports, all tests

lint: $(VENV)/.dev  ## ruff, and the arrows between the packages
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/lint-imports

types: $(VENV)/.dev  ## mypy
	$(BIN)/mypy

fast: $(VENV)/.dev  ## the tests that need no Ray; some wait for servers, so three at a time
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m "not e2e and not slow" -n 3 --dist loadfile --durations=25

e2e: $(VENV)/.dev  ## the tests on real Ray and in fresh environments; they mostly wait, so three at a time
	$(BIN)/pytest -q -m "e2e and not slow" -n 3 --dist loadfile --no-loadscope-reorder --durations=25

slow: $(VENV)/.dev  ## the longest tests, which `make test` leaves out
	$(BIN)/pytest -q -m slow

docs: $(VENV)/.dev  ## the documentation as a site, in site/index.html; a dead link fails it
	$(BIN)/python -m tests.docs.site

format: $(VENV)/.dev  ## format, and mend what ruff can
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

clean:  ## remove what `make` made: the environment, caches and the demo release
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis site demo-release

$(VENV)/.made:
	@$(or $(PYTHON),false) -c '$(USABLE)' 2>/dev/null || { echo "make: found $(or $(PYTHON),no Python);" \
		"brainpress needs Python 3.11 to 3.14 with venv (on Debian: apt install python3-venv);" \
		"name one with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.press: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing brainpress[press] into $(VENV): PyTorch, MONAI and Ray take some minutes the first time"
	$(PIP) -e '.[press]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing brainpress[press,dev] into $(VENV): PyTorch, MONAI and Ray take some minutes the first time"
	$(PIP) -e '.[press,dev]'
	@touch $(VENV)/.press $@
