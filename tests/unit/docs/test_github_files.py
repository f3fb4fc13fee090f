# SPDX-License-Identifier: Apache-2.0
"""Workflows, issue forms, Renovate and pre-commit match their schemas, the Makefile and the lock file."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[3]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")


def load(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    loaded: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in loaded.items()}


def validate(document: object, schema: str) -> None:
    vendored = files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{schema}.json"
    jsonschema.validate(document, json.loads(vendored.read_text(encoding="utf-8")))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


def test_the_folder_has_the_two_workflows_and_two_forms() -> None:
    assert [path.name for path in WORKFLOWS] == ["test.yml", "verify.yml"]
    assert [path.name for path in FORMS] == ["bug.yml", "feature.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_matches_githubs_schema(path: Path) -> None:
    validate(load(path), "github-workflows")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_make_targets_with_minimal_permissions_and_pinned_actions(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    assert all(job["permissions"] == {"contents": "read"} for job in workflow["jobs"].values())
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
    used = {step["uses"] for step in steps(path) if "uses" in step}
    assert not [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|[0-9a-f]{40})", action)]
    scripts = [step["run"] for step in steps(path) if "run" in step]
    assert not [script for script in scripts if "${{" in script]
    called = {target for script in scripts for target in re.findall(r"\bmake (\w+)", script)}
    assert called
    assert called <= set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_ci_runs_the_complete_test_on_pull_requests_and_verify_every_night() -> None:
    assert "pull_request" in load(GITHUB / "workflows" / "test.yml")["on"]
    assert "make test" in [step.get("run") for step in steps(GITHUB / "workflows" / "test.yml")]
    assert {"schedule", "workflow_dispatch"} <= load(GITHUB / "workflows" / "verify.yml")["on"].keys()
    assert "make verify" in [step.get("run") for step in steps(GITHUB / "workflows" / "verify.yml")]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_matches_githubs_schema(path: Path) -> None:
    validate(load(path), "github-issue-forms")


def test_the_issue_configuration_matches_githubs_schema() -> None:
    validate(load(GITHUB / "ISSUE_TEMPLATE" / "config.yml"), "github-issue-config")


def test_renovate_matches_its_schema_and_its_patterns_find_every_input() -> None:
    renovate = json.loads((ROOT / "renovate.json").read_text(encoding="utf-8"))
    validate(renovate, "renovate")
    (pattern,) = (text.strip("/") for text in renovate["pip_requirements"]["managerFilePatterns"])
    folders = [ROOT / "requirements", ROOT / "images" / "airflow" / "requirements"]
    found = [path.relative_to(ROOT).as_posix() for folder in folders for path in folder.iterdir()]
    matched = {path for path in found if re.search(pattern, path)}
    assert matched == {path for path in found if path.endswith(".in")}
    assert "requirements/emulator.in" in matched


def test_pre_commit_uses_the_versions_of_the_lock_file() -> None:
    config = load(ROOT / ".pre-commit-config.yaml")
    pins = {
        pin for repo in config["repos"] for hook in repo["hooks"] for pin in hook.get("additional_dependencies", [])
    }
    assert {pin.split("==")[0] for pin in pins} == {"ruff", "codespell", "import-linter", "check-jsonschema"}
    locked = set(re.findall(r"^([\w-]+==[\w.]+)", LOCK, re.MULTILINE))
    assert pins <= locked, f"not in requirements/dev.txt: {pins - locked}"


def test_hooks_need_no_virtual_environment() -> None:
    config = load(ROOT / ".pre-commit-config.yaml")
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert not [hook["id"] for hook in hooks if ".venv" in hook["entry"]]
    assert [hook["id"] for hook in hooks if hook["language"] != "python"] == ["lint"]


def test_every_word_has_a_plain_replacement() -> None:
    lines = (ROOT / "tools" / "words.txt").read_text(encoding="utf-8").splitlines()
    assert lines == sorted(set(lines))
    assert not [line for line in lines if not re.fullmatch(r"[a-z']+->[^,]+(, [^,]+)+", line)]
