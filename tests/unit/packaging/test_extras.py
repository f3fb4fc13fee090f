# SPDX-License-Identifier: Apache-2.0
"""The extra `worker`: an app that has Celery installs it beside its own versions."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKER = [Requirement(line) for line in PROJECT["optional-dependencies"]["worker"]]
RECORD = (ROOT / "docs/decisions/0023-ranges-for-plain-celery.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("requirement", WORKER, ids=lambda requirement: requirement.name)
def test_the_worker_has_ranges_and_no_broker(requirement: Requirement) -> None:
    assert not requirement.extras, "a user of Redis would install what SQS needs"
    assert not {specifier.operator for specifier in requirement.specifier} & {"==", "==="}


@pytest.mark.parametrize("name", ["celery", "kombu"])
def test_the_range_admits_the_locked_version_and_the_tested_ones(name: str) -> None:
    (requirement,) = [found for found in WORKER if found.name == name]
    images = (*(ROOT / "images/airflow/requirements").glob("airflow-*.txt"), ROOT / "requirements/dev.txt")
    locked = {match for lock in images for match in re.findall(rf"^{name}==(\S+)", lock.read_text(), re.MULTILINE)}
    assert len(locked) == 1, "the tests run with another version than the image"
    tested = dict.fromkeys(re.findall(rf"\| {name} (\d\S+) ", RECORD))
    assert len(tested) >= (2 if name == "celery" else 1)
    assert all(version in requirement.specifier for version in (*locked, *tested))


def test_every_documented_extra_exists() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = {name for group in re.findall(r"(?:\.|openmwaa)\[([a-z,]+)\]", text) for name in group.split(",")}
    assert {"local", "worker"} <= named <= set(PROJECT["optional-dependencies"])
