# SPDX-License-Identifier: Apache-2.0
"""A database secret: a password, or a JSON object with a role and its password."""

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
    ids=["object", "plain", "digits", "json-but-not-an-object", "object-without-password"],
)
def test_role_and_password_of_a_secret(secret: str, role: str, password: str) -> None:
    assert Credentials.read(secret, "airflow") == Credentials(role, password)


def test_repr_does_not_show_the_password() -> None:
    assert "p/w" not in repr(Credentials.read(SECRET, "airflow"))


def test_all_connections_of_a_container_use_the_role_of_the_secret(container: dict[str, str]) -> None:
    environ = {**container, "OPENMWAA_AIRFLOW_DATABASE_PASSWORD": SECRET}
    assert login_for("scheduler", environ).role == "airflow_b"
    settings = airflow_environment("scheduler", environ, "10.0.0.1")
    for option in ("SQL_ALCHEMY_CONN", "SQL_ALCHEMY_CONN_ASYNC"):
        assert "//airflow_b:p%2Fw@db.internal:5432/airflow?" in settings[f"AIRFLOW__DATABASE__{option}"]
