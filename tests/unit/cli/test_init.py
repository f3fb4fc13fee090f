# SPDX-License-Identifier: Apache-2.0
"""`openmwaa init` writes a valid environment, and never replaces a file."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openmwaa.cli import app
from openmwaa.cli.init import environment_name
from openmwaa.config.environment_file import load

FILES = {"environment.yaml", "dags/hello.py", "dags/.airflowignore", "tests/test_dags.py"}


def test_it_writes_a_valid_environment_a_dag_and_a_test(tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    done = CliRunner().invoke(app, ["init", str(folder)])
    assert done.exit_code == 0, done.output
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == FILES
    assert load(folder / "environment.yaml").name == "my-project"
    assert f"cd '{folder}'" in done.output


@pytest.mark.parametrize(("version", "module"), [("3.3.2", "airflow.sdk"), ("2.11.2", "airflow.decorators")])
def test_the_dag_runs_with_the_version_of_the_option_and_of_a_file_that_exists(
    tmp_path: Path, version: str, module: str
) -> None:
    def imported() -> str | None:
        found = re.search(r"from (\S+) import dag, task", (tmp_path / "dags/hello.py").read_text())
        return found[1] if found else None

    done = CliRunner().invoke(app, ["init", str(tmp_path), "--airflow-version", version])
    assert done.exit_code == 0, done.output
    assert load(tmp_path / "environment.yaml").airflow_version == version
    assert imported() == module
    (tmp_path / "dags/hello.py").unlink()
    CliRunner().invoke(app, ["init", str(tmp_path)])
    assert imported() == module


def test_an_unknown_version_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", str(tmp_path), "--airflow-version", "2.10.0"])
    assert (done.exit_code, "--airflow-version" in done.output, "2.11.2" in done.output) == (2, True, True), done.output
    assert not [*tmp_path.iterdir()]


def test_files_that_exist_are_kept_and_named(tmp_path: Path) -> None:
    (tmp_path / "environment.yaml").write_text("name: mine\n")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags/hello.py").symlink_to("elsewhere.py")  # broken: writing to it would create the other file
    done = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "environment.yaml").read_text() == "name: mine\n"
    assert not (tmp_path / "dags/elsewhere.py").exists()
    assert done.output.count("Kept ") == 2


def test_a_place_that_takes_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["init", str(tmp_path / "file/project")])
    assert (done.exit_code, "cannot be written: Not a directory" in done.output) == (2, True), done.output
    (tmp_path / "dags").write_text("")
    done = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert (done.exit_code, "cannot be written" in done.output) == (2, True), done.output


def test_a_second_call_writes_nothing(tmp_path: Path) -> None:
    CliRunner().invoke(app, ["init", str(tmp_path)])
    done = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert "Wrote" not in done.output
    assert done.output.count("Kept ") == len(FILES)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("airflow", "airflow"),
        ("My Project (2)", "My-Project-2"),
        ("2024", "airflow-2024"),
        ("été", "t"),
        ("---", "airflow"),
        ("", "airflow"),
        ("a" * 60, "a" * 27),
        ("a" * 26 + " b", "a" * 26),
    ],
)
def test_the_name_comes_from_the_folder(folder: str, name: str, tmp_path: Path) -> None:
    assert environment_name(folder) == name
    file = tmp_path / "environment.yaml"
    file.write_text(f"name: {name}\nweb_access: {{allow_http: true}}\n")
    assert load(file).name == name
