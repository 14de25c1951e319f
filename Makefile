# Every target does its own set-up: a new machine needs Python >= 3.11, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-test
# A machine with a GPU often has its own JAX and PyTorch: its Python is taken as it is.
GPU_PYTHON ?= python3
ON_GPU := JAX_PLATFORMS=cuda,cpu $(GPU_PYTHON)
export JAX_PLATFORMS ?= cpu

.DEFAULT_GOAL := help
.PHONY: help demo reproduce site test test-long test-gpu bench bench-gpu lint types clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.py constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-%: setup.py constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed  ## Train, predict and score on one real CT; writes an HTML report (under 10 minutes on 2 cores).
	$(BIN)/python -m experiments.demo --out=demo

reproduce: $(VENV)/.installed  ## The paper's tables and figures beside ours (under 30 minutes on 2 cores).
	$(BIN)/python -m experiments.reproduce all --out=reproduction

site: $(VENV)/.installed-docs  ## The documentation as a site, in site/; any warning is an error.
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs site

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

test: lint $(VENV)/.installed-docs  ## Lint, types, the site and the whole test suite (under 25 minutes on 2 cores).
	$(MAKE) --jobs=2 types site
	$(BIN)/pytest -m 'not long and not gpu and not bench' --numprocesses=3 --dist=worksteal

test-long: $(INSTALLED)  ## The tests that take many minutes.
	$(BIN)/pytest -m long

bench: $(INSTALLED) $(VENV)/.installed-bench  ## Ours beside PyTorch: equal first, then speed and memory (about an hour on 2 cores).
	$(BIN)/pytest -m bench
	$(BIN)/python -m experiments.benchmarks.cpu --out=docs/results/benchmark_cpu.json
	$(BIN)/python -m experiments.benchmarks.mednext --parts=rates,inference,step --out=docs/results/benchmark_mednext.json
	$(BIN)/python -m experiments.benchmarks.mednext --parts=rates,depthwise --out=docs/results/benchmark_depthwise.json

test-gpu:  ## Tests on an NVIDIA GPU, with the Python that has JAX for it (GPU_PYTHON=...).
	$(ON_GPU) -m pytest -m 'gpu and not long' -W default $(shell grep -rl 'pytest\.mark\.gpu' tests)

bench-gpu:  ## What this NVIDIA GPU gives, beside PyTorch where it is installed (15 minutes).
	$(ON_GPU) -m experiments.benchmark_gpu --out=gpu --minutes=15

clean:  ## Remove the virtual environment and what the other targets have written.
	rm -rf $(VENV) demo gpu reproduction site .mypy_cache .ruff_cache .pytest_cache
