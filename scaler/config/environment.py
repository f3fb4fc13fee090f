# SPDX-License-Identifier: Apache-2.0
"""Reads the environment variables: the settings (SCALER_CONFIG, or the file SCALER_CONFIG_FILE) and the secrets."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scaler.config.broker_urls import split_password
from scaler.config.settings import BrokerSettings, RedisSettings, ScalerConfig, describe, parse_settings
from scaler.errors import ConfigurationError

SHORTEST_KEY = 32


class ScalerSecrets(BaseModel):
    """The secrets, which are never logged."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    database_user: str | None = None
    """The user of the database secret, which replaces the settings' user."""
    database_password: str | None = Field(default=None, repr=False)
    redis: RedisSettings | None = None
    """The broker with its URL."""
    redis_password: str | None = Field(default=None, repr=False)
    signing_seed: str = Field(min_length=1, repr=False)
    overrides_key: str | None = Field(default=None, repr=False)
    """Signs writes of overrides over HTTP; None: there are none."""


def read_settings(environment: Mapping[str, str]) -> tuple[ScalerConfig, ScalerSecrets]:
    """Read the settings from environment variables, and from the file that SCALER_CONFIG_FILE names.

    Raises:
        ConfigurationError: names every problem at once, and never shows a secret's value.
    """
    problems: list[str] = []
    settings: ScalerConfig | None = None
    try:
        settings = _settings(environment)
    except ConfigurationError as error:
        problems += error.problems
    user, password = _login(environment.get("SCALER_DATABASE_PASSWORD", ""))
    redis, redis_password = None, environment.get("SCALER_REDIS_PASSWORD") or None
    if settings is not None and settings.database is not None and not password:
        problems.append("SCALER_DATABASE_PASSWORD is not set, but the settings have a database")
    overrides_key = environment.get("SCALER_OVERRIDES_KEY") or None
    if overrides_key is not None and len(overrides_key) < SHORTEST_KEY:
        problems.append(f"SCALER_OVERRIDES_KEY has fewer than {SHORTEST_KEY} characters")
    seed = ""
    try:
        seed = signing_seed(environment)
    except ConfigurationError as error:
        problems += error.problems
    if settings is not None:
        try:
            redis, in_url = _redis(settings.broker, environment.get("SCALER_BROKER_URL", ""))
            if in_url and redis_password:
                problems.append("SCALER_REDIS_PASSWORD is set, and SCALER_BROKER_URL contains a password")
            redis_password = in_url or redis_password
        except ConfigurationError as error:
            problems += error.problems
    if settings is None or problems:
        raise ConfigurationError(problems)
    return settings, ScalerSecrets(
        database_user=user,
        database_password=password,
        redis=redis,
        redis_password=redis_password,
        signing_seed=seed,
        overrides_key=overrides_key,
    )


def signing_seed(environment: Mapping[str, str]) -> str:
    """Return the seed of the key that signs the commands to the workers; raise ConfigurationError without one."""
    if seed := environment.get("SCALER_SIGNING_SEED"):
        return seed
    raise ConfigurationError(["SCALER_SIGNING_SEED is not set; workers accept signed commands only"])


def _redis(broker: BrokerSettings, url: str) -> tuple[RedisSettings | None, str | None]:
    """Return Redis with its URL, from the settings or from SCALER_BROKER_URL, and the password of that URL."""
    if not isinstance(broker, RedisSettings):
        if url and not url.startswith("sqs:"):
            raise ConfigurationError(["SCALER_BROKER_URL is set, but broker.kind is not redis"])
        return None, None
    if bool(url) == bool(broker.url):
        raise ConfigurationError(["set either SCALER_BROKER_URL or broker.url, to the URL of Redis"])
    if not url:
        return broker, None
    try:
        url, password = split_password(url)
        return RedisSettings.model_validate(broker.model_dump() | {"url": url}), password
    except ValidationError as error:
        raise ConfigurationError(list(describe(error.errors(include_url=False), "SCALER_BROKER_URL"))) from None
    except ValueError as error:
        raise ConfigurationError([f"SCALER_BROKER_URL {error}"]) from None


def _login(secret: str) -> tuple[str | None, str | None]:
    """Return user and password of Secrets Manager's database secret; a plain password has no user."""
    try:
        found = json.loads(secret)
        return str(found["username"]), str(found["password"])
    except (ValueError, KeyError, TypeError):
        return None, secret or None


def _settings(environment: Mapping[str, str]) -> ScalerConfig:
    path, text = environment.get("SCALER_CONFIG_FILE", ""), environment.get("SCALER_CONFIG", "")
    if path and text:
        raise ConfigurationError(["SCALER_CONFIG and SCALER_CONFIG_FILE are both set; one of them would be ignored"])
    if path:
        try:
            return parse_settings(Path(path).read_bytes(), path)
        except OSError as error:
            raise ConfigurationError([f"SCALER_CONFIG_FILE cannot be read: {error}"]) from error
    if not text:
        raise ConfigurationError(["SCALER_CONFIG is not set; it must contain the scaler's settings as JSON"])
    return parse_settings(text)
