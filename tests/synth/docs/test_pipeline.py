# SPDX-License-Identifier: Apache-2.0
"""The pipeline: GitHub would take it, it may do no more than it needs, and its commands are ours as they are."""

import json
import os
import re
import shlex
import shutil
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
from openmwaa.config.environment import Environment

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
    assert {line.split()[1] for line in found} == {"validate", "synth", "plan", "deploy", "wait"}
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
    assert workflow["jobs"]["apply"]["environment"] == "production", "reviewers approve there"


def roles(workflow: dict[str, Any]) -> dict[str, list[str]]:
    return {
        name: [step["with"]["role-to-assume"] for step in job["steps"] if "role-to-assume" in step.get("with", {})]
        for name, job in workflow["jobs"].items()
    }


def test_only_the_protected_job_becomes_the_deploy_role(workflow: dict[str, Any]) -> None:
    read, deploy = "${{ env.READ_ROLE }}", "${{ vars.AWS_DEPLOY_ROLE_ARN }}"
    assert roles(workflow) == {"images": [read], "plan": [read], "apply": [deploy, deploy], "workers": [read]}


def test_a_pull_request_has_a_role_of_its_own(workflow: dict[str, Any]) -> None:
    """IAM accepts each role for one kind of job; `tests/synth/bootstrap` has the trust policies."""
    chosen = workflow["env"]["READ_ROLE"]
    assert chosen == "${{ github.event_name == 'push' && vars.AWS_MAIN_ROLE_ARN || vars.AWS_PLAN_ROLE_ARN }}"
    for name in ("apply", "workers"):
        job = workflow["jobs"][name]
        assert job.get("if") == "github.event_name == 'push'" or job["needs"] == "apply", name


def test_credentials_last_until_their_last_step(workflow: dict[str, Any]) -> None:
    """A session ends after its duration, in the middle of an apply if need be: each step's limit is known."""
    for name, job in workflow["jobs"].items():
        left: float | None = None
        longest = 0
        for step in job["steps"]:
            if "role-to-assume" in step.get("with", {}):
                left = step["with"].get("role-duration-seconds", 3600) / 60
            elif left is not None:
                assert "timeout-minutes" in step, f"{name}: {step.get('name')} may outlast the credentials"
                left -= step["timeout-minutes"]
                longest += step["timeout-minutes"]
                assert left >= 0, f"{name}: {step['name']} may outlast the credentials"
        assert job["timeout-minutes"] >= longest, f"{name} ends before its steps may"


# The AWS calls of each step after the credentials; `tests/support/aws_actions.py` has them as requests of a role.
CALLS_OF_STEPS = {
    ("images", "Log in to the registry"): "push",
    ("images", "Build missing images"): "list images; on main push",
    ("plan", "Plan"): "plan and its state",
    ("plan", "Show the plan in the pull request"): "none",
    ("plan", "Keep the reviewed plan"): "none",
    ("apply", "Plan again, and compare with the approved plan"): "quotas; plan and its state",
    ("apply", "Wait for the workers of the last change"): "wait, and the state",
    ("apply", "Apply the approved plan"): "apply, update, destroy and their state; wait, with log lines",
    ("workers", "Watch the rollout of workers"): "wait",
}


def test_every_step_with_credentials_is_known(workflow: dict[str, Any]) -> None:
    found = set()
    for name, job in workflow["jobs"].items():
        credentials = False
        for step in job["steps"]:
            if "role-to-assume" in step.get("with", {}):
                credentials = True
            elif credentials:
                found.add((name, step["name"]))
    assert found == set(CALLS_OF_STEPS), "the roles need the calls of a new step: tests/support/aws_actions.py"


needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq on PATH; GitHub's runners have it")


@needs_jq
def test_environments_are_deployed_by_digest(workflow: dict[str, Any], tmp_path: Path) -> None:
    check = script_of(workflow, "plan", "Check the file")
    digests = {image: f"registry/{image}@sha256:{'0' * 64}" for image in ("airflow", "scaler")}
    for images, code in ((digests, 0), ({**digests, "scaler": "registry/scaler:1"}, 1), ({}, 1)):
        (tmp_path / "environment.yaml").write_text(yaml.safe_dump({"name": "example", "images": images, **WEB}))
        assert shell(check, tmp_path).returncode == code, images


@needs_jq
def test_a_pull_request_does_not_plan_an_environment_with_a_secret_in_its_state(
    workflow: dict[str, Any], tmp_path: Path
) -> None:
    plan = script_of(workflow, "plan", "Plan")
    (tmp_path / "environment.yaml").write_text(yaml.safe_dump({"name": "example", **OIDC}))
    done = shell(plan, tmp_path, GITHUB_EVENT_NAME="pull_request", GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))
    assert done.returncode == 0, done.stderr
    assert "Only main plans this environment" in (tmp_path / "plan.md").read_text()


@pytest.mark.parametrize(("registry", "pushes"), [("", 0), ("registry", 2)], ids=["pull request", "main"])
def test_images_are_pushed_from_main_only(workflow: dict[str, Any], tmp_path: Path, registry: str, pushes: int) -> None:
    build = script_of(workflow, "images", "Build missing images")
    programs = tmp_path / "bin"
    programs.mkdir()
    # The registry has an image once it was pushed.
    stand_in = '#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n'
    listed = 'image=${4#*/}; grep -q "docker push .*/$image:" "$CALLS" && echo sha256:1\nexit 0\n'
    for name, text in (("docker", stand_in), ("aws", stand_in + listed)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / ".openmwaa").mkdir()
    for folder in (tmp_path, tmp_path / ".openmwaa"):
        author = ("-c", "user.name=one", "-c", "user.email=one@example.com")
        commit = ["git", *author, "commit", "--allow-empty", "--quiet", "--message", "one"]
        for words in (["git", "init", "-q"], commit):
            subprocess.run(words, cwd=folder, check=True, timeout=60)
    calls, summary = tmp_path / "calls", tmp_path / "summary"
    path = f"{programs}:{os.environ['PATH']}"
    done = shell(build, tmp_path, PATH=path, CALLS=str(calls), REGISTRY=registry, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 0, done.stderr
    lines = calls.read_text().splitlines()
    assert len([line for line in lines if line.startswith("docker build")]) == 2
    assert len([line for line in lines if line.startswith("docker push")]) == pushes
    assert (summary.read_text().count("@sha256:1") if summary.exists() else 0) == pushes


def test_images_are_built_on_a_machine_of_the_default_architecture(workflow: dict[str, Any]) -> None:
    runner = workflow["jobs"]["images"]["runs-on"]
    assert runner == "${{ vars.IMAGE_RUNNER || 'ubuntu-24.04-arm' }}"
    assert Environment.model_fields["architecture"].default == "ARM64"
    # Tags are immutable: another processor needs another tag.
    assert 'sources="$(uname -m) ' in script_of(workflow, "images", "Build missing images")


WEB = {"web_access": {"allow_http": True}}
OIDC = {
    "web_access": {
        "domain": "airflow.example.com",
        "hosted_zone_id": "Z0123456789ABCDEFGHIJ",
        "oidc": {
            "issuer": "https://login.example.com",
            "authorization_endpoint": "https://login.example.com/authorize",
            "token_endpoint": "https://login.example.com/token",
            "user_info_endpoint": "https://login.example.com/userinfo",
            "client_id": "airflow",
            "client_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:oidc-client-AbCdEf",
        },
    }
}


def script_of(workflow: dict[str, Any], job: str, name: str) -> str:
    (script,) = [step["run"] for step in workflow["jobs"][job]["steps"] if step.get("name") == name]
    return str(script)


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script as GitHub runs it: bash with `-eo pipefail`."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_actions_are_pinned_and_nothing_of_a_pull_request_is_shell(workflow: dict[str, Any]) -> None:
    used = {step["uses"] for step in steps(workflow) if "uses" in step}
    assert used
    assert not [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|[0-9a-f]{40})", action)]
    assert not [script for script in scripts(workflow) if "${{" in script], "values come by variables"


def test_only_the_approved_plan_is_applied(workflow: dict[str, Any]) -> None:
    assert not [script for script in scripts(workflow) if re.search(r"^terraform .* apply\b", script, re.MULTILINE)]
    (apply,) = [script for script in scripts(workflow) if "openmwaa deploy" in script and "--plan-only" not in script]
    assert "--approved approved/plan.md" in apply, "the text that the reviewers read, of the job `plan`"


def test_parsing_refuses_a_wrong_option() -> None:
    program = [sys.executable, "-c", "from openmwaa.cli import main; main()", "wait", "--for", "nothing"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 2
