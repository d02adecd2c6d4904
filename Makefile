# Without PYTHON, everything is installed into .venv, in the versions of constraints.txt.
# With PYTHON=/path/to/python, that interpreter is used and nothing is installed.

VENV := .venv
SYSTEM_PYTHON ?= python3
ifdef PYTHON
  PY := $(PYTHON)
  READY :=
else
  PY := $(VENV)/bin/python
  READY := $(VENV)/.ready
endif

CUDA_TORCH ?= 2.11.0
CUDA_VENV := .venv-cuda-$(CUDA_TORCH)

# make bench QUICK=1, make bench ARGS="--workload gpt --budget 10"
ARGS ?=
BENCH_FLAGS := $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)
BENCHMARK_FLAGS := --benchmark-columns=median,iqr,rounds --benchmark-warmup=on
# make report RUN=results/…/…; the default is the newest run.
RUN ?= $(shell ls -td results/*/*/run.json 2>/dev/null | head -n 1 | xargs -r dirname)
# make check RUN=… BASELINE=…; the default is the newest run against its machine's reference under results/reference/,
# or against the machine's previous run if it has no reference. ARGS="…": any option of loopmark check.
RUN_FOLDER = $(patsubst %/,%,$(RUN))
MACHINE = $(notdir $(patsubst %/,%,$(dir $(RUN_FOLDER))))
BASELINE ?= $(shell { ls -d results/reference/$(MACHINE)/*/run.json | sort -r; \
  ls -d results/$(MACHINE)/*/run.json | sort -r | awk '$$0 < "$(RUN_FOLDER)"'; } 2>/dev/null | head -n 1 | xargs -r dirname)

.DEFAULT_GOAL := help
.PHONY: setup bench bench-scale docs test test-docs test-gpu test-gpu-all test-cuda-build gpu-evidence lint format report check compare clean help

setup: $(READY) ## Install everything into .venv (the other targets do so too)

bench: $(READY) ## Measure the default loops and write a report (QUICK=1: in 90 s; ARGS="…": options of loopmark run)
	$(PY) -m loopmark run $(BENCH_FLAGS)

# The tests start a hundred processes, and each would compile Loopmark anew where Python is told to write no bytecode.
test test-cuda-build test-docs: export PYTHONDONTWRITEBYTECODE :=

test: $(READY) ## Run the tests that need no GPU, two at a time; timing tests run last (ARGS="-k …": one at a time)
ifeq ($(strip $(ARGS)),)
	$(PY) -m pytest -m "not cuda and not docs" --numprocesses=2 --dist=worksteal --benchmark-skip
	$(PY) -m pytest -m "not cuda and not docs" $(BENCHMARK_FLAGS) --benchmark-only tests/benchmarks
else
	$(PY) -m pytest -m "not cuda and not docs" $(BENCHMARK_FLAGS) $(ARGS)
endif

test-docs: $(READY) ## Run every command in the documentation, two pages at a time
	$(PY) -m pytest -m docs --numprocesses=2 --dist=worksteal tests/docs $(ARGS)

docs: $(READY) ## Build the documentation in docs/_build/html; warnings are errors
	$(PY) -m sphinx --fail-on-warning --quiet docs docs/_build/html

test-gpu: $(READY) ## Run the short tests that need a CUDA device: each technique once on each workload
	$(PY) -m pytest -m "cuda and not long" $(ARGS)

test-gpu-all: $(READY) ## Run all tests that need a CUDA device (hours)
	$(PY) -m pytest -m cuda $(ARGS)

test-cuda-build: $(CUDA_VENV)/.ready ## Run the tests without a GPU on torch's CUDA build (CUDA_TORCH=2.11.0; some GB)
	$(CUDA_VENV)/bin/python -m pytest -m "not cuda and not docs" --numprocesses=2 --dist=worksteal --benchmark-skip $(ARGS)

gpu-evidence: $(READY) ## Check Loopmark's promises on this GPU (STEP=1, 2 or 3; EVIDENCE=folder; DEVICE=cpu)
	$(PY) -m tests.evidence $(if $(STEP),--step $(STEP)) $(if $(EVIDENCE),--evidence "$(EVIDENCE)") $(if $(DEVICE),--device $(DEVICE))

bench-scale: $(READY) ## Time report on ten million samples, history and compare on 200 runs (4 minutes, 4 GiB)
	LOOPMARK_SCALE=full $(PY) -m pytest tests/benchmarks/test_scale_benchmark.py --benchmark-columns=median $(ARGS)

lint: $(READY) ## Check format, style and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: $(READY) ## Format the code
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

report: $(READY) ## Draw a stored run again (RUN=folder; default: the newest)
	$(if $(RUN),,$(error results/ has no run yet: run make bench, or give RUN=folder))
	$(PY) -m loopmark report $(RUN)

check: $(READY) ## Compare a run with a baseline; a regression fails (RUN=folder BASELINE=folder ARGS="…")
	$(if $(RUN),,$(error results/ has no run yet: run make bench, or give RUN=folder))
	$(if $(BASELINE),,$(error there is no baseline for $(RUN): give BASELINE=folder, or measure once more))
	$(PY) -m loopmark check $(RUN) --baseline $(BASELINE) $(ARGS)

compare: $(READY) ## Compare the newest run of each machine under results/, or one machine before and after (ARGS="…")
	$(PY) -m loopmark compare results $(ARGS)

clean: ## Remove the environment and every cache, but no run
	rm -rf $(VENV) .venv-cuda-* build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(SYSTEM_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(SYSTEM_PYTHON) is too old, Loopmark needs Python 3.11 or newer: make SYSTEM_PYTHON=/path/to/python3.12 …"; exit 2; }
	$(SYSTEM_PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	touch $@

$(CUDA_VENV)/.ready: pyproject.toml constraints.txt
	$(SYSTEM_PYTHON) -m venv $(CUDA_VENV)
	grep -v -e '^torch==' -e '^setuptools==' constraints.txt > $(CUDA_VENV)/constraints.txt
	$(CUDA_VENV)/bin/python -m pip install --quiet --constraint $(CUDA_VENV)/constraints.txt --editable '.[dev]' torch==$(CUDA_TORCH)
	touch $@
