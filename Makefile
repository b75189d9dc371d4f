# `make help` lists what there is. Everything runs in .venv, which is built from the lock file; nothing is
# installed outside this folder.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
SEEDS ?= 1
JOBS ?= null
N ?= 30
RUN := .venv/bin/python -m
# A .venv has its own path in its scripts, and the checkout's as that of the package: moved or copied, it would
# run the code of another folder. And of one that was never finished nothing is sure.
ELSEWHERE := $(shell test "$$(cat .venv/ready 2>/dev/null)" = "$$(pwd -P)" || echo yes)

.PHONY: help setup sweep quick notebook-protocol report analysis lab ui orphans test soak bench lint lock clean

help: ## say what there is
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: .venv/ready ## build .venv from requirements.lock

ifdef ELSEWHERE
.PHONY: .venv/ready
endif
.venv/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "error: Python 3.11 to 3.13 is needed, and $(PYTHON) is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	$(if $(ELSEWHERE),rm -rf .venv)
	test -x .venv/bin/uv || $(PYTHON) -m venv .venv
	@# uv, checked by its hash like all else: it installs in a sixth of pip's time, and compiles, which
	@# halves what importing TensorFlow takes.
	@sed -n '/^uv==/,/^    #/p' requirements.lock > .venv/uv.lock
	$(RUN) pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.lock
	VIRTUAL_ENV=.venv .venv/bin/uv pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@pwd -P > $@

sweep: .venv/ready ## compare RMSprop with Adam on the notebook's CNN (SEEDS=n pairs, JOBS=n at once)
	$(RUN) handwriting.train experiment=rmsprop_vs_adam 'seed=range($(SEEDS))' hydra.launcher.jobs=$(JOBS)

quick: .venv/ready ## the same comparison with a smaller network, in two to three minutes
	$(RUN) handwriting.train experiment=quick hydra.launcher.jobs=$(JOBS)

notebook-protocol: .venv/ready ## what the notebook did, beside what it lacked (SEEDS=n)
	$(RUN) handwriting.train experiment=notebook_protocol 'seed=range($(SEEDS))' hydra.launcher.jobs=$(JOBS)

report: .venv/ready ## the verdict, page and figures of the latest sweep (SWEEP=name)
	$(RUN) handwriting.report $(if $(SWEEP),--sweep $(SWEEP))

analysis: report ## report, and run the analysis notebook; leaves mlruns/analysis.html and .ipynb
	$(RUN) nbconvert --log-level ERROR --execute --to notebook --output-dir mlruns notebooks/analysis.ipynb
	$(RUN) nbconvert --log-level ERROR --to html mlruns/analysis.ipynb

lab: .venv/ready ## open the analysis notebook in JupyterLab
	$(RUN) jupyterlab --ServerApp.ip=127.0.0.1 notebooks/analysis.ipynb

ui: .venv/ready ## open the store in MLflow's UI (PORT=n)
	$(RUN) handwriting.ui $(if $(PORT),--port $(PORT))

orphans: .venv/ready ## mark runs as KILLED whose process is gone
	$(RUN) handwriting.orphans

test: .venv/ready ## run the tests
	$(RUN) pytest -n 2 --dist loadfile --no-loadscope-reorder

soak: .venv/ready ## kill N sweeps, or for MINUTES, at random moments and compare them with an undisturbed one
	.venv/bin/python tests/soak.py $(if $(MINUTES),--minutes $(MINUTES),--sweeps $(N))

bench: .venv/ready ## what training, tracking and reporting cost here, in a quarter of an hour
	$(RUN) handwriting.bench

lint: .venv/ready ## check style, types and the direction of imports
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	.venv/bin/python -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo

lock: .venv/ready ## renew requirements.lock from pyproject.toml
	.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev \
		--generate-hashes --no-emit-index-url --output-file requirements.lock pyproject.toml

clean: ## remove .venv and caches; mlruns/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
