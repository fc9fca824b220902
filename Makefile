# Needs Python >= 3.11 and make; everything else goes into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help install serve test clients check audit vulnerabilities format docs bench-compare dist clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

install: $(VENV)/.base ## Install rerankd into .venv (no torch, under 200 MB)

serve: install ## Serve the bundled model on http://127.0.0.1:8036 (ARGS="--port 9000" for more)
	$(BIN)/rerankd serve $(ARGS)

test: $(VENV)/.test ## Run the whole test suite
	$(BIN)/python -m pytest $(ARGS)

clients: $(VENV)/.test ## Run the real client libraries and write the tables of clients anew
	REAL_CLIENTS=record $(BIN)/python -m pytest tests/clients $(ARGS)

check: $(VENV)/.test ## Lint, types, import law
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache

audit: $(VENV)/.test ## Look for insecure code (bandit's rules), and for dependencies that do not fit together
	$(BIN)/ruff check --select S --ignore S101 src examples
	$(PIP) check

vulnerabilities: $(VENV)/.test ## Ask the public database about known holes in dependencies (needs the internet)
	$(PYTHON) -m venv .venvs/audit
	.venvs/audit/bin/python -m pip --disable-pip-version-check install --quiet pip-audit
	.venvs/audit/bin/pip-audit --skip-editable --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

format: $(VENV)/.test ## Rewrite the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.test ## Write the generated pages anew
	PYTHONPATH=tests $(BIN)/python tests/cli_pages.py
	PYTHONPATH=tests $(BIN)/python tests/connect_pages.py
	PYTHONPATH=tests $(BIN)/python tests/quality_pages.py

bench-compare: $(VENV)/.test ## Measure against other servers and libraries (ARGS=--quick for a look)
	$(BIN)/python benchmarks/compare.py $(ARGS)

dist: $(VENV)/.test ## Build the wheel into dist/
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .

clean: ## Remove .venv and everything built
	rm -rf $(VENV) .venvs .cache dist build .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rerankd needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip

# --no-compile: Python compiles what it imports on first use; compiling all of every dependency costs 50 MB.
$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet --no-compile --editable .
	@touch $@

# torch first and exactly: a range would let pip take a build with gigabytes of CUDA.
$(VENV)/.test: $(VENV)/.base
	$(PIP) install --quiet torch==2.13.0
	$(PIP) install --quiet --group lint --group test
	@touch $@
