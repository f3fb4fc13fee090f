# SPDX-License-Identifier: Apache-2.0
"""The author's folder of an environment on this machine is remembered, and exchanged in one step."""

from pathlib import Path

import pytest

from openmwaa.local.install.images import airflow_packages
from openmwaa.local.paths import LocalPaths
from openmwaa.local.up import Up


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "environment.yaml"
    file.write_text("name: trial\nweb_access: {allow_http: true}\n")
    LocalPaths.of(file, "trial").root.mkdir(parents=True)
    return file


def chosen(file: Path, dags: Path | str | None) -> tuple[Path | None, list[str]]:
    """The folder after an `up`, and what it prints."""
    lines: list[str] = []
    up = Up(file, progress=lines.append, dags=dags)  # type: ignore[arg-type]
    up._choose_dags()
    return up._paths.dag_folder, lines


def test_a_later_up_keeps_the_folder_until_the_bucket_is_chosen(file: Path, tmp_path: Path) -> None:
    dags, others = tmp_path / "dags", tmp_path / "others"
    dags.mkdir()
    others.mkdir()
    assert chosen(file, None) == (None, [])
    assert chosen(file, dags) == (dags, [f"DAGs come from {dags}"])
    assert chosen(file, None) == (dags, [f"DAGs come from {dags}"])
    assert chosen(file, others)[0] == others
    others.rmdir()
    assert chosen(file, None) == (
        others,
        [f"DAGs come from {others}, which does not exist: the last DAGs stay"],
    )
    assert chosen(file, "bucket") == (None, [])
    assert chosen(file, "bucket") == (None, []), "the choice of the bucket can be repeated"


def test_a_link_to_a_package_that_a_program_may_import_stays(tmp_path: Path) -> None:
    link = airflow_packages(tmp_path) / "openmwaa_runtime"
    before = link.lstat().st_ino
    airflow_packages(tmp_path)
    assert link.lstat().st_ino == before
