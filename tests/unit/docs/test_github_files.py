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
    return [step for job in load(path)["jobs"].values() for step in job.get("steps", ())]


READ = {"contents": "read"}
SIGN = {"attestations": "write", "id-token": "write"}
PERMISSIONS = {
    ("release", "dist"): READ | SIGN,
    ("release", "images"): READ | SIGN | {"packages": "write"},
    ("release", "pypi"): {"id-token": "write"},
    ("release", "notes"): {"contents": "write"},
    ("site", "deploy"): {"id-token": "write", "pages": "write"},
}
"""The jobs that need more or less than `READ`."""


def test_the_folder_has_four_workflows_and_two_forms() -> None:
    assert [path.name for path in WORKFLOWS] == ["release.yml", "site.yml", "test.yml", "verify.yml"]
    assert [path.name for path in FORMS] == ["bug.yml", "feature.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_matches_githubs_schema(path: Path) -> None:
    validate(load(path), "github-workflows")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_make_targets_with_minimal_permissions(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    jobs = workflow["jobs"]
    assert {name: job["permissions"] for name, job in jobs.items()} == {
        name: PERMISSIONS.get((path.stem, name), READ) for name in jobs
    }
    assert all(job["timeout-minutes"] <= 120 for job in jobs.values() if "uses" not in job)
    assert {job["uses"] for job in jobs.values() if "uses" in job} <= {"./.github/workflows/test.yml"}
    assert "pull_request_target" not in workflow["on"], "its jobs have secrets and run code of a fork"
    checkouts = [step for step in steps(path) if str(step.get("uses")).startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    scripts = [step["run"] for step in steps(path) if "run" in step]
    assert not [script for script in scripts if "${{" in script]
    called = {target for script in scripts for target in re.findall(r"\bmake (\w+)", script)}
    assert called
    assert called <= set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_an_action_has_one_version_pinned_by_its_commit() -> None:
    """The comment is the tag of the commit, which Renovate reads and updates."""
    versions: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for line in re.findall(r"uses: ([^.\s].*)", path.read_text(encoding="utf-8")):
            pin = re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)(?:; .*)?", line)
            assert pin, f"{path.name}: {line}"
            versions.setdefault(pin[1], set()).add(pin[2])
    assert versions
    assert not {action for action, pins in versions.items() if len(pins) > 1}


def test_a_release_is_tested_has_one_version_and_publishes_last() -> None:
    release = load(GITHUB / "workflows" / "release.yml")
    assert release["on"] == {"push": {"tags": ["v*"]}}
    assert "workflow_call" in load(GITHUB / "workflows" / "test.yml")["on"]
    order = ["test", "dist", "images", "pypi", "notes"]
    assert {name: job.get("needs") for name, job in release["jobs"].items()} == dict(
        zip(order, [None, *order[:-1]], strict=True)
    )
    assert "make dist" in [step.get("run") for step in release["jobs"]["dist"]["steps"]], "it checks tag and version"
    (build,) = (step["with"] for step in release["jobs"]["images"]["steps"] if step.get("id") == "push")
    assert build["tags"].endswith(":${{ needs.dist.outputs.version }}")


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
