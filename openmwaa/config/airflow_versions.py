# SPDX-License-Identifier: Apache-2.0
"""The supported versions of Airflow, one row each.

A further version is a row, its lock file (`make lock`) and a run of the tests. `make docs` writes
docs/reference/airflow-versions.md from the rows.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from openmwaa.config.control_plane import COMPONENTS

IMAGE_PYTHON: Final = "3.12"
"""The Python of the images."""


def basic_authorization(login: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a request with `username` and `password`."""
    words = f"{login['username']}:{login['password']}"
    return {"Authorization": f"Basic {b64encode(words.encode()).decode()}"}


@dataclass(frozen=True)
class AirflowMajor:
    """What a major version of Airflow has: for the stack, and for clients of its REST API."""

    number: int
    components: tuple[str, ...]
    """The components of the control plane."""
    health_path: str
    """The path of the web server that load balancers check."""
    api: str
    """The path of the REST API."""
    token_path: str | None
    """The path of the API's login; None: each request has user and password."""
    dag_module: str
    """The module of `dag` and `task` for DAG files."""
    own_secret: str
    """The name of a secret in the state that only this version has."""

    @property
    def has_execution_api(self) -> bool:
        """Whether workers use an API; without it they use the metadata database themselves."""
        return "execution-api" in self.components

    def authorization(self, login: Mapping[str, str], post: Callable[[str, Mapping[str, str]], Any]) -> dict[str, str]:
        """Return the headers that authorise a request; `post` sends a login and returns the answer."""
        if self.token_path is None:
            return basic_authorization(login)
        return {"Authorization": f"Bearer {post(self.token_path, login)['access_token']}"}


@dataclass(frozen=True)
class AirflowVersion:
    """One version of Airflow."""

    version: str
    major: AirflowMajor
    pythons: tuple[str, ...]
    """The versions of Python that it runs with, for `openmwaa local`; `IMAGE_PYTHON` is one of them."""
    packages_until: date
    """The lock file has packages that were published before this day: those of Airflow's own constraints."""
    end_of_life: date | None
    """The day after which Airflow's project publishes no corrections; None: not announced."""
    differs: tuple[str, ...] = ()
    """What differs from the default version, for users."""

    @property
    def lock(self) -> str:
        """The name of its lock file in images/airflow/requirements, and of its virtual environment."""
        return f"airflow-{self.version}"


AIRFLOW_3: Final = AirflowMajor(
    3, COMPONENTS, "/api/v2/monitor/health", "/api/v2", "/auth/token", "airflow.sdk", "secrets_jwt_secret"
)
AIRFLOW_2: Final = AirflowMajor(
    2,
    tuple(component for component in COMPONENTS if component != "execution-api"),
    "/health",
    "/api/v1",
    None,
    "airflow.decorators",
    "secrets_worker_database_password",
)
_ROWS: Final = (
    AirflowVersion("3.3.2", AIRFLOW_3, ("3.11", "3.12", "3.13"), date(2026, 9, 25), end_of_life=None),
    AirflowVersion(
        "2.11.2",
        AIRFLOW_2,
        ("3.11", "3.12"),
        date(2026, 9, 25),
        end_of_life=date(2026, 4, 22),
        differs=(
            (
                "Its project publishes no corrections any more, also none of security: use it only until your DAGs run "
                "with Airflow 3."
            ),
            (
                "Workers read and write the metadata database themselves, with a role of their own, and have the "
                "Fernet key. [The security page](../explanation/security.md#with-airflow-2) has what follows from it."
            ),
            "There is no execution API: its service, target group and listener do not exist.",
            "The REST API is `/api/v1`. With `login: PASSWORD` a request has the user and the password.",
            "Roles and permissions are those of Flask AppBuilder itself, and `dag_access` is refused.",
            "Task logs are lines of text instead of JSON.",
            (
                "What a child process of a Python task writes to standard output itself is in the worker's log. The "
                "task's log has what the task prints or logs, and the output of operators such as `BashOperator`."
            ),
        ),
    ),
)
AIRFLOW_VERSIONS: Final[Mapping[str, AirflowVersion]] = {row.version: row for row in _ROWS}
DEFAULT_VERSION: Final = _ROWS[0].version


def applied_major(resources: Iterable[str]) -> int | None:
    """Return the major version of a state, by the names of its resources; None: it has none yet."""
    names = {*resources}
    return next((major.number for major in (AIRFLOW_3, AIRFLOW_2) if major.own_secret in names), None)
