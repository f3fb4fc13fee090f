# SPDX-License-Identifier: Apache-2.0
"""One row for each version of Airflow, and all that follows from it."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS, DEFAULT_VERSION, IMAGE_PYTHON, AirflowVersion
from openmwaa.config.environment_file import json_schema, loads
from openmwaa.errors import EnvironmentFileError
from tools.aarch64_wheels import LOCKS, PYTHON
from tools.airflow_locks import command

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "images/airflow/requirements"
each_version = pytest.mark.parametrize("row", AIRFLOW_VERSIONS.values(), ids=AIRFLOW_VERSIONS)


@each_version
def test_the_lock_file_pins_the_version_and_has_a_hash_for_each_package(row: AirflowVersion) -> None:
    text = (FOLDER / f"{row.lock}.txt").read_text(encoding="utf-8")
    entries = re.findall(r"(?m)^[a-z0-9].*\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", text)
    assert len(entries) == len(re.findall(r"(?m)^[a-z0-9]", text)) > 100
    assert f"\napache-airflow=={row.version} \\\n" in text


def test_every_lock_file_belongs_to_a_version_and_is_checked_for_arm64() -> None:
    locks = {file.name for file in FOLDER.glob("airflow-*.txt")}
    assert locks == {f"{row.lock}.txt" for row in AIRFLOW_VERSIONS.values()}
    assert {Path(lock).name for lock in LOCKS} >= locks


@each_version
def test_the_python_of_the_images_runs_every_version(row: AirflowVersion) -> None:
    assert IMAGE_PYTHON in row.pythons
    assert ".".join(map(str, PYTHON)) == IMAGE_PYTHON
    for image in ("airflow", "scaler"):
        dockerfile = (ROOT / "images" / image / "Dockerfile").read_text(encoding="utf-8")
        assert f"ARG BASE_IMAGE=python:{IMAGE_PYTHON}-slim\n" in dockerfile


@pytest.mark.parametrize("image", ["airflow", "local"])
def test_the_dockerfile_builds_the_default_version(image: str) -> None:
    dockerfile = (ROOT / "images" / image / "Dockerfile").read_text(encoding="utf-8")
    assert f"ARG AIRFLOW_VERSION={DEFAULT_VERSION}\n" in dockerfile


@each_version
def test_a_lock_file_is_made_from_the_row_alone(row: AirflowVersion) -> None:
    words = command(row)
    assert f"--exclude-newer={row.packages_until}" in words
    assert words[-1] == f"images/airflow/requirements/{row.lock}.txt"
    assert words[words.index("--python-version") + 1] == row.pythons[0]


def test_the_file_accepts_the_versions_of_the_table_and_no_other(tmp_path: Path) -> None:
    field = json.loads(json_schema())["properties"]["airflow_version"]
    assert field.get("enum", [field.get("const")]) == list(AIRFLOW_VERSIONS)
    for version in AIRFLOW_VERSIONS:
        text = f"name: a\nairflow_version: {version}\nweb_access: {{allow_http: true}}"
        assert loads(text, tmp_path).airflow_version == version
    with pytest.raises(EnvironmentFileError, match=rf"is '2\.0\.1'; it must be '{re.escape(DEFAULT_VERSION)}'"):
        loads("name: a\nairflow_version: 2.0.1\nweb_access: {allow_http: true}", tmp_path)


@each_version
def test_the_day_of_the_packages_is_a_day_in_the_past(row: AirflowVersion) -> None:
    assert date(2026, 1, 1) < row.packages_until <= date.today()  # noqa: DTZ011 - a day, in any zone
