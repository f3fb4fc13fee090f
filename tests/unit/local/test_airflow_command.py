# SPDX-License-Identifier: Apache-2.0
"""The variables and arguments of Airflow's programs that an author runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, NoReturn

import pytest
from typer.testing import CliRunner

from openmwaa.cli import app
from openmwaa.config.environment import Environment
from openmwaa.errors import OpenmwaaError
from openmwaa.local import airflow_command
from openmwaa.local.airflow_command import author_variables, without_airflow
from openmwaa.local.daemon import daemon_client
from tests.support.environments import LEAST_YAML

RUNNING = {
    "AWS_ENDPOINT_URL": "http://127.1.1.1:4566",
    "OPENMWAA_DATABASE_HOST": "127.1.1.2",
    "HOME": "/container",
    "PATH": "/container/bin",
    "TMPDIR": "/container/tmp",
    "ECS_AGENT_URI": "http://agent",
    "PYTHONPATH": "/packages",
}


class Replaced(Exception):  # noqa: N818 - no error
    """The program that would replace this process."""

    def __init__(self, argv: list[str], environ: dict[str, str]) -> None:
        super().__init__(shlex.join(argv))
        self.argv = argv
        self.environ = environ


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an environment that runs."""
    (tmp_path / "environment.yaml").write_text(LEAST_YAML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(airflow_command, "python_of", lambda *_: Path("/venv/bin/python"))
    monkeypatch.setattr(daemon_client, "airflow_environment", lambda _: RUNNING)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "of another Airflow")
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", "aws://")
    monkeypatch.setenv("AWS_PROFILE", "production")

    def replace(_program: Path, argv: list[str], environ: dict[str, str]) -> NoReturn:
        raise Replaced(argv, environ)

    monkeypatch.setattr("os.execve", replace)
    return tmp_path


def run(command: str) -> Any:
    return CliRunner().invoke(app, shlex.split(command), env={"TERM": "dumb", "COLUMNS": "300"}).exception


@pytest.mark.parametrize(
    "command",
    [
        "local run environment.yaml -- dags list -o json",
        "local run . -- dags list -o json",
        "local run -- dags list -o json",
        "local run dags list -o json",
        "local run airflow dags list -o json",
        "local run -e environment.yaml airflow dags list -o json",
        "local run -e environment.yaml -- dags list -o json",
    ],
)
def test_every_word_after_the_environment_is_airflow_s(here: Path, command: str) -> None:
    replaced = run(command)
    assert isinstance(replaced, Replaced)
    assert replaced.argv[1:] == ["-m", "openmwaa_runtime", "airflow", "dags", "list", "-o", "json"]


def test_a_command_has_the_environment_s_variables_and_the_terminal_s_own(here: Path) -> None:
    replaced = run("local run dags list")
    environ = replaced.environ
    assert {name: environ[name] for name in ("AWS_ENDPOINT_URL", "OPENMWAA_DATABASE_HOST", "PYTHONPATH")} == {
        name: RUNNING[name] for name in ("AWS_ENDPOINT_URL", "OPENMWAA_DATABASE_HOST", "PYTHONPATH")
    }
    assert environ["HOME"] != "/container"
    assert "/container/bin" not in environ["PATH"]
    assert not {"AIRFLOW__CORE__EXECUTOR", "AWS_PROFILE", "ECS_AGENT_URI"} & environ.keys()


def test_without_a_running_environment_the_command_that_starts_it_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_client, "airflow_environment", lambda _: None)
    error = run("local run dags list")
    assert isinstance(error, OpenmwaaError)
    assert "openmwaa local up" in str(error) or "local up" in str(error)


def test_a_test_has_a_database_of_its_own_and_the_file_s_options(tmp_path: Path) -> None:
    environment = Environment.model_validate(
        {
            "name": "a",
            "web_access": {"allow_http": True},
            "airflow_configuration_options": {"core.default_timezone": "Europe/Zurich"},
            "fleets": {"etl": {"queues": ["etl", "default"]}},
        }
    )
    variables = author_variables(environment, tmp_path / "packages", tmp_path / "home", tmp_path / "dags")
    assert variables["AIRFLOW__CORE__DEFAULT_TIMEZONE"] == "Europe/Zurich"
    assert variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{tmp_path}/home/airflow.db"
    assert variables["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path / "dags")
    assert variables["AIRFLOW__OPERATORS__DEFAULT_QUEUE"] == "default"


def test_connections_and_variables_of_the_terminal_reach_the_test() -> None:
    source = {
        "AIRFLOW_CONN_LAKE": "aws://",
        "AIRFLOW_VAR_STAGE": "dev",
        "AIRFLOW__CORE__FERNET_KEY": "x",
        "OPENMWAA_DAGS_SECRET": "x",
        "PATH": "/bin",
    }
    assert without_airflow(source).keys() == {"AIRFLOW_CONN_LAKE", "AIRFLOW_VAR_STAGE", "PATH"}


def test_a_dag_test_gets_its_options_and_copies_of_the_running_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "dags").mkdir()
    monkeypatch.setattr(airflow_command, "_make_database", lambda *_: None)
    replaced = run("""dags test hello --conf '{"a": 1}' --logical-date 2026-11-29 -- greeting""")
    assert isinstance(replaced, Replaced)
    folder = str(here / "dags")
    assert replaced.argv[1:] == [
        *(
            "-m",
            "openmwaa_runtime",
            "run-dag",
            "--folder",
            folder,
            "--conf",
            '{"a": 1}',
            "--logical-date",
            "2026-11-29",
        ),
        *("--", "hello", "greeting"),
    ]
    environ = replaced.environ
    assert json.loads(environ["OPENMWAA_RUNNING"])["OPENMWAA_DATABASE_HOST"] == "127.1.1.2"
    assert environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith("sqlite:")
    assert environ["AWS_ENDPOINT_URL"] == RUNNING["AWS_ENDPOINT_URL"]
    assert environ["AIRFLOW_CONN_LAKE"] == "aws://"
    assert "AWS_PROFILE" not in environ


def test_the_debugger_needs_a_terminal(here: Path) -> None:
    (here / "dags").mkdir()
    assert isinstance(run("dags test hello --pdb"), SystemExit)
