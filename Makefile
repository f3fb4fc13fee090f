# Two commands on a new machine: `make demo` and `make test`. They install their own requirements.
# Quoted for a shell: the path may have blanks, at which every function of make would split it.
ROOT := "$(shell cd "$$(dirname "$$(echo "$(MAKEFILE_LIST)" | sed 's/^ *//')")" && pwd)/"
MAKEFILE := $(ROOT)Makefile
BIN := $(ROOT).venv/bin
.DEFAULT_GOAL := help
# Tests and demonstration start hundreds of Python processes: each would compile openmwaa again.
export PYTHONDONTWRITEBYTECODE :=
.PHONY: help bootstrap demo test tests unit properties contract localstack faults fuzz verify verify-versions page images mutants snapshots lint words format bench coverage synth docs site dist install lock hooks clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE) | sed 's/:.*##/\t/' | expand -t 17

bootstrap:
	@$(ROOT)tools/bootstrap

demo: bootstrap ## Run a complete environment on this machine with a burst of tasks (KEEP=1 leaves it up)
	@cd $(ROOT) && $(BIN)/openmwaa local demo examples/quickstart/environment.yaml $(if $(KEEP),--keep)

test: bootstrap ## Run all checks of CI
	@$(MAKE) --no-print-directory -j2 -f $(MAKEFILE) lint tests

# The slow tiers come first. A process runs whole files (tests/conftest.py). Most slow tests wait for
# Terraform or for a worker: two processes more than there are cores.
tests: bootstrap
	@cd $(ROOT) && $(BIN)/pytest -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2) --maxprocesses 6 --dist loadfile --no-loadscope-reorder

unit: bootstrap ## Run the fast tests: no Node, no server, no process
	@cd $(ROOT) && $(BIN)/pytest -n auto --maxprocesses 4 tests/unit

properties: bootstrap ## Run the properties of scaler and login with 10 000 new examples each (PROPERTY_EXAMPLES=number)
	@cd $(ROOT) && PROPERTY_EXAMPLES=$(or $(PROPERTY_EXAMPLES),10000) $(BIN)/pytest -n auto --dist load tests/unit/scaler/test_properties.py \
	  tests/unit/openmwaa_runtime/auth/test_proof_properties.py

fuzz: bootstrap ## Fuzz the verifiers of the login for ten minutes (SECONDS=number)
	@cd $(ROOT) && mkdir -p build/fuzz && $(BIN)/uv pip install --quiet --python $(BIN)/python --target build/fuzz/packages \
	  --require-hashes -r requirements/fuzz.txt
	@cd $(ROOT) && PYTHONPATH=build/fuzz/packages $(BIN)/python -m tools.fuzz.proofs build/fuzz -max_total_time=$(or $(SECONDS),600)

contract: bootstrap ## Test the behaviour of ECS; AWS=real runs the tests in your account for cents
	@cd $(ROOT) && AWS=$(AWS) $(BIN)/pytest tests/contract

localstack: bootstrap ## Test AWS calls, plain Celery, overrides and the syncer on LocalStack (ENDPOINT=url); build/localstack.json
	@cd $(ROOT) && ENDPOINT=$(ENDPOINT) $(BIN)/pytest -m localstack

faults: bootstrap ## Test every fault, for real and in virtual time; results in build/faults.json
	@cd $(ROOT) && $(BIN)/pytest -m "(fault or slow) and not localstack"

verify-versions: bootstrap ## Test all versions of Airflow in complete environments
	@cd $(ROOT) && $(BIN)/pytest -m "" tests/e2e/test_airflow_2.py tests/e2e/test_mwaa_bucket.py tests/emulated/test_prepare_airflow_2.py

verify: bootstrap ## Every example applied, planned again, destroyed, checked; EXAMPLE=name, ENDPOINT=url, AWS=real, PAGE=1, JSON=1
	@cd $(ROOT) && $(BIN)/pytest tools/verify -s -n $(if $(filter real,$(AWS)),0,2) --dist worksteal \
	  $(addprefix --example=,$(EXAMPLE)) $(addprefix --endpoint=,$(ENDPOINT)) $(addprefix --aws=,$(AWS)) $(if $(PAGE),--page) \
	  $(if $(JSON),>&2; code=$$?; cat build/verify.json; exit $$code)

page: bootstrap ## The scaler's page in 30 pictures, in build/page
	@cd $(ROOT) && $(BIN)/pytest -m "" tests/page/test_pictures.py

images: bootstrap ## Check the Dockerfiles, build them with buildah and start the local image (BASE_IMAGE=name); Linux and root
	@$(ROOT)tools/build_images

mutants: bootstrap ## Change the code in 320 places, one at a time: 90 % must fail a test (SAMPLE=number, SEED=text)
	@cd $(ROOT) && $(BIN)/python -m tools.mutants $(or $(SAMPLE),320) $(SEED)

snapshots: bootstrap ## The stack of every example as lines, for a review
	@cd $(ROOT) && $(BIN)/python -m tools.write_snapshots

lint: bootstrap ## Check style, types, import contracts and words
	@cd $(ROOT) && $(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo && $(BIN)/codespell

words: bootstrap ## Check spelling and plain words (tools/words.txt)
	@cd $(ROOT) && $(BIN)/codespell

format: bootstrap ## Fix the style
	@cd $(ROOT) && $(BIN)/ruff check --fix . ; $(BIN)/ruff format .

coverage: bootstrap ## Run the tests without real Airflow and measure their coverage; build/coverage.xml
	@cd $(ROOT) && $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --timeout 1200 --ignore tests/e2e \
	  --cov --cov-report term --cov-report xml --cov-report markdown:build/coverage.md

synth: bootstrap ## The Terraform of every example, into terraform/NAME; quickstart, production and the module are committed
	@cd $(ROOT) && $(BIN)/python -m tools.synthesise_examples

bench: bootstrap ## Run the benchmarks; JSON in build/bench
	@cd $(ROOT) && $(BIN)/python -m benchmarks

docs: bootstrap ## Generate the reference pages and the samples of output
	@cd $(ROOT) && $(BIN)/python tools/generate_reference.py && $(BIN)/python -m tools.architecture_picture && \
	  $(BIN)/python -m tests.support.output_samples

site: bootstrap ## Build the documentation as a site, in build/site (SERVE=1 serves it)
	@cd $(ROOT) && $(BIN)/python -m tools.site $(if $(SERVE),serve,build --strict)

dist: bootstrap ## Build the wheel, the source archive and the notes of a release, in build
	@cd $(ROOT) && $(BIN)/python -m tools.release_notes && rm -rf build/dist && $(BIN)/python -m hatchling build -d build/dist

install: bootstrap ## Put openmwaa on PATH for all folders, as a tool of uv
	@cd $(ROOT) && UV_PYTHON_DOWNLOADS=never $(BIN)/uv tool install --quiet --force --python $(BIN)/python \
	  --constraints requirements/local.txt '.[local]'
	@command -v openmwaa >/dev/null || $(BIN)/uv tool dir --bin | sed 's/.*/Add it to PATH: export PATH="&:$$PATH"/'

lock: bootstrap ## Generate the lock files
	@cd $(ROOT) && PATH=$(BIN):$$PATH requirements/generate

hooks: bootstrap ## Install the pre-commit hooks of this clone
	@cd $(ROOT) && $(BIN)/pre-commit install

clean: ## Remove all files that make created
	@cd $(ROOT) && rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
