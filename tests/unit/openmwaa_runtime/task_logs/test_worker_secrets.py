# SPDX-License-Identifier: Apache-2.0
"""The credentials of a container leave a worker's environment, and every log masks them."""

import json

import pytest

from openmwaa_runtime.settings import airflow_environment
from openmwaa_runtime.task_logs import worker_secrets
from openmwaa_runtime.task_logs.lines import masker

PASSWORDS = ["secret-celery", "secret-broker"]


@pytest.fixture(autouse=True)
def _nothing_removed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_secrets, "_removed", set())


def full(component: str, environ: dict[str, str]) -> dict[str, str]:
    return {**environ, **airflow_environment(component, environ, "127.0.0.1")}


@pytest.mark.parametrize("broker", ["container", "on_redis"], ids=["SQS", "Redis"])
def test_a_worker_has_no_credential_in_its_environment(broker: str, request: pytest.FixtureRequest) -> None:
    environ = full("worker", request.getfixturevalue(broker))
    worker_secrets.remove(environ)
    # A worker's task definition has no other secrets than these two.
    assert not [name for name, value in environ.items() if any(password in value for password in PASSWORDS)]
    assert ("AIRFLOW__CELERY__BROKER_URL" in environ) is (broker == "container")


@pytest.mark.parametrize("component", ["worker", "triggerer"])
def test_a_log_of_the_whole_environment_has_no_credential(component: str, on_redis: dict[str, str]) -> None:
    rotated = json.dumps({"username": "celery_results_b", "password": "secret-celery"})
    environ = full(component, {**on_redis, "OPENMWAA_CELERY_DATABASE_PASSWORD": rotated})
    printed = [str(environ), json.dumps(environ), "\n".join(f"{name}={value}" for name, value in environ.items())]
    worker_secrets.remove(environ)
    mask = masker(worker_secrets.secret_values(environ))
    for text in printed:
        masked = mask(text)
        left = [
            word
            for word in ("airflow", "celery", "broker", "fernet", "jwt", "api", "admin")
            if f"secret-{word}" in masked
        ]
        assert not left, left
        assert "celery_results_b" in masked, "the whole secret is masked, and with it the role"


def test_a_url_that_a_user_sets_is_masked_too() -> None:
    environ = {"AIRFLOW__CELERY__RESULT_BACKEND": "db+postgresql://user:p%40ssword-1@host/db", "OTHER": "value"}
    worker_secrets.remove(environ)
    assert environ == {"OTHER": "value"}
    assert worker_secrets.secret_values(environ) == {"p@ssword-1"}


@pytest.mark.parametrize("url", ["", "sqs://", "not a url", "redis://[broken"])
def test_a_url_without_a_password_stays(url: str) -> None:
    environ = {"AIRFLOW__CELERY__BROKER_URL": url}
    worker_secrets.remove(environ)
    assert environ == {"AIRFLOW__CELERY__BROKER_URL": url}
    assert not worker_secrets.secret_values(environ)
