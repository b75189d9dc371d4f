# `make help` lists what there is. Everything runs in .venv, which is built from the lock file; nothing is
# installed outside this folder.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
SEEDS ?= 1
SEED = seed=$(if $(filter until_clear,$(SEEDS)),until_clear,range($(SEEDS)))
RUN := .venv/bin/python -m
AT_ONCE = $(if $(JOBS),hydra.launcher.jobs=$(JOBS))
COMPUTE = $(if $(PRECISION),precision=$(PRECISION))
# A .venv has its own path in its scripts, and the checkout's as that of the package: moved or copied, it would
# run the code of another folder. And of one that was never finished nothing is sure.
ELSEWHERE := $(shell test "$$(cat .venv/ready 2>/dev/null)" = "$$(pwd -P)" || echo yes)

# $(call number,NAME,GOALS): of the GOALS that take NAME, none begins with a NAME that is no number.
number = $(if $(filter $(2),$(MAKECMDGOALS)),$(if $(shell [[ '$($(1))' =~ ^([1-9][0-9]*)?$$ ]] && echo yes),, \
	$(error $(1) must be $(if $(filter SEEDS,$(1)),until_clear or )a whole number, 1 or more. Received: $($(1)))))
$(if $(filter until_clear,$(SEEDS)),,$(call number,SEEDS,sweep notebook-protocol))
$(call number,JOBS,sweep quick tuned notebook-protocol)
$(call number,N,soak simulate)
$(call number,MINUTES,soak)
$(call number,PORT,ui demo server)
# $(call quietly,COMMAND): show what it says only where it fails.
quietly = @said=$$($(1) 2>&1) || { echo "$$said" >&2; exit 1; }

.PHONY: help setup sweep quick tuned notebook-protocol report promote predict demo export analysis lab extras ray submitit gpu ui server sync orphans test soak simulate bench lint lock clean

help: ## say what there is
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

setup: .venv/ready ## build .venv from requirements.lock

ifdef ELSEWHERE
.PHONY: .venv/ready
endif
.venv/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "error: Python 3.11 to 3.13 is needed, and $(PYTHON) is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	@echo "setting up .venv (half a minute, once) ..."
	$(if $(ELSEWHERE),@rm -rf .venv)
	$(call quietly,test -x .venv/bin/uv || $(PYTHON) -m venv .venv)
	@# uv, checked by its hash like all else: it installs in a sixth of pip's time, and compiles, which
	@# halves what importing TensorFlow takes.
	@sed -n '/^uv==/,/^    #/p' requirements.lock > .venv/uv.lock
	$(call quietly,$(RUN) pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.lock)
	$(call quietly,VIRTUAL_ENV=.venv .venv/bin/uv pip sync --quiet --require-hashes --compile-bytecode requirements.lock)
	$(call quietly,VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .)
	@pwd -P > $@

sweep: .venv/ready ## compare RMSprop with Adam on the notebook's CNN (SEEDS=n or until_clear, JOBS=n, PRECISION=name)
	$(RUN) handwriting.train experiment=rmsprop_vs_adam '$(SEED)' $(COMPUTE) $(AT_ONCE)

quick: .venv/ready ## the same comparison with a smaller network, in two to three minutes (JOBS=n, PRECISION=name)
	$(RUN) handwriting.train experiment=quick $(COMPUTE) $(AT_ONCE)

tuned: .venv/ready ## RMSprop and Adam, each at its best of eight settings, in eight minutes (JOBS=n, PRECISION=name)
	$(RUN) handwriting.tune experiment=tuned $(COMPUTE) $(AT_ONCE)

notebook-protocol: .venv/ready ## what the notebook did, beside what it lacked (SEEDS=n)
	$(RUN) handwriting.train experiment=notebook_protocol '$(SEED)' $(COMPUTE) $(AT_ONCE)

report: .venv/ready ## the verdict, page and figures of the latest sweep (SWEEP=name)
	$(RUN) handwriting.report $(if $(SWEEP),--sweep $(SWEEP))

promote: .venv/ready ## make the better arm's model the champion, if the verdict says so (SWEEP=name)
	$(RUN) handwriting.promote $(if $(SWEEP),--sweep $(SWEEP))

predict: .venv/ready ## what the champion reads on pictures of yours (FILE=picture or folder)
	$(if $(FILE),,$(error FILE is missing: make predict FILE=picture.jpg))
	$(RUN) handwriting.predict $(FILE)

demo: .venv/ready ## draw on a page, and see what both arms' models read (PORT=n)
	$(RUN) handwriting.demo $(if $(PORT),--port $(PORT))

export: .venv/ready ## a sweep's result as a zip (SWEEP=name, FILE=name.zip); the champion for LiteRT (FILE=name.tflite)
	$(RUN) handwriting.$(if $(SWEEP),bundle --sweep $(SWEEP),$(if $(filter %.tflite,$(FILE)),export,bundle)) $(FILE)

analysis: report ## report, and run the analysis notebook; leaves mlruns/analysis.html and .ipynb (SWEEP=name)
	SWEEP='$(SWEEP)' $(RUN) nbconvert --log-level ERROR --execute --to notebook --output-dir mlruns notebooks/analysis.ipynb
	$(RUN) nbconvert --log-level ERROR --to html mlruns/analysis.ipynb
	@echo "page: $$(pwd)/mlruns/analysis.html"

lab: .venv/ready ## open your own copy of the analysis notebook, mlruns/lab.ipynb, in JupyterLab
	@test -e mlruns/lab.ipynb || cp notebooks/analysis.ipynb mlruns/lab.ipynb
	$(RUN) jupyterlab --ServerApp.ip=127.0.0.1 mlruns/lab.ipynb

.venv/%.extra: requirements-%.lock .venv/ready
	$(call quietly,VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --require-hashes --compile-bytecode -r requirements-$*.lock)
	@touch $@

extras: .venv/server.extra ## what a store on PostgreSQL or in S3 takes

ray: .venv/ray.extra ## what a sweep on a Ray cluster takes

submitit: .venv/submitit.extra ## what a sweep on Slurm takes

gpu: .venv/gpu.extra ## what training on NVIDIA GPUs takes, on Linux

ui: .venv/ready ## open the store in MLflow's UI (PORT=n)
	$(RUN) handwriting.ui $(if $(PORT),--port $(PORT))

# HOST of the command line only: of some shells' environment it is this machine's name.
server: .venv/server.extra ## a store for a team (PORT=n, HOST=address, NAMES="name ...", DATABASE=uri, ARTIFACTS=place, AUTH=yes)
	$(RUN) handwriting.server $(strip $(if $(PORT),--port $(PORT)) \
		$(if $(filter command,$(origin HOST)),--host $(HOST)) $(if $(NAMES),--names $(NAMES)) \
		$(if $(DATABASE),--database '$(DATABASE)') $(if $(ARTIFACTS),--artifacts '$(ARTIFACTS)') $(if $(AUTH),--auth))

sync: .venv/ready ## copy this machine's runs to the store that MLFLOW_TRACKING_URI names; what is there stays
	$(RUN) handwriting.sync

orphans: .venv/ready ## mark runs as KILLED whose process is gone
	$(RUN) handwriting.orphans

# Beside the packages of .venv, not among them: MLflow uses a tqdm that it finds, and tqdm warns in the notebook.
.venv/tests/ready: tests/requirements.lock .venv/ready
	@rm -rf .venv/tests
	$(call quietly,VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --require-hashes --target .venv/tests -r tests/requirements.lock)
	@touch $@

test: .venv/tests/ready .venv/server.extra .venv/ray.extra .venv/submitit.extra ## run the tests
	@# One process more than two cores, as some tests wait: for a server, or for TensorFlow.
	$(RUN) pytest -n 3 --dist loadfile --no-loadscope-reorder

soak: .venv/ready ## kill N sweeps, or for MINUTES, at random moments and compare them with an undisturbed one (SERVER=yes: N kills beside a server)
	.venv/bin/python $(if $(SERVER),tests/faults.py --kills $(or $(N),200),tests/soak.py $(if $(MINUTES),--minutes $(MINUTES),--sweeps $(or $(N),30)))

simulate: .venv/ready ## how often the verdict is wrong, and how many seeds it takes, in N simulated sweeps
	.venv/bin/python tests/simulate.py $(if $(N),--sweeps $(N))

bench: .venv/ready ## what training, tracking and reporting cost here, in half an hour
	$(RUN) handwriting.bench

lint: .venv/ready ## check style, types and the direction of imports
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	.venv/bin/python -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo

COMPILE = .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url
# What an extra alone adds: with the whole project it would be requirements.lock once more.
EXTRA = import sys, tomllib; [print(line) for line in tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]]]

lock: .venv/ready ## renew the six lock files
	$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	@set -o pipefail; constraints="--constraint requirements.lock"; for extra in server ray submitit gpu; do \
		.venv/bin/python -c '$(EXTRA)' $$extra | \
			$(COMPILE) $$constraints --output-file requirements-$$extra.lock - || exit; \
		constraints+=" --constraint requirements-$$extra.lock"; \
	done; \
	$(COMPILE) $$constraints --output-file tests/requirements.lock tests/requirements.in

clean: ## remove .venv and caches; mlruns/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
