# `make study` and `make test` do all the set-up there is. ARGS goes to snakemake or pytest:
#   make study ARGS="--configfile resources/studies/corpus.yaml"
PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --require-hashes --no-deps
# Tests run file by file in a few processes at once, one more than there are cores, since some wait for SLURM, servers
# or a browser; TESTS= runs them in one, as a debugger wants it.
TESTS ?= --numprocesses $(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count() + 1))') --dist loadfile --no-loadscope-reorder
# Jobs with a model that run at once: one for each GPU of this machine (workflow/profiles/default has one).
GPUS ?= $(shell nvidia-smi --list-gpus 2>/dev/null | grep -c GPU)
# Where the study runs: here, unless ARGS has --directory=ELSEWHERE.
DIRECTORY := $(or $(patsubst --directory=%,%,$(filter --directory=%,$(ARGS))),.)

.PHONY: study plan rehearsal reproduce robustness compare compare-usage test bench lint audit schema clean
.DEFAULT_GOAL := study

study: $(VENV)/installed
	@$(BIN)/python scripts/tools/check_configfiles.py $(ARGS)
	$(BIN)/snakemake --cores $(CORES) $(if $(filter-out 0 1,$(GPUS)),--resources gpu=$(GPUS)) $(ARGS)
	@echo "The report: $(abspath $(DIRECTORY))/results/report/index.html"

# What a study takes, without weights or corpora: make plan ARGS="--configfile resources/studies/paper.yaml"
plan: $(VENV)/installed
	@$(BIN)/python scripts/tools/check_configfiles.py $(ARGS)
	@$(BIN)/python scripts/tools/plan_study.py $(ARGS)

# The paper's study on random models of its shapes, a few prompts each: time and peak memory. Takes hours and 24 GB on a CPU;
# one model: make rehearsal ARGS="--models gpt2"
rehearsal: $(VENV)/installed
	$(BIN)/python scripts/tools/rehearse.py $(ARGS)

# The smoke study twice, with other cores and another order of jobs; every file must be the same.
reproduce: $(VENV)/installed
	$(BIN)/python scripts/tools/reproduce_study.py $(ARGS)

# The default study's models over seeds, instruction sets and worlds (docs/robustness.md).
robustness: $(VENV)/installed
	$(BIN)/python scripts/tools/robustness.py $(ARGS)

# Two runs side by side: make compare A=results-of-one-run B=results-of-another (or B=published)
compare: $(if $(and $(A),$(B)),,compare-usage) $(VENV)/installed
	$(BIN)/python scripts/tools/compare_runs.py --first "$(A)" --second "$(B)" $(ARGS)

compare-usage:
	@echo "usage: make compare A=results-of-one-run B=results-of-another (or B=published)" >&2; exit 1

test: $(VENV)/installed
	$(BIN)/python -m pytest $(TESTS) $(ARGS)

bench: $(VENV)/installed
	$(BIN)/python scripts/tools/bench_localization.py $(ARGS)
	$(BIN)/python scripts/tools/bench_suppression.py $(ARGS)
	$(BIN)/python scripts/tools/bench_tracing.py $(ARGS)
	$(BIN)/python scripts/tools/bench_editing.py $(ARGS)
	$(BIN)/python scripts/tools/bench_plan.py $(ARGS)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint

# Looks for what is unsafe in the code, and for known vulnerabilities in what the lock names (docs/security.md).
audit: $(VENV)/installed
	$(INSTALL) --requirement envs/tools.txt
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive scripts workflow resources
	$(BIN)/pip-audit --strict --disable-pip --require-hashes $(addprefix --requirement envs/,requirements.txt cuda.txt slurm.txt tools.txt)

schema: $(VENV)/installed
	$(BIN)/python scripts/tools/write_schema.py

# Every file is checked against the lock's sha256. torch comes without CUDA where pip knows of such a build; else from PyPI,
# which for Linux needs CUDA's libraries, as `pip check` then says.
$(VENV)/installed: envs/requirements.txt envs/cpu.txt envs/cuda.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --requirement envs/cpu.txt >/dev/null 2>&1 || true
	$(INSTALL) --requirement envs/requirements.txt
	$(BIN)/pip check >/dev/null || $(INSTALL) --requirement envs/cuda.txt
	$(BIN)/pip check
	touch $@

clean:
	rm -rf results .snakemake
