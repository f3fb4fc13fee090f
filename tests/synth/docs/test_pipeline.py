# SPDX-License-Identifier: Apache-2.0
"""The pipeline: GitHub would take it, it may do no more than it needs, and its commands are ours as they are."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import typer.main
import yaml

from openmwaa.cli import app
from openmwaa.plan.terraform import PLAN_FILE

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / "examples/pipeline/.github/workflows/deploy.yml"
PROGRAM = re.compile(r"(?:^|[;&|({]|\$\()\s*(openmwaa (?:[^|&;>)#\n])*)", re.MULTILINE)


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    loaded: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in loaded.items()}


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def scripts(workflow: dict[str, Any]) -> Iterator[str]:
    return (step["run"] for step in steps(workflow) if "run" in step)


def test_it_is_a_workflow_as_github_reads_it(workflow: dict[str, Any]) -> None:
    vendored = files("check_jsonschema") / "builtin_schemas" / "vendor" / "github-workflows.json"
    jsonschema.validate(workflow, json.loads(vendored.read_text(encoding="utf-8")))


def test_scripts_are_shell(workflow: dict[str, Any]) -> None:
    for script in scripts(workflow):
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, f"{done.stderr}{script}"


def test_every_command_of_openmwaas_is_one_with_its_options(workflow: dict[str, Any]) -> None:
    found = {match.strip() for script in scripts(workflow) for match in PROGRAM.findall(script)}
    assert {line.split()[1] for line in found} == {"validate", "synth", "plan", "wait"}
    group = typer.main.get_command(app)
    for line in found:
        name, *arguments = shlex.split(line.replace("||", ""))[1:]
        command = group.commands[name]  # type: ignore[attr-defined]  # a group has commands
        # Parsing refuses what it does not know, and runs nothing.
        command.make_context(name, arguments)


def test_jobs_may_do_no_more_than_they_need(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {}, "a permission that is not listed is denied"
    allowed = {"contents": "read", "id-token": "write"}
    for name, job in workflow["jobs"].items():
        more = {"pull-requests": "write"} if name == "plan" else {}
        assert job["permissions"] == allowed | more, name
        assert job["timeout-minutes"] <= 150, name
    assert workflow["jobs"]["apply"]["environment"] == "production", "reviewers approve there"


def test_only_the_protected_job_becomes_the_deploy_role(workflow: dict[str, Any]) -> None:
    roles = {
        name: [step["with"]["role-to-assume"] for step in job["steps"] if "role-to-assume" in step.get("with", {})]
        for name, job in workflow["jobs"].items()
    }
    plan, deploy = "${{ vars.AWS_PLAN_ROLE_ARN }}", "${{ vars.AWS_DEPLOY_ROLE_ARN }}"
    assert roles == {"plan": [plan], "apply": [deploy], "workers": [plan]}


def test_actions_are_pinned_and_nothing_of_a_pull_request_is_shell(workflow: dict[str, Any]) -> None:
    used = {step["uses"] for step in steps(workflow) if "uses" in step}
    assert used
    assert not [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|[0-9a-f]{40})", action)]
    assert not [script for script in scripts(workflow) if "${{" in script], "values come by variables"


def test_what_is_applied_is_the_plan_that_was_kept(workflow: dict[str, Any]) -> None:
    applies = [script for script in scripts(workflow) if re.search(r"^terraform .* apply\b", script, re.MULTILINE)]
    assert len(applies) == 1
    assert applies[0].split()[-1] == PLAN_FILE


def test_parsing_refuses_a_wrong_option() -> None:
    program = [sys.executable, "-c", "from openmwaa.cli import main; main()", "wait", "--for", "nothing"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 2
