# Needs make and Python >= 3.11. Each target sets up an environment of its own under .venv/.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
WORKERS ?= auto
SEEDS ?= 0-9
# One thread per process: the tests already run on all cores, and figures must not depend on them.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg

.PHONY: help demo test lint format docs bench clean

help:
	@echo "make demo    recover the weights of trained networks, from their inputs and outputs"
	@echo "make test    lint, types, tests, doctests"
	@echo "make docs    build the site into docs/_build/html"
	@echo "make bench   measure every claim; SEEDS=0-9, PEERS=1 also installs the peers"
	@echo "make format  apply the formatter and the linter's safe fixes"
	@echo "make clean   remove the environments and everything built"

demo: .venv/demo/.installed
	.venv/demo/bin/python tools/run_example.py \
		examples/networks/plot_recover_trained_network.py demo_output

test: lint
	.venv/test/bin/python -m pytest -x -n $(WORKERS) $(PYTEST_ARGS)

lint: .venv/test/.installed
	.venv/test/bin/ruff check .
	.venv/test/bin/ruff format --check .
	.venv/test/bin/mypy

format: .venv/test/.installed
	.venv/test/bin/ruff check --fix .
	.venv/test/bin/ruff format .

docs: .venv/docs/.installed
	.venv/docs/bin/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: .venv/bench/.installed$(if $(PEERS),-with-peers)
	.venv/bench/bin/python -m benchmarks --seeds $(SEEDS) --out results.json

# Extras of pyproject.toml that each environment installs.
.venv/demo/.installed: EXTRAS = plots,progress
.venv/test/.installed: EXTRAS = test
.venv/docs/.installed: EXTRAS = docs
.venv/bench/.installed: EXTRAS = plots
.venv/bench/.installed-with-peers: EXTRAS = plots,bench

.venv/%/.installed .venv/%/.installed-with-peers: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; try make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf .venv demo_output build dist results.json .mypy_cache .pytest_cache .ruff_cache
	rm -rf docs/_build docs/api docs/auto_examples
