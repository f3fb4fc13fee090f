# SPDX-License-Identifier: Apache-2.0
"""The credentials of a container: removed from a worker's environment before it forks, and masked in every log.

DAG code runs beside a worker's main process. A task that prints its environment has none of them; one that finds
them elsewhere (in the memory of a fork, or in the files of other processes) prints `***`.
"""

from collections.abc import Mapping, MutableMapping
from typing import Final
from urllib.parse import unquote, urlsplit

from openmwaa_runtime.credentials import Credentials

_SECRETS: Final = (
    "AIRFLOW__CORE__FERNET_KEY",
    "OPENMWAA_ADMIN_PASSWORD",
    "OPENMWAA_AIRFLOW_DATABASE_PASSWORD",
    "OPENMWAA_API_SECRET_KEY",
    "OPENMWAA_BROKER_PASSWORD",
    "OPENMWAA_CELERY_DATABASE_PASSWORD",
    "OPENMWAA_FERNET_KEY",
    "OPENMWAA_JWT_SECRET",
    "OPENMWAA_SCALER_OVERRIDES_KEY",
    "OPENMWAA_WORKER_DATABASE_PASSWORD",
)
_URLS: Final = (
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
)
_removed: set[str] = set()


def secret_values(environ: Mapping[str, str]) -> set[str]:
    """Return the passwords and keys in `environ`, and those that `remove` found in this process or its parent."""
    passwords = {Credentials.read(environ[name], "").password for name in _SECRETS if environ.get(name)}
    return _removed | passwords | {_password(environ.get(name, "")) for name in _URLS} - {""}


def remove(environ: MutableMapping[str, str]) -> None:
    """Remove the credentials after Celery's configuration was read from them."""
    _removed.update(secret_values(environ))
    for name in (*_SECRETS, *_URLS):
        if name in _SECRETS or _password(environ.get(name, "")):
            environ.pop(name, None)


def _password(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""
