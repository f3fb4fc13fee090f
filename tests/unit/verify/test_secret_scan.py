# SPDX-License-Identifier: Apache-2.0
"""The search for secret values finds each in every text, and fails where it would prove nothing."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tools.verify.errors import StepError
from tools.verify.secret_scan import search

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
FOREIGN = f"{PREFIX}teams/oidc-AbCdEf"


class SecretsManager:
    """Holds the secrets of the stack; another secret is a KeyError."""

    def get_secret_value(self, **request: Any) -> dict[str, str]:
        return {"SecretString": VALUES[request["SecretId"].removeprefix(PREFIX)]}


def texts(**extra: str) -> dict[str, str]:
    state = json.dumps([*(f"{PREFIX}{name}" for name in VALUES), FOREIGN, "openmwaa", "celery_a"])
    found = {"stack": json.dumps(STACK), "plan": state, "state": state}
    return {title: text + extra.get(title, "") for title, text in found.items()}


def test_texts_without_a_secret_value_have_no_find() -> None:
    assert search(STACK, texts(), "state", SecretsManager()) == (4, [])


@pytest.mark.parametrize("title", ["stack", "plan", "state"])
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
def test_a_value_is_found_in_every_text(title: str, value: str, name: str) -> None:
    found = texts(**{title: f'"postgresql://x:{value}@host"'})
    assert search(STACK, found, "state", SecretsManager()) == (4, [f"{name} in {title}"])


def test_a_state_without_the_arns_of_the_secrets_is_an_error() -> None:
    with pytest.raises(StepError, match="openmwaa-some/jwt-secret, openmwaa-some/fernet-key-, openmwaa-some/celery"):
        search(STACK, texts() | {"state": "{}"}, "state", SecretsManager())


def test_a_value_that_is_too_short_to_search_for_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VALUES, "openmwaa-some/jwt-secret-AbCdEf", "short")
    with pytest.raises(StepError, match="5 characters"):
        search(STACK, texts(), "state", SecretsManager())


def test_a_missing_master_secret_of_an_emulator_is_skipped() -> None:
    class WithoutMaster(SecretsManager):
        def get_secret_value(self, **request: Any) -> dict[str, str]:
            if "rds!" in request["SecretId"]:
                raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")
            return super().get_secret_value(**request)

    assert search(STACK, texts(), "state", WithoutMaster()) == (3, [])
