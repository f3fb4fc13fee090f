# Two commands on a fresh machine: `make demo` and `make test`. Everything they need they install themselves.
ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
BIN := $(ROOT).venv/bin
.DEFAULT_GOAL := help
.PHONY: help bootstrap demo test unit contract faults verify images mutants snapshots lint format bench synth docs lock clean

help: ## What there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

bootstrap:
	@$(ROOT)tools/bootstrap

demo: bootstrap ## A whole environment here: a burst of tasks, workers that grow and shrink (KEEP=1 leaves it up)
	@cd $(ROOT) && $(BIN)/openmwaa local demo examples/quickstart/environment.yaml $(if $(KEEP),--keep)

test: bootstrap lint ## Everything that CI runs
	@cd $(ROOT) && $(BIN)/pytest -n auto --maxprocesses 4 --dist loadgroup

unit: bootstrap ## The quick tests
	@cd $(ROOT) && $(BIN)/pytest tests/unit

contract: bootstrap ## What ECS does, as tests; AWS=real runs them in your account for cents
	@cd $(ROOT) && AWS=$(AWS) $(BIN)/pytest tests/contract

faults: bootstrap ## Every fault, for real and in virtual time, the long ones too; what came of it in build/faults.json
	@cd $(ROOT) && $(BIN)/pytest -m "fault or slow"

verify: bootstrap ## Every example applied, planned again, destroyed, checked; EXAMPLE=name, ENDPOINT=url, AWS=real, PAGE=1
	@cd $(ROOT) && $(BIN)/python -m tools.verify $(addprefix --example ,$(EXAMPLE)) $(addprefix --endpoint ,$(ENDPOINT)) \
	  $(addprefix --aws ,$(AWS)) $(if $(PAGE),--page) $(if $(JSON),--json)

images: bootstrap ## Both Dockerfiles checked, built by buildah and started (BASE_IMAGE=name); Linux and root
	@cd $(ROOT) && $(BIN)/python -m tools.images

mutants: bootstrap ## Change the code in 320 places, one at a time: 90 % must fail a test (SAMPLE=number)
	@cd $(ROOT) && $(BIN)/python -m tools.mutants $(SAMPLE)

snapshots: bootstrap ## The stacks of the examples in lines, for a review, from terraform/
	@cd $(ROOT) && $(BIN)/python -m tools.write_snapshots

lint: bootstrap ## Style, types, import contracts
	@cd $(ROOT) && $(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo

format: bootstrap ## Mend the style
	@cd $(ROOT) && $(BIN)/ruff check --fix . ; $(BIN)/ruff format .

synth: bootstrap ## The Terraform of every example, into terraform/
	@cd $(ROOT) && $(BIN)/python -m tools.synthesise_examples

bench: bootstrap ## Measure; JSON under build/bench
	@cd $(ROOT) && $(BIN)/python -m benchmarks

docs: bootstrap ## Write the generated reference pages anew
	@cd $(ROOT) && $(BIN)/python tools/generate_reference.py && $(BIN)/python -m tools.architecture_picture

lock: bootstrap ## Write the lock files anew
	@cd $(ROOT) && PATH=$(BIN):$$PATH requirements/generate

clean: ## Remove what make made here
	@cd $(ROOT) && rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
