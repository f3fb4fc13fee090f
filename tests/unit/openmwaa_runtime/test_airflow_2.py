# SPDX-License-Identifier: Apache-2.0
"""What differs with Airflow 2: commands, variables, settings, and the rights of workers."""

from typing import Any

import pytest

from openmwaa_runtime import components, release
from openmwaa_runtime.airflow_2.worker_rights import WORKER_RIGHTS
from openmwaa_runtime.errors import MissingVariableError
from openmwaa_runtime.release import AIRFLOW_2, AIRFLOW_3, installed_release
from openmwaa_runtime.settings import airflow_environment
from openmwaa_runtime.settings.container_env import REQUIRED
from openmwaa_runtime.task_logs import worker_secrets

PASSWORD = "secret-worker"


@pytest.fixture
def container_2(container: dict[str, str]) -> dict[str, str]:
    """The variables of a container of Airflow 2."""
    more = {"OPENMWAA_WORKER_DATABASE_PASSWORD": PASSWORD}
    return {name: value for name, value in {**container, **more}.items() if name not in AIRFLOW_2.unused}


def settings_of(component: str, environ: dict[str, str]) -> dict[str, str]:
    return airflow_environment(component, environ, "10.0.0.1", release=AIRFLOW_2)


@pytest.mark.parametrize(("version", "expected"), [("2.11.2", AIRFLOW_2), ("3.3.2", AIRFLOW_3), ("20.1", AIRFLOW_3)])
def test_the_installed_version_chooses_the_release(
    monkeypatch: pytest.MonkeyPatch, version: str, expected: Any
) -> None:
    monkeypatch.setattr(release, "installed_airflow", lambda: version)
    installed_release.cache_clear()
    try:
        assert installed_release() is expected
    finally:
        installed_release.cache_clear()


def test_every_component_but_the_execution_api_has_a_command() -> None:
    assert AIRFLOW_2.commands.keys() == AIRFLOW_3.commands.keys() - {"execution-api"}
    assert AIRFLOW_2.commands["web-server"] == ("airflow", "webserver")


def test_a_worker_has_the_same_command(monkeypatch: pytest.MonkeyPatch, container_2: dict[str, str]) -> None:
    expected = components.arguments("worker", container_2)
    monkeypatch.setattr(components, "installed_release", lambda: AIRFLOW_2)
    assert components.arguments("worker", container_2) == expected


@pytest.mark.parametrize("component", AIRFLOW_2.commands)
def test_a_component_needs_neither_the_execution_api_nor_its_tokens(
    container_2: dict[str, str], component: str
) -> None:
    variables = settings_of(component, container_2)
    assert variables, "no setting"
    assert not [name for name in variables if "EXECUTION_API" in name or "JWT" in name]


@pytest.mark.parametrize("variable", AIRFLOW_2.required("worker", REQUIRED["worker"]))
def test_a_worker_names_a_missing_variable(container_2: dict[str, str], variable: str) -> None:
    del container_2[variable]
    with pytest.raises(MissingVariableError, match=variable):
        settings_of("worker", container_2)


def test_a_worker_uses_the_database_with_its_own_role(container_2: dict[str, str]) -> None:
    variables = settings_of("worker", container_2)
    assert "//airflow_worker:secret-worker@db.internal:5432/airflow" in variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    others = settings_of("scheduler", container_2)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert "//airflow:" in others
    assert "secret-airflow" not in "".join(variables.values())


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://airflow.example.com", "True"),
        ("http://internal-demo.elb.amazonaws.com:8080", "False"),
        ("https://d111111abcdef8.cloudfront.net", "False"),
    ],
    ids=["domain", "http", "cloudfront"],
)
def test_the_session_is_sent_over_https_only_if_the_load_balancer_has_https(
    container_2: dict[str, str], url: str, secure: str
) -> None:
    container_2["OPENMWAA_WEB_URL"] = url
    assert settings_of("web-server", container_2)["AIRFLOW__WEBSERVER__COOKIE_SECURE"] == secure


def test_only_containers_with_dag_code_read_the_secret_stores(container_2: dict[str, str]) -> None:
    found = {name for name in AIRFLOW_2.commands if "AIRFLOW__SECRETS__BACKEND" in settings_of(name, container_2)}
    assert found == {"worker", "triggerer", "dag-processor"}
    container_2["AIRFLOW__SECRETS__BACKEND"] = "mine"
    assert "AIRFLOW__SECRETS__BACKEND" not in settings_of("worker", container_2)


def test_a_worker_keeps_no_password_in_its_environment(container_2: dict[str, str]) -> None:
    worker = {
        name: container_2[name] for name in (*AIRFLOW_2.required("worker", REQUIRED["worker"]), "OPENMWAA_ENVIRONMENT")
    }
    environ = {**worker, **settings_of("worker", worker)}
    worker_secrets.remove(environ)
    left = "\n".join(environ.values())
    assert not [secret for secret in (PASSWORD, "secret-celery", "secret-fernet") if secret in left]
    assert {PASSWORD, "secret-fernet"} <= worker_secrets.secret_values({}), "a log would show it"


def test_workers_cannot_change_what_is_not_of_tasks() -> None:
    may_write = {table for table, rights in WORKER_RIGHTS.items() if set(rights) != {"SELECT"}}
    assert not may_write & {"connection", "slot_pool", "dag", "serialized_dag", "dataset", "log_template"}
    assert not [table for table in WORKER_RIGHTS if table.startswith("ab_") or table == "session"]
    assert "DELETE" not in {*WORKER_RIGHTS["dag_run"], *WORKER_RIGHTS["task_instance"], *WORKER_RIGHTS["log"]}
