# SPDX-License-Identifier: Apache-2.0
"""Secrets that the environment generates; no value is in Terraform's plan or state.

Each value is an ephemeral resource passed to a write-only argument. A value changes when its version increases; only
database passwords support that. `openmwaa rotate` writes new values of the Fernet key and of the API secret key. A new
JWT secret would fail every running task.

A database secret is {"username", "password"}. Its role alternates between the logins `ROLE_a` and `ROLE_b`, so that a
running container can use the old password: see `openmwaa_runtime.credentials`.
"""

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Final

from cdktn import Fn, ITerraformDependable
from cdktn_provider_aws.ephemeral_aws_secretsmanager_random_password import EphemeralAwsSecretsmanagerRandomPassword
from cdktn_provider_aws.secretsmanager_secret import SecretsmanagerSecret
from cdktn_provider_aws.secretsmanager_secret_version import SecretsmanagerSecretVersion
from constructs import Construct

from cdktf_app.base.stack_context import StackContext
from openmwaa.config.broker import ElastiCache
from openmwaa.config.environment import Environment

VALUE_VERSION: Final = 1
# 64 letters and digits have 380 bits and need no escaping in a URL, a shell or a connection string.
_LENGTH: Final = 64
_FERNET_KEY_RECOVERY_DAYS: Final = 30  # the maximum of Secrets Manager
_ADMIN_LENGTH: Final = 24  # typed by hand; 142 bits


class GeneratedSecret(StrEnum):
    """A secret that the environment generates."""

    AIRFLOW_DATABASE_PASSWORD = auto()
    CELERY_DATABASE_PASSWORD = auto()
    SCALER_DATABASE_PASSWORD = auto()
    WORKER_DATABASE_PASSWORD = auto()
    FERNET_KEY = auto()
    API_SECRET_KEY = auto()
    JWT_SECRET = auto()
    ADMIN_PASSWORD = auto()
    SCALER_SIGNING_SEED = auto()
    SCALER_OVERRIDES_KEY = auto()
    BROKER_PASSWORD = auto()
    SCALER_BROKER_PASSWORD = auto()


_LOGINS: Final[Mapping[GeneratedSecret, str]] = {
    GeneratedSecret.AIRFLOW_DATABASE_PASSWORD: "airflow",
    GeneratedSecret.CELERY_DATABASE_PASSWORD: "celery_results",
    GeneratedSecret.SCALER_DATABASE_PASSWORD: "scaler",
    GeneratedSecret.WORKER_DATABASE_PASSWORD: "airflow_worker",
}
_LOGIN_SUFFIXES: Final = ("b", "a")  # by the parity of the version: 1 is a

REDIS_SECRETS: Final = frozenset({GeneratedSecret.BROKER_PASSWORD, GeneratedSecret.SCALER_BROKER_PASSWORD})


class EnvironmentSecrets(Construct):
    """The generated secrets of an environment in Secrets Manager, which uses all of them."""

    def __init__(self, scope: Construct, construct_id: str, context: StackContext) -> None:
        super().__init__(scope, construct_id)
        self._context = context
        self._database_passwords = context.environment.rotation.database_passwords
        unused = _unused(context.environment)
        self._versions = {secret: self._create(secret) for secret in GeneratedSecret if secret not in unused}
        # Each access of `arn` makes another token for the same ARN.
        self._arns = {secret: version.arn for secret, version in self._versions.items()}

    @property
    def values(self) -> list[ITerraformDependable]:
        """The secret versions, which must exist before a container starts."""
        return list(self._versions.values())

    def __contains__(self, secret: GeneratedSecret) -> bool:
        """Return whether the environment has `secret`."""
        return secret in self._arns

    def arn(self, secret: GeneratedSecret) -> str:
        """Return the ARN of `secret`."""
        return self._arns[secret]

    def _create(self, secret: GeneratedSecret) -> SecretsmanagerSecretVersion:
        scope = Construct(self, secret.value)
        password = EphemeralAwsSecretsmanagerRandomPassword(
            scope,
            "random_password",
            password_length=_ADMIN_LENGTH if secret is GeneratedSecret.ADMIN_PASSWORD else _LENGTH,
            exclude_punctuation=True,
        ).random_password
        is_database_secret = secret in _LOGINS
        return SecretsmanagerSecretVersion(
            scope,
            "version",
            secret_id=self._stored(scope, secret).id,
            secret_string_wo=self._value(secret, password),
            secret_string_wo_version=self._database_passwords if is_database_secret else VALUE_VERSION,
        )

    def _stored(self, scope: Construct, secret: GeneratedSecret) -> SecretsmanagerSecret:
        name = f"{self._context.name}/{secret.value.replace('_', '-')}"
        if secret is not GeneratedSecret.FERNET_KEY:
            # No recovery window: until it ends, a new secret of the same name cannot be created.
            return SecretsmanagerSecret(
                scope, "secret", name=name, kms_key_id=self._context.key_arn, recovery_window_in_days=0
            )
        # The Fernet key decrypts the connections in a final snapshot, so it has a recovery window. Its name always has
        # a random suffix: a name that depended on `final_snapshot` would replace the key of a running environment.
        window = _FERNET_KEY_RECOVERY_DAYS if self._context.environment.leaves_snapshot else 0
        return SecretsmanagerSecret(
            scope, "secret", name_prefix=f"{name}-", kms_key_id=self._context.key_arn, recovery_window_in_days=window
        )

    def _value(self, secret: GeneratedSecret, password: str) -> str:
        if secret in _LOGINS:
            suffix = _LOGIN_SUFFIXES[self._database_passwords % 2]
            return Fn.jsonencode({"username": f"{_LOGINS[secret]}_{suffix}", "password": password})
        return _fernet_key(password) if secret is GeneratedSecret.FERNET_KEY else password


def _unused(environment: Environment) -> set[GeneratedSecret]:
    """Return the secrets of another broker, of another way to Airflow's database, and of another login."""
    redis = isinstance(environment.broker, ElastiCache)
    has_tokens = environment.airflow.has_execution_api
    return {
        *(() if redis else REDIS_SECRETS),
        GeneratedSecret.WORKER_DATABASE_PASSWORD if has_tokens else GeneratedSecret.JWT_SECRET,
        GeneratedSecret.ADMIN_PASSWORD if environment.web_access.uses_iam else GeneratedSecret.SCALER_OVERRIDES_KEY,
    }


def _fernet_key(password: str) -> str:
    """Return an expression for a Fernet key: the password's SHA-256 (32 bytes) in URL-safe base64."""
    return Fn.replace(Fn.replace(Fn.base64sha256(password), "+", "-"), "/", "_")
