# SPDX-License-Identifier: Apache-2.0
"""ECS's references to secrets."""

import json

import pytest

from openmwaa.local.services.secrets import LOCAL_DAGS_SECRET, LOCAL_MASTER_SECRET, EmulatedSecrets, SecretReference

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!cluster-1-AbCdEf"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ARN, SecretReference(ARN)),
        (f"{ARN}:password::", SecretReference(ARN, "password")),
        (f"{ARN}:password", SecretReference(ARN, "password")),
        (f"{ARN}::AWSPREVIOUS:", SecretReference(ARN, "", "AWSPREVIOUS")),
        (f"{ARN}:a:AWSCURRENT:9d4c", SecretReference(ARN, "a", "AWSCURRENT", "9d4c")),
    ],
)
def test_reading_a_reference(text: str, expected: SecretReference) -> None:
    assert SecretReference.parse(text) == expected


async def test_postgresql_gets_the_master_password_before_it_is_returned() -> None:
    received: list[tuple[str, str]] = []

    async def on_master(name: str, password: str) -> None:
        received.append((name, password))

    secrets = EmulatedSecrets("http://127.0.0.1:9", on_master=on_master)  # this endpoint is not called
    master = json.loads(await secrets.resolve(LOCAL_MASTER_SECRET))
    assert received == [("openmwaa", master["password"])]
    assert await secrets.resolve(f"{LOCAL_MASTER_SECRET}:password::") == master["password"], (
        "the password must not change"
    )


async def test_the_secret_of_git_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = EmulatedSecrets("http://127.0.0.1:1")
    assert await secrets.resolve(LOCAL_DAGS_SECRET) == ""
    monkeypatch.setenv("OPENMWAA_DAGS_SECRET", "token")
    assert await secrets.resolve(LOCAL_DAGS_SECRET) == "token"
