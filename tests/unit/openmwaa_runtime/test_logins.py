# SPDX-License-Identifier: Apache-2.0
"""A database's secret: a password, or Secrets Manager's object with the role that logs in."""

import pytest

from openmwaa_runtime.components import login_for
from openmwaa_runtime.credentials import Credentials
from openmwaa_runtime.settings import airflow_environment

SECRET = '{"username": "airflow_b", "password": "p/w"}'


@pytest.mark.parametrize(
    ("secret", "role", "password"),
    [
        (SECRET, "airflow_b", "p/w"),
        ("plain", "airflow", "plain"),
        ("1234", "airflow", "1234"),
        ("null", "airflow", "null"),
        ('{"username": "airflow_b"}', "airflow", '{"username": "airflow_b"}'),
    ],
    ids=["object", "plain", "digits", "json-but-no-object", "object-without-password"],
)
def test_who_logs_in(secret: str, role: str, password: str) -> None:
    assert Credentials.read(secret, "airflow") == Credentials(role, password)


def test_a_login_is_never_shown() -> None:
    assert "p/w" not in repr(Credentials.read(SECRET, "airflow"))


def test_everything_in_a_container_logs_in_as_the_secret_says(container: dict[str, str]) -> None:
    environ = {**container, "OPENMWAA_AIRFLOW_DATABASE_PASSWORD": SECRET}
    assert login_for("scheduler", environ).role == "airflow_b"
    settings = airflow_environment("scheduler", environ, "10.0.0.1")
    for option in ("SQL_ALCHEMY_CONN", "SQL_ALCHEMY_CONN_ASYNC"):
        assert "//airflow_b:p%2Fw@db.internal:5432/airflow?" in settings[f"AIRFLOW__DATABASE__{option}"]
