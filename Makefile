# Everything the repository can do for you. `make` alone lists the targets.
# The first target that needs it builds .venv with the versions of constraints.txt; later ones reuse it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input -c constraints.txt
# torch comes first and alone: resolved together with the rest, pip would fetch the CUDA libraries as well.
PIN = $(shell sed -n 's/^\($(1)==[^ ]*\).*/\1/p' constraints.txt)

# One thread a process: the matrices are small, and the processes share the cores.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help quickstart demo-crystal test lint format types layers docs bench changelog clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

$(VENV)/stamp.python: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "got: $$($(PYTHON) --version)"; echo "expected: Python 3.11, 3.12 or 3.13"; \
	  echo "try: make PYTHON=python3.12 <target>"; exit 1; }
	@echo "adiabat: making $(VENV) with $$($(PYTHON) --version), and PyTorch in it (about 1 GB, a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) $(call PIN,setuptools) $(call PIN,torch)
	@touch $@

$(VENV)/stamp.package: $(VENV)/stamp.python pyproject.toml
	@echo "adiabat: installing the package, editable"
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/stamp.test: $(VENV)/stamp.package
	@echo "adiabat: installing what the tests need"
	@$(PIP) --no-build-isolation -e '.[test]'
	@touch $@

$(VENV)/stamp.lint: $(VENV)/stamp.package
	@echo "adiabat: installing the linters"
	@$(PIP) --no-build-isolation -e '.[lint]'
	@touch $@

$(VENV)/stamp.docs: $(VENV)/stamp.package
	@echo "adiabat: installing what the docs need"
	@$(PIP) --no-build-isolation -e '.[docs]'
	@touch $@

quickstart: $(VENV)/stamp.package ## label, train, test, run MD and write one HTML page, in under 10 minutes
	@$(BIN)/adiabat quickstart -o quickstart

demo-crystal: $(VENV)/stamp.package ## hBN: label with CP2K if it is there, train, test, draw bands and DOS
	@$(BIN)/adiabat demo-crystal -o demo-crystal

test: $(VENV)/stamp.test ## run every test, the examples of the README and the docs among them
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(VENV)/stamp.lint ## ruff: style, docstrings, formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/stamp.lint ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(VENV)/stamp.lint $(VENV)/stamp.test ## pyright, strict everywhere; it reads the optional packages too
	@$(BIN)/pyright --project pyproject.toml # not a pyrightconfig.json of a folder above

layers: $(VENV)/stamp.lint ## import-linter: imports point down the stack
	@$(BIN)/lint-imports

docs: $(VENV)/stamp.docs ## build the documentation into site/, warnings as errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "adiabat: docs are in site/index.html"

bench: $(VENV)/stamp.package ## run the benchmarks; each prints machine, versions and commit
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script $(ARGS) || exit 1; done

changelog: $(VENV)/stamp.lint ## show the changelog that the fragments would make
	@$(BIN)/towncrier build --draft

clean: ## remove everything that was built, .venv among it
	rm -rf $(VENV) site build dist quickstart demo-crystal .pytest_cache .ruff_cache .hypothesis .import_linter_cache
