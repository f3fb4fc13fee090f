# SPDX-License-Identifier: Apache-2.0
"""The command lines of the components."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from openmwaa_runtime import __main__ as entry
from openmwaa_runtime import components
from openmwaa_runtime.components import arguments, hostname_for, login_for, run_command, start
from openmwaa_runtime.database import Login
from openmwaa_runtime.errors import NotPreparedError, PreparationError, StartupError, UsageError
from openmwaa_runtime.task_metadata import TaskIdentity

IDENTITY = TaskIdentity("127.40.1.7", "0123456789abcdef")


class ExecError(Exception):
    """Raised instead of exec."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self.command = command
        self.environ = environ


def run_airflow(command: list[str], environ: dict[str, str]) -> NoReturn:
    raise ExecError(command, environ)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[Login]:
    """A prepared database; returns the logins of the waits."""
    logins: list[Login] = []
    monkeypatch.setattr(components, "wait_until_prepared", lambda login, _version: logins.append(login))
    monkeypatch.setattr(components, "installed_airflow", lambda: "3.3.2")
    monkeypatch.setattr(components, "read_identity", lambda _environ: IDENTITY)
    monkeypatch.setattr(components, "read_public_key", lambda _login: "public")
    return logins


@pytest.mark.parametrize(
    ("component", "command"),
    [
        ("scheduler", "scheduler --skip-serve-logs"),
        ("dag-processor", "dag-processor"),
        ("triggerer", "triggerer --skip-serve-logs"),
        ("execution-api", "api-server --apps execution"),
        ("web-server", "api-server --apps core --proxy-headers"),
        (
            "worker",
            "celery worker --skip-serve-logs --without-mingle --without-gossip --queues default,high --concurrency 5",
        ),
    ],
)
def test_a_component_starts_airflow(
    container: dict[str, str], tmp_path: Path, waited: list[Login], component: str, command: str
) -> None:
    container["HOME"] = str(tmp_path)
    with pytest.raises(ExecError) as started:
        start(component, container, run_airflow=run_airflow)
    assert started.value.command == [sys.executable, "-m", "airflow", *command.split()]
    assert started.value.environ["AIRFLOW_HOME"] == f"{tmp_path}/airflow"
    assert container.items() <= started.value.environ.items(), "the variables of the task definition must not change"
    assert len(waited) == 1, "Airflow must not start before the database is prepared"


@pytest.mark.parametrize("status", [0, 1])
def test_a_scheduler_with_two_fernet_keys_encrypts_the_database_with_the_first_one(
    container: dict[str, str], tmp_path: Path, waited: list[Login], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    container |= {"HOME": str(tmp_path), "OPENMWAA_FERNET_KEY": "new,old"}
    keys: list[str] = []

    def run(command: list[str], *, env: dict[str, str], check: bool) -> subprocess.CompletedProcess[str]:
        assert command == [sys.executable, "-m", "airflow", "rotate-fernet-key"]
        keys.append(env["AIRFLOW__CORE__FERNET_KEY"])
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(PreparationError if status else ExecError):
        start("scheduler", container, run_airflow=run_airflow)
    with pytest.raises(ExecError):
        start("triggerer", container, run_airflow=run_airflow)
    assert keys == ["new,old"]
    assert waited


def test_a_command_has_the_database_and_the_keys_of_the_environment(container: dict[str, str]) -> None:
    with pytest.raises(ExecError) as started:
        run_command(["dags", "list"], container, run_airflow=run_airflow)
    assert started.value.command == [sys.executable, "-m", "airflow", "dags", "list"]
    environ = started.value.environ
    assert "secret-airflow" in environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert environ["AIRFLOW__CORE__FERNET_KEY"] == "secret-fernet"
    assert environ["_AIRFLOW_PROCESS_CONTEXT"] == "server", "Variable.get does not read the database"


def test_the_host_name_of_a_worker_is_its_ecs_task_and_of_others_their_address() -> None:
    assert hostname_for("worker", IDENTITY) == "0123456789abcdef"
    assert hostname_for("scheduler", IDENTITY) == "127.40.1.7"
    assert hostname_for("worker", TaskIdentity("0.0.0.0", None)) is None


def test_a_worker_waits_through_the_results_database_and_gets_the_public_key(
    container: dict[str, str], tmp_path: Path, waited: list[Login]
) -> None:
    container["HOME"] = str(tmp_path)
    with pytest.raises(ExecError) as started:
        start("worker", container, run_airflow=run_airflow)
    assert (waited[0].role, waited[0].database, waited[0].password) == ("celery_results", "celery", "secret-celery")
    assert started.value.environ["WORKER_AGENT_PUBLIC_KEY"] == "public"
    assert started.value.environ["OPENMWAA_HOSTNAME"] == "0123456789abcdef"


def test_other_components_wait_with_the_owner_of_the_metadata_database(container: dict[str, str]) -> None:
    login = login_for("triggerer", container)
    assert (login.role, login.database, login.sslmode, login.port) == ("airflow", "airflow", "require", 5432)


def test_only_the_owner_can_read_the_file_with_the_administrators_password(
    container: dict[str, str], tmp_path: Path, waited: list[Login]
) -> None:
    container["HOME"] = str(tmp_path)
    for _ in range(2):  # after a restart the file exists
        with pytest.raises(ExecError) as started:
            start("web-server", container, run_airflow=run_airflow)
    file = Path(started.value.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    assert json.loads(file.read_text()) == {"admin": "secret-admin"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == [file.name], "a temporary file is left"
    assert waited


def test_a_worker_has_the_slots_of_its_fleet(container: dict[str, str]) -> None:
    container["OPENMWAA_WORKER_SLOTS"] = "20"
    assert arguments("worker", container)[-2:] == ("--concurrency", "20")
    assert "--celery-hostname" not in arguments("worker", container)


@pytest.mark.parametrize(
    "arguments", [[], ["webserver"], ["health"], ["health", "all"], ["health", "sync-dags"], ["scheduler", "now"]]
)
def test_an_unknown_command_is_an_error_with_the_known_ones(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="prepare-database, prepare-broker, scheduler, dag-processor"):
        entry.run(arguments, {})


@pytest.mark.parametrize(("error", "status"), [(UsageError("no queue"), 2), (NotPreparedError("no database"), 3)])
def test_an_error_is_one_line_and_an_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: StartupError, status: int
) -> None:
    def fail(*_: Any) -> int:
        raise error

    monkeypatch.setattr(entry, "run", fail)
    monkeypatch.setattr(entry, "_install_stop", lambda: None)
    assert entry.main() == status
    assert capsys.readouterr().err == f"openmwaa_runtime: {error}\n"


def test_a_missing_variable_is_an_error_before_the_wait(container: dict[str, str], waited: list[Login]) -> None:
    del container["OPENMWAA_JWT_SECRET"]
    with pytest.raises(UsageError, match="scheduler needs the environment variable OPENMWAA_JWT_SECRET"):
        start("scheduler", container, run_airflow=run_airflow)
    assert not waited
