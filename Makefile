# `make demo` and `make test` do everything on a machine with Python 3.11 or
# later: virtual environment, install, run. `make help` lists the rest.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
WORKERS ?= 2
DEMO_DIR ?= runs/demo

DEMO_EXTRAS := tensorflow,whisper,simulate,tiny-en,tensorboard
TEST_EXTRAS := $(DEMO_EXTRAS),serve,io,test
ALL_EXTRAS := $(TEST_EXTRAS),aot

# The oldest TensorFlow that is supported, and the newest for TPU VMs.
OLDER := 2.19 2.20

RUN := $(VENV)/bin/python
PYTEST := $(RUN) -m pytest -n $(WORKERS) --dist loadfile

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: venv demo test test-all test-versions lint clean help

# The stamps are newer than what they were installed from.
$(VENV)/.demo: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'error: Python 3.11 or later is needed. Name one with:' \
	    'make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV): some minutes, 4 to 5 GB.'
	@$(RUN) -m pip install --quiet --editable '.[$(DEMO_EXTRAS)]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	@echo 'Installing what the tests need into $(VENV).'
	@$(RUN) -m pip install --quiet --editable '.[$(TEST_EXTRAS)]'
	@touch $@

$(VENV)/.test-all: $(VENV)/.test
	@echo 'Installing the TPU compiler into $(VENV).'
	@$(RUN) -m pip install --quiet --editable '.[$(ALL_EXTRAS)]'
	@touch $@

$(VENV)-%/.test: setup.cfg pyproject.toml
	@$(PYTHON) -m venv $(VENV)-$*
	@printf '%s==$*.*\n' tensorflow tensorflow-text tensorflow-serving-api \
	    tensorboard > $(VENV)-$*/constraints.txt
	@echo 'Installing into $(VENV)-$*: some minutes, 4 to 5 GB.'
	@$(VENV)-$*/bin/python -m pip install --quiet \
	    --constraint $(VENV)-$*/constraints.txt --editable '.[$(TEST_EXTRAS)]'
	@touch $@

venv: $(VENV)/.test  ## the virtual environment with everything in it

demo: $(VENV)/.demo  ## 16 simulated speakers, 16 Submodels, one report
	$(RUN) -m tasks.demo --output_dir=$(DEMO_DIR)

test: $(VENV)/.test  ## the quick tests
	$(PYTEST)

test-all: $(VENV)/.test-all  ## every test, the slow ones and the TPU compiler's too
	$(PYTEST) -m ''

# The quick tests, and the slow ones of what a TPU VM does with its versions.
DEVICE_TESTS := tests/tasks/test_devices.py \
    tests/tpu/distribute/test_replicas.py

test-versions: $(OLDER:%=$(VENV)-%/.test)  ## the tests on older TensorFlow
	@failed=; for version in $(OLDER); do echo "TensorFlow $$version"; \
	    older="$(VENV)-$$version/bin/python -m pytest -n $(WORKERS) \
	        --dist loadfile"; \
	    $$older && $$older -m slow $(DEVICE_TESTS) \
	    || failed="$$failed $$version"; done; \
	    test -z "$$failed" || { echo "failed on:$$failed" >&2; exit 1; }

lint: $(VENV)/.test  ## ruff, import-linter and pyright
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(RUN) -m pyright --pythonpath $(RUN)

clean:  ## remove the virtual environment and caches; runs/ stays
	rm -rf $(VENV) $(OLDER:%=$(VENV)-%) build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / \
	    {printf "make %-13s %s\n", $$1, $$2}' Makefile
	@echo 'PYTHON=, VENV=, WORKERS= and DEMO_DIR= change the defaults.'
