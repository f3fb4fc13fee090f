# SPDX-License-Identifier: Apache-2.0
"""Connections and variables from Secrets Manager, then from the Parameter Store of SSM, with MWAA's prefixes.

The default where DAG code runs. Airflow looks here first, then in variables of the process, then in its database. The
provider has a backend for each store and Airflow takes one backend, so this one reads both. The provider's clients wait
up to minutes for a store that the network does not reach; these wait seconds, and not again for a minute.
"""

import functools
import logging
import os
import time
from collections.abc import Callable
from typing import Any, Final

from airflow.providers.amazon.aws.secrets.secrets_manager import SecretsManagerBackend
from airflow.providers.amazon.aws.secrets.systems_manager import SystemsManagerParameterStoreBackend
from airflow.secrets import BaseSecretsBackend

logger = logging.getLogger(__name__)

CONNECTIONS_PREFIX: Final = "airflow/connections"
VARIABLES_PREFIX: Final = "airflow/variables"
UNREACHABLE_S: Final = 60.0


@functools.cache
def _session() -> Any:
    import boto3  # noqa: PLC0415 - most tasks read no connection

    return boto3.session.Session()


def _new_client(service: str) -> Any:
    from botocore.config import Config  # noqa: PLC0415 - as above

    config = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 3, "mode": "standard"})
    return _session().client(service, config=config)


def install_in_worker() -> None:
    """Load boto3's models of both services before the pool forks: then a client takes 5 ms of a task, not 90 ms."""
    from celery.signals import worker_init  # noqa: PLC0415 - only workers need Celery here

    worker_init.connect(_load_models, weak=False, dispatch_uid="openmwaa-secrets")


def _load_models(**_: Any) -> None:
    options = ("AIRFLOW__WORKERS__SECRETS_BACKEND", "AIRFLOW__SECRETS__BACKEND")  # Airflow 3, Airflow 2
    if any(os.environ.get(option, "").startswith(__name__) for option in options):
        for store in (_SecretsManager, _ParameterStore):
            _new_client(store.service)


class _ClientOfProcess:
    """A client with limits. A fork makes its own: answers on a shared connection would mix."""

    service = ""
    _own: tuple[int, Any] = (0, None)

    @property
    def client(self) -> Any:
        if self._own[0] != os.getpid():
            self._own = (os.getpid(), _new_client(self.service))
        return self._own[1]


class _SecretsManager(_ClientOfProcess, SecretsManagerBackend):  # type: ignore[misc] # mypy runs without Airflow
    service = "secretsmanager"
    permission = "secretsmanager:GetSecretValue"


class _ParameterStore(_ClientOfProcess, SystemsManagerParameterStoreBackend):  # type: ignore[misc] # as above
    service = "ssm"
    permission = "ssm:GetParameter"


class SecretsManagerAndParameterStore(BaseSecretsBackend):  # type: ignore[misc] # as above
    """Reads Secrets Manager, then the Parameter Store, whose names begin with a slash."""

    def __init__(
        self,
        connections_prefix: str | None = CONNECTIONS_PREFIX,
        variables_prefix: str | None = VARIABLES_PREFIX,
        *,
        clock: Callable[[], float] = time.monotonic,
        **patterns: str | None,
    ) -> None:
        super().__init__()
        prefixes = {"connections_prefix": connections_prefix, "variables_prefix": variables_prefix}
        rooted = {name: prefix and f"/{prefix.strip('/')}" for name, prefix in prefixes.items()}
        self._stores = (
            _SecretsManager(**prefixes, **patterns, config_prefix=None),
            _ParameterStore(**rooted, **patterns, config_prefix=None),
        )
        self._clock = clock
        self._failed: dict[str, tuple[float, Exception]] = {}

    def get_conn_value(self, conn_id: str, **team: Any) -> str | None:
        """Return a connection as JSON or URI; None if neither store has it."""
        return self._first("get_conn_value", conn_id, **team)

    def get_variable(self, key: str, **team: Any) -> str | None:
        """Return the value of a variable; None if neither store has it."""
        return self._first("get_variable", key, **team)

    def _first(self, method: str, name: str, **team: Any) -> str | None:
        failed: Exception | None = None
        for store in self._stores:
            try:
                value: str | None = self._read(store, method, name, **team)
            except Exception as error:  # noqa: BLE001 - the other store may have it
                failed = failed or error
            else:
                if value is not None:
                    return value
        if failed:
            raise failed  # unknown; Airflow logs it and looks in the next backend
        return None

    def _read(self, store: Any, method: str, name: str, **team: Any) -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

        until, error = self._failed.get(store.service, (0.0, None))
        if error and self._clock() < until:
            raise error
        try:
            return getattr(store, method)(name, **team)  # type: ignore[no-any-return] # as above
        except (BotoCoreError, ClientError) as caught:
            if isinstance(caught, BotoCoreError):
                self._failed[store.service] = (self._clock() + UNREACHABLE_S, caught)
            logger.warning(
                "%s cannot be read for %s: %s. Airflow goes on without it. Allow %s in the task role, or set "
                "`workers.secrets_backend` of airflow_configuration_options to an empty value.",
                *(store.service, name, caught, store.permission),
            )
            raise
