# SPDX-License-Identifier: Apache-2.0
"""What each word becomes."""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from openmwaa_runtime import __main__ as entry
from openmwaa_runtime import components
from openmwaa_runtime.components import arguments, hostname_for, login_for, start
from openmwaa_runtime.database import Login
from openmwaa_runtime.errors import NotPrepared, RuntimeProblem, UsageProblem
from openmwaa_runtime.task_metadata import TaskIdentity

IDENTITY = TaskIdentity("127.40.1.7", "0123456789abcdef")


class BecameError(Exception):
    """Where exec would have replaced the process."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self.command = command
        self.environ = environ


def become(command: list[str], environ: dict[str, str]) -> NoReturn:
    raise BecameError(command, environ)


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[Login]:
    """A prepared database; the logins that were waited with."""
    logins: list[Login] = []
    monkeypatch.setattr(components, "wait_until_prepared", lambda login, _version: logins.append(login))
    monkeypatch.setattr(components, "installed_airflow", lambda: "3.3.2")
    monkeypatch.setattr(components, "read_identity", lambda _environ: IDENTITY)
    monkeypatch.setattr(components, "read_public_key", lambda _login: "public")
    return logins


@pytest.mark.parametrize(
    ("component", "line"),
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
def test_a_component_becomes_airflow(
    container: dict[str, str], tmp_path: Path, waited: list[Login], component: str, line: str
) -> None:
    container["HOME"] = str(tmp_path)
    with pytest.raises(BecameError) as became:
        start(component, container, become=become)
    assert became.value.command == [sys.executable, "-m", "airflow", *line.split()]
    assert became.value.environ["AIRFLOW_HOME"] == f"{tmp_path}/airflow"
    assert container.items() <= became.value.environ.items(), "what the task definition set must stay as it is"
    assert len(waited) == 1, "Airflow must not start before the database is prepared"


def test_the_workers_name_is_its_ecs_task_and_the_others_is_their_address() -> None:
    assert hostname_for("worker", IDENTITY) == "0123456789abcdef"
    assert hostname_for("scheduler", IDENTITY) == "127.40.1.7"
    assert hostname_for("worker", TaskIdentity("0.0.0.0", None)) is None


def test_a_worker_waits_through_the_results_database_and_gets_the_public_key(
    container: dict[str, str], tmp_path: Path, waited: list[Login]
) -> None:
    container["HOME"] = str(tmp_path)
    with pytest.raises(BecameError) as became:
        start("worker", container, become=become)
    assert (waited[0].role, waited[0].database, waited[0].password) == ("celery_results", "celery", "secret-celery")
    assert became.value.environ["WORKER_AGENT_PUBLIC_KEY"] == "public"
    assert became.value.environ["OPENMWAA_HOSTNAME"] == "0123456789abcdef"


def test_others_wait_as_the_owner_of_the_metadata(container: dict[str, str]) -> None:
    login = login_for("triggerer", container)
    assert (login.role, login.database, login.sslmode, login.port) == ("airflow", "airflow", "require", 5432)


def test_the_administrators_password_is_in_a_file_that_nobody_else_reads(
    container: dict[str, str], tmp_path: Path, waited: list[Login]
) -> None:
    container["HOME"] = str(tmp_path)
    for _ in range(2):  # a container that starts again finds the file
        with pytest.raises(BecameError) as became:
            start("web-server", container, become=become)
    file = Path(became.value.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    assert json.loads(file.read_text()) == {"admin": "secret-admin"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in file.parent.iterdir()] == [file.name], "a temporary file is left"
    assert waited


def test_a_worker_has_the_slots_of_its_fleet(container: dict[str, str]) -> None:
    container["OPENMWAA_WORKER_SLOTS"] = "20"
    assert arguments("worker", container)[-2:] == ("--concurrency", "20")
    assert "--celery-hostname" not in arguments("worker", container)


@pytest.mark.parametrize("words", [[], ["webserver"], ["health"], ["health", "all"], ["scheduler", "now"]])
def test_another_word_is_refused_with_the_right_ones(words: list[str]) -> None:
    with pytest.raises(UsageProblem, match="prepare-database, prepare-broker, scheduler, dag-processor"):
        entry.run(words, {})


@pytest.mark.parametrize(("problem", "status"), [(UsageProblem("no queue"), 2), (NotPrepared("no database"), 3)])
def test_a_problem_is_one_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: RuntimeProblem, status: int
) -> None:
    def fail(*_: Any) -> int:
        raise problem

    monkeypatch.setattr(entry, "run", fail)
    monkeypatch.setattr(entry, "_install_stop", lambda: None)
    assert entry.main() == status
    assert capsys.readouterr().err == f"openmwaa_runtime: {problem}\n"


def test_an_incomplete_container_stops_before_it_waits(container: dict[str, str], waited: list[Login]) -> None:
    del container["OPENMWAA_JWT_SECRET"]
    with pytest.raises(UsageProblem, match="scheduler needs the environment variable OPENMWAA_JWT_SECRET"):
        start("scheduler", container, become=become)
    assert not waited
