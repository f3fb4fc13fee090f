# SPDX-License-Identifier: Apache-2.0
"""`openmwaa deploy` checks the artefacts before it builds an image or changes a task."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openmwaa.deploy import requirements
from openmwaa.deploy.deployment import DeployOptions, deploy
from openmwaa.deploy.requirements import CheckResult, Conflict, RequirementsCheckError
from openmwaa.deploy.steps import DeployError, StepRunner
from openmwaa.operate.waiting import WaitStatus
from openmwaa_runtime.artefacts.requirements_file import Requirement
from tests.unit.deploy.conftest import World

FIELDS = {
    "requirements_s3_path": "requirements.txt",
    "plugins_s3_path": "more/plugins.zip",
    "plugins_s3_object_version": "7",
    "images": {"airflow": "h/airflow@sha256:" + "a" * 64, "scaler": "h/scaler@sha256:" + "b" * 64},
}
CONFLICT = Conflict((Requirement(3, "boto3==1.0"),), ("boto3==2.0",), {3: "boto3==2.0"})
Checked = list[tuple[str, Path | None]]


@pytest.fixture
def checked(world: World, monkeypatch: pytest.MonkeyPatch) -> Checked:
    """An environment with artefacts; the texts that were checked."""
    world.fields = FIELDS
    world.account.contents = {"requirements.txt": b"boto3", "more/plugins.zip": b"PK"}
    texts: Checked = []

    def check(text: str, *, plugins: Path | None, **_: Any) -> CheckResult:
        texts.append((text, plugins))
        return CheckResult("3.3.2", 180, packages={"ARM64": {}})

    monkeypatch.setattr(requirements, "check", check)
    return texts


def deployed(world: World, **options: Any) -> StepRunner:
    run = world.run()
    deploy(run, DeployOptions(**options), WaitStatus)
    return run


def failing(result: CheckResult | Exception) -> Callable[..., CheckResult]:
    def check(*_: Any, **__: Any) -> CheckResult:
        if isinstance(result, Exception):
            raise result
        return result

    return check


def test_the_object_of_the_bucket_is_checked_before_the_plan(world: World, checked: Checked) -> None:
    run = deployed(world)
    assert (checked, run.report.outcome) == ([("boto3", None)], "done")
    assert [step.name for step in run.report.steps][:4] == ["prerequisites", "repositories", "artefacts", "images"]
    assert "Fits Airflow 3.3.2" in world.text
    assert run.report.details["requirements"]["fits"] is True


def test_the_own_bucket_is_made_first_and_missing_objects_are_named(world: World, checked: Checked) -> None:
    world.account.contents.clear()
    with pytest.raises(DeployError) as caught:
        deployed(world)
    bucket = world.terraform.state["aws_s3_bucket.storage"]["bucket"]
    assert [*world.terraform.state] == ["aws_s3_bucket.storage", "aws_s3_bucket_versioning.storage"]
    assert str(caught.value).splitlines() == [
        "There is no object of `requirements_s3_path`, `plugins_s3_path`. Upload it, and repeat the command:",
        shlex.join(("aws", "s3", "cp", "requirements.txt", f"s3://{bucket}/requirements.txt")),
        shlex.join(("aws", "s3", "cp", "plugins.zip", f"s3://{bucket}/more/plugins.zip")),
    ]
    world.account.contents = {"requirements.txt": b"boto3", "more/plugins.zip": b"PK"}
    assert deployed(world).report.outcome == "done"


def test_a_plan_only_before_the_bucket_exists_goes_on(world: World, checked: Checked) -> None:
    assert deployed(world, plan_only=True).report.outcome == "planned"
    assert checked == []
    assert "not checked: the bucket is to be made" in world.text


def test_requirements_that_do_not_fit_stop_the_deploy(
    world: World, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "check", failing(CheckResult("3.3.2", 180, conflicts={"ARM64": [CONFLICT]})))
    with pytest.raises(DeployError, match=r"`boto3==1\.0` \(line 3\) and `boto3==2\.0` of the image"):
        deployed(world)
    assert len(world.terraform.state) == 2, "nothing but the bucket was made"


def test_an_empty_object_is_refused(world: World, checked: Checked) -> None:
    world.account.contents["requirements.txt"] = b""
    with pytest.raises(DeployError, match="`requirements_s3_path` is empty"):
        deployed(world)
    assert not checked


def test_an_index_that_this_machine_does_not_reach_is_a_note(
    world: World, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "check", failing(RequirementsCheckError("no answer")))
    assert deployed(world).report.outcome == "done"
    assert "requirements not checked here: no answer" in world.text


def test_the_remedy_follows_the_conflict() -> None:
    two = Conflict((Requirement(1, "old[x]==1"),), ("base==2.0",), {})
    assert [*two.sentences()] == [
        "`old[x]==1` (line 1) and `base==2.0` of the image exclude each other.",
        "  No other version fits: remove the requirement, or build an image with it.",
    ]
    one = Conflict((Requirement(1, "old==1"),), (), {}, "error: Failed to download and build `old==1`\n  cause: x")
    assert [*one.sentences()] == [
        "`old==1` (line 1) cannot be installed:",
        "  error: Failed to download and build `old==1`",
        "    cause: x",
    ]
