# SPDX-License-Identifier: Apache-2.0
"""The search for secrets' values finds one wherever it is, and says so when it could not."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tools.verify.errors import StepError
from tools.verify.exposure import search

PREFIX = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
STACK = {
    "resource": {
        "aws_secretsmanager_secret": {
            "secrets_jwt_secret": {"name": "openmwaa-some/jwt-secret"},
            "secrets_fernet_key": {"name_prefix": "openmwaa-some/fernet-key-"},
            "secrets_celery_database_password": {"name": "openmwaa-some/celery-database-password"},
        }
    }
}
VALUES = {
    "openmwaa-some/jwt-secret-AbCdEf": "j" * 64,
    "openmwaa-some/fernet-key-2026-AbCdEf": "f" * 43 + "=",
    "openmwaa-some/celery-database-password-AbCdEf": json.dumps({"username": "celery_a", "password": "c" * 64}),
    "rds!cluster-1-AbCdEf": json.dumps({"username": "openmwaa", "password": "m" * 28}),
}
GIVEN = f"{PREFIX}teams/oidc-AbCdEf"


class SecretsManager:
    """Only what a stack has made may be read."""

    def get_secret_value(self, **request: Any) -> dict[str, str]:
        return {"SecretString": VALUES[request["SecretId"].removeprefix(PREFIX)]}


def texts(**more: str) -> dict[str, str]:
    state = json.dumps([*(f"{PREFIX}{name}" for name in VALUES), GIVEN, "openmwaa", "celery_a"])
    said = {"stack": json.dumps(STACK), "plan": state, "state": state}
    return {place: text + more.get(place, "") for place, text in said.items()}


def test_nothing_is_found_where_nothing_is() -> None:
    assert search(STACK, texts(), "state", SecretsManager()) == (4, [])


@pytest.mark.parametrize("place", ["stack", "plan", "state"])
@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("j" * 64, "openmwaa-some/jwt-secret-AbCdEf"),
        ("f" * 43 + "=", "openmwaa-some/fernet-key-2026-AbCdEf"),
        ("c" * 64, "openmwaa-some/celery-database-password-AbCdEf"),
        ("m" * 28, "rds!cluster-1-AbCdEf"),
    ],
    ids=["whole", "fernet", "password-of-an-object", "master"],
)
def test_a_value_is_found_wherever_it_is(place: str, value: str, name: str) -> None:
    said = texts(**{place: f'"postgresql://x:{value}@host"'})
    assert search(STACK, said, "state", SecretsManager()) == (4, [f"{name} in {place}"])


def test_a_state_without_the_secrets_arns_proves_nothing() -> None:
    with pytest.raises(StepError, match="openmwaa-some/jwt-secret, openmwaa-some/fernet-key-, openmwaa-some/celery"):
        search(STACK, texts() | {"state": "{}"}, "state", SecretsManager())


def test_a_value_that_is_too_short_to_be_looked_for_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VALUES, "openmwaa-some/jwt-secret-AbCdEf", "short")
    with pytest.raises(StepError, match="5 characters"):
        search(STACK, texts(), "state", SecretsManager())


def test_a_masters_secret_that_an_emulator_only_names_is_none() -> None:
    class Forgetful(SecretsManager):
        def get_secret_value(self, **request: Any) -> dict[str, str]:
            if "rds!" in request["SecretId"]:
                raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")
            return super().get_secret_value(**request)

    assert search(STACK, texts(), "state", Forgetful()) == (3, [])
