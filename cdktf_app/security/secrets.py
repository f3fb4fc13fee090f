# SPDX-License-Identifier: Apache-2.0
"""Secrets that the environment makes for itself, without Terraform ever remembering one.

Each value is an ephemeral resource handed to a write-only argument, so it is in neither plan nor state. It changes only
when its version is raised, which the file does for the database's passwords alone: a new Fernet key could not read what
the old one wrote, and a new JWT secret would end every running task.

A database's secret is {"username", "password"}. Its role logs in as `ROLE_a` or `ROLE_b` by turns, so that whoever runs
with the old password goes on: `openmwaa_runtime.credentials` says how.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Final

from cdktn import Fn, ITerraformDependable
from cdktn_provider_aws.ephemeral_aws_secretsmanager_random_password import (
    EphemeralAwsSecretsmanagerRandomPassword,
)
from cdktn_provider_aws.secretsmanager_secret import SecretsmanagerSecret
from cdktn_provider_aws.secretsmanager_secret_version import SecretsmanagerSecretVersion
from constructs import Construct

from openmwaa.config.rotation import Rotation

VALUE_VERSION: Final = 1
# Letters and digits: 64 of them carry 380 bits and need no escaping in a URL, a shell or a connection string.
_LENGTH: Final = 64
_KEY_OF_SNAPSHOT_DAYS: Final = 30  # Secrets Manager's longest
_ADMIN_LENGTH: Final = 24  # a person types this one: 142 bits


class GeneratedSecret(StrEnum):
    """A secret that the environment makes for itself."""

    AIRFLOW_DATABASE_PASSWORD = auto()
    CELERY_DATABASE_PASSWORD = auto()
    SCALER_DATABASE_PASSWORD = auto()
    FERNET_KEY = auto()
    API_SECRET_KEY = auto()
    JWT_SECRET = auto()
    ADMIN_PASSWORD = auto()
    SCALER_SIGNING_SEED = auto()
    BROKER_PASSWORD = auto()
    SCALER_BROKER_PASSWORD = auto()


_LOGINS: Final[Mapping[GeneratedSecret, str]] = {
    GeneratedSecret.AIRFLOW_DATABASE_PASSWORD: "airflow",
    GeneratedSecret.CELERY_DATABASE_PASSWORD: "celery_results",
    GeneratedSecret.SCALER_DATABASE_PASSWORD: "scaler",
}
_TURNS: Final = ("b", "a")  # by the version's parity: 1 is a

OF_REDIS: Final = frozenset({GeneratedSecret.BROKER_PASSWORD, GeneratedSecret.SCALER_BROKER_PASSWORD})


class EnvironmentSecrets(Construct):
    """Every generated secret of an environment, in Secrets Manager; those of Redis where it is the broker."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        key_arn: str,
        redis: bool = False,
        rotation: Rotation,
        retain_fernet_key: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        self._name = name
        self._key_arn = key_arn
        self._database_passwords = rotation.database_passwords
        self._retain_fernet_key = retain_fernet_key
        self._versions = {secret: self._create(secret) for secret in GeneratedSecret if redis or secret not in OF_REDIS}

    @property
    def values(self) -> list[ITerraformDependable]:
        """What has to exist before a container can be given its secrets."""
        return list(self._versions.values())

    def arn(self, secret: GeneratedSecret) -> str:
        """Return the ARN of `secret`, whose whole value is the secret."""
        return self._versions[secret].arn

    def _create(self, secret: GeneratedSecret) -> SecretsmanagerSecretVersion:
        scope = Construct(self, secret.value)
        password = EphemeralAwsSecretsmanagerRandomPassword(
            scope,
            "random_password",
            password_length=_ADMIN_LENGTH if secret is GeneratedSecret.ADMIN_PASSWORD else _LENGTH,
            exclude_punctuation=True,
        ).random_password
        of_database = secret in _LOGINS
        return SecretsmanagerSecretVersion(
            scope,
            "version",
            secret_id=self._stored(scope, secret).id,
            secret_string_wo=self._value(secret, password),
            secret_string_wo_version=self._database_passwords if of_database else VALUE_VERSION,
        )

    def _stored(self, scope: Construct, secret: GeneratedSecret) -> SecretsmanagerSecret:
        name = f"{self._name}/{secret.value.replace('_', '-')}"
        if secret is not GeneratedSecret.FERNET_KEY:
            # A deleted secret keeps its name until its window ends; the next apply of the name would fail.
            return SecretsmanagerSecret(scope, "secret", name=name, kms_key_id=self._key_arn, recovery_window_in_days=0)
        # Without this key nobody can read the connections in a last snapshot. Its name is another one in each creation,
        # and always so: a name that came and went with the snapshot would replace the key of a living environment.
        window = _KEY_OF_SNAPSHOT_DAYS if self._retain_fernet_key else 0
        return SecretsmanagerSecret(
            scope, "secret", name_prefix=f"{name}-", kms_key_id=self._key_arn, recovery_window_in_days=window
        )

    def _value(self, secret: GeneratedSecret, password: str) -> str:
        if secret in _LOGINS:
            turn = _TURNS[self._database_passwords % 2]
            return Fn.jsonencode({"username": f"{_LOGINS[secret]}_{turn}", "password": password})
        return _fernet_key(password) if secret is GeneratedSecret.FERNET_KEY else password


def _fernet_key(password: str) -> str:
    """Return an expression for a Fernet key: 32 bytes, the password's SHA-256, in the URL-safe alphabet of base64."""
    return Fn.replace(Fn.replace(Fn.base64sha256(password), "+", "-"), "/", "_")
