# SPDX-License-Identifier: Apache-2.0
"""The OPENMWAA_* variables that the task definition sets, validated and typed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from openmwaa_runtime.auth.settings import uses_iam_login
from openmwaa_runtime.credentials import Credentials
from openmwaa_runtime.database import Login
from openmwaa_runtime.errors import MissingVariableError, UsageError
from openmwaa_runtime.release import AirflowRelease, installed_release

_DATABASE = ("OPENMWAA_DATABASE_HOST",)
_METADATA = (*_DATABASE, "OPENMWAA_AIRFLOW_DATABASE_PASSWORD")
_CELERY = ("OPENMWAA_CELERY_DATABASE_PASSWORD", "OPENMWAA_QUEUES", "OPENMWAA_EXECUTION_API_URL")

BROKER_PASSWORD = "OPENMWAA_BROKER_PASSWORD"  # noqa: S105 - the variable's name

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "prepare-database": (
        *_METADATA,
        "OPENMWAA_DATABASE_MASTER",
        "OPENMWAA_CELERY_DATABASE_PASSWORD",
        "OPENMWAA_SCALER_DATABASE_PASSWORD",
        "OPENMWAA_SCALER_SIGNING_SEED",
    ),
    "prepare-broker": (
        "OPENMWAA_BROKER_URL",
        "OPENMWAA_BROKER_USER_IDS",
        BROKER_PASSWORD,
        "OPENMWAA_SCALER_BROKER_PASSWORD",
    ),
    "scheduler": (*_METADATA, *_CELERY, "OPENMWAA_TOTAL_SLOTS", "OPENMWAA_FERNET_KEY", "OPENMWAA_JWT_SECRET"),
    "dag-processor": (*_METADATA, "OPENMWAA_FERNET_KEY", "OPENMWAA_DAG_FOLDER"),
    "triggerer": (*_METADATA, "OPENMWAA_FERNET_KEY", "OPENMWAA_DAG_FOLDER"),
    "execution-api": (*_METADATA, "OPENMWAA_FERNET_KEY", "OPENMWAA_JWT_SECRET"),
    "web-server": (
        *_METADATA,
        "OPENMWAA_FERNET_KEY",
        "OPENMWAA_API_SECRET_KEY",
        "OPENMWAA_ADMIN_PASSWORD",
    ),
    "worker": (*_DATABASE, *_CELERY, "OPENMWAA_WORKER_QUEUES", "OPENMWAA_WORKER_SLOTS", "OPENMWAA_DAG_FOLDER"),
    "prepare-artefacts": (*_DATABASE, "OPENMWAA_DATABASE_MASTER", "OPENMWAA_DAG_BUCKET", "OPENMWAA_ARCHITECTURES"),
    "sync-dags": ("OPENMWAA_DAG_BUCKET", "OPENMWAA_DAG_FOLDER"),
}
"""The variables that each command needs with Airflow 3; `AirflowRelease` has the differences.

A worker has no metadata database and no keys: DAG code runs beside it.
"""

COMPONENTS = tuple(REQUIRED)
AIRFLOW_COMPONENTS = frozenset(COMPONENTS) - {"sync-dags", "prepare-broker", "prepare-artefacts"}


@dataclass(frozen=True)
class ContainerEnv:
    """The container's variables for one component. Create it with `ContainerEnv.read`."""

    component: str
    environ: Mapping[str, str]
    address: str
    queues: Mapping[str, str]
    total_slots: int
    home: str

    @classmethod
    def read(
        cls, component: str, environ: Mapping[str, str], address: str, release: AirflowRelease | None = None
    ) -> "ContainerEnv":
        """Validate the variables of the component.

        Raises:
            UsageError: a variable is missing or invalid. The message has its name.
        """
        required = (release or installed_release()).required(component, REQUIRED[component])
        unused = {"OPENMWAA_ADMIN_PASSWORD"} if uses_iam_login(environ) else set()
        missing = tuple(name for name in required if name not in unused and not environ.get(name))
        if missing:
            raise MissingVariableError(component, missing)
        _count(environ, "OPENMWAA_DATABASE_PORT")
        home = environ.get("AIRFLOW_HOME") or f"{environ.get('HOME') or '/tmp'}/airflow"  # noqa: S108 - HOME is not set
        return cls(component, environ, address, _queues(environ), _count(environ, "OPENMWAA_TOTAL_SLOTS"), home)

    def get(self, name: str) -> str | None:
        """The variable; None if it is not set or empty."""
        return self.environ.get(name) or None

    @property
    def dag_folder(self) -> str:
        """The newest complete version of the DAGs: a symbolic link that the syncer replaces."""
        return f"{self.environ.get('OPENMWAA_DAG_FOLDER') or '/opt/openmwaa/dags'}/current"

    @property
    def log_folder(self) -> str:
        """Airflow's base log folder, which users can change."""
        return self.environ.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER") or f"{self.home}/logs"

    @property
    def on_redis(self) -> bool:
        """Whether the broker is Redis: OPENMWAA_BROKER_URL is set for Redis only."""
        return self.get("OPENMWAA_BROKER_URL") is not None

    def broker_url(self, *, user: str | None = None, password_variable: str = BROKER_PASSWORD) -> str:
        """The URL of Celery's broker, for the user in OPENMWAA_BROKER_URL or for `user`.

        Raises:
            MissingVariableError: the URL has a user, and there is no password.
        """
        url = self.get("OPENMWAA_BROKER_URL")
        if url is None:
            return "sqs://"
        parts = urlsplit(url)
        if parts.username is None:
            return url
        password = self.get(password_variable)
        if password is None:
            raise MissingVariableError(self.component, (password_variable,))
        address = parts.netloc.rpartition("@")[2]
        login = f"{user or parts.username}:{quote(password, safe='')}"
        # kombu makes neither check by default.
        checks = "ssl_cert_reqs=required&ssl_check_hostname=true" if parts.scheme == "rediss" else parts.query
        return urlunsplit((parts.scheme, f"{login}@{address}", parts.path, checks, ""))

    def database_url(self, driver: str, owner: str, database: str, password_variable: str) -> str | None:
        """The SQLAlchemy URL for the owner's login; None without the host or the password."""
        secret = self.get(password_variable)
        if secret is None or self.get("OPENMWAA_DATABASE_HOST") is None:
            return None
        login = Login.read(self.environ, database=database, credentials=Credentials.read(secret, owner))
        return login.url(driver)


def _queues(environ: Mapping[str, str]) -> Mapping[str, str]:
    text = environ.get("OPENMWAA_QUEUES")
    if not text:
        return {}
    try:
        queues = json.loads(text)
    except ValueError as error:
        raise UsageError(f"OPENMWAA_QUEUES is not JSON: {error}") from error
    if not isinstance(queues, dict) or not all(isinstance(url, str) and url for url in queues.values()) or not queues:
        raise UsageError(
            'OPENMWAA_QUEUES must be a JSON object of queue names and their URLs: {"default": "https://…"}'
        )
    return queues


def _count(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name) or "0"
    if not text.isdecimal():
        raise UsageError(f"{name} must be a whole number, not {text!r}")
    return int(text)
