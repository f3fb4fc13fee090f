# SPDX-License-Identifier: Apache-2.0
"""What the task definition told this container: the OPENMWAA_* variables, checked once and typed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from openmwaa_runtime.credentials import Credentials
from openmwaa_runtime.errors import MissingVariable, UsageProblem

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
        "OPENMWAA_JWT_SECRET",
        "OPENMWAA_API_SECRET_KEY",
        "OPENMWAA_ADMIN_PASSWORD",
    ),
    "worker": (*_DATABASE, *_CELERY, "OPENMWAA_WORKER_QUEUES", "OPENMWAA_WORKER_SLOTS", "OPENMWAA_DAG_FOLDER"),
    "sync-dags": ("OPENMWAA_DAG_BUCKET", "OPENMWAA_DAG_FOLDER"),
}
"""What each word cannot do without. A worker has neither metadata database nor keys: DAG code runs beside it."""

COMPONENTS = tuple(REQUIRED)
AIRFLOW_COMPONENTS = frozenset(COMPONENTS) - {"sync-dags", "prepare-broker"}


@dataclass(frozen=True)
class Facts:
    """The container's variables for one component; construct through `Facts.read`."""

    component: str
    environ: Mapping[str, str]
    address: str
    queues: Mapping[str, str]
    total_slots: int
    home: str

    @classmethod
    def read(cls, component: str, environ: Mapping[str, str], address: str) -> "Facts":
        """Check what the component needs.

        Raises:
            UsageProblem: a variable is missing, or is not what it should be; the message names it, never its value.
        """
        missing = tuple(name for name in REQUIRED[component] if not environ.get(name))
        if missing:
            raise MissingVariable(component, missing)
        _count(environ, "OPENMWAA_DATABASE_PORT")
        home = environ.get("AIRFLOW_HOME") or f"{environ.get('HOME') or '/tmp'}/airflow"  # noqa: S108 - no HOME at all
        return cls(component, environ, address, _queues(environ), _count(environ, "OPENMWAA_TOTAL_SLOTS"), home)

    def get(self, name: str) -> str | None:
        """The variable, or None when it is not set or empty."""
        return self.environ.get(name) or None

    @property
    def dag_folder(self) -> str:
        """Where the newest whole version of the DAGs lies: a symbolic link that the syncer swaps."""
        return f"{self.environ.get('OPENMWAA_DAG_FOLDER') or '/opt/openmwaa/dags'}/current"

    @property
    def log_folder(self) -> str:
        """Airflow's base log folder, which users may move."""
        return self.environ.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER") or f"{self.home}/logs"

    @property
    def on_redis(self) -> bool:
        """Whether the broker is Redis, which has an address; SQS has none of its own."""
        return self.get("OPENMWAA_BROKER_URL") is not None

    def broker_url(self, *, user: str | None = None, given_in: str = BROKER_PASSWORD) -> str:
        """Celery's broker for the user in the address or for `user`, with the password that a variable gives.

        Raises:
            MissingVariable: the address has a user, and there is no password.
        """
        url = self.get("OPENMWAA_BROKER_URL")
        if url is None:
            return "sqs://"
        parts = urlsplit(url)
        if parts.username is None:
            return url
        password = self.get(given_in)
        if password is None:
            raise MissingVariable(self.component, (given_in,))
        place = parts.netloc.rpartition("@")[2]
        login = f"{user or parts.username}:{quote(password, safe='')}"
        # kombu would leave out both checks without a word.
        checks = "ssl_cert_reqs=required&ssl_check_hostname=true" if parts.scheme == "rediss" else parts.query
        return urlunsplit((parts.scheme, f"{login}@{place}", parts.path, checks, ""))

    def database_url(self, driver: str, owner: str, database: str, password_variable: str) -> str | None:
        """A SQLAlchemy URL for the owner's login; None without the host or the password."""
        host, secret = self.get("OPENMWAA_DATABASE_HOST"), self.get(password_variable)
        if host is None or secret is None:
            return None
        login = Credentials.read(secret, owner)
        port = self.environ.get("OPENMWAA_DATABASE_PORT") or "5432"
        # asyncpg knows libpq's words under the name `ssl`.
        option = "ssl" if driver == "asyncpg" else "sslmode"
        mode = self.environ.get("OPENMWAA_DATABASE_SSLMODE") or "require"
        who = f"{quote(login.role, safe='')}:{quote(login.password, safe='')}"
        return f"postgresql+{driver}://{who}@{host}:{port}/{database}?{option}={mode}"


def _queues(environ: Mapping[str, str]) -> Mapping[str, str]:
    text = environ.get("OPENMWAA_QUEUES")
    if not text:
        return {}
    try:
        queues = json.loads(text)
    except ValueError as error:
        raise UsageProblem(f"OPENMWAA_QUEUES is not JSON: {error}") from error
    if not isinstance(queues, dict) or not all(isinstance(url, str) and url for url in queues.values()) or not queues:
        raise UsageProblem(
            'OPENMWAA_QUEUES must be a JSON object of queue names and their URLs: {"default": "https://…"}'
        )
    return queues


def _count(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name) or "0"
    if not text.isdecimal():
        raise UsageProblem(f"{name} must be a whole number, not {text!r}")
    return int(text)
