# SPDX-License-Identifier: Apache-2.0
"""What differs between the major versions of Airflow. The installed one is chosen here, and nowhere else.

Code that changes functions of Airflow is in `hooks` of a release.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from typing import Any

from openmwaa_runtime.database import installed_airflow


@dataclass(frozen=True)
class AirflowRelease:
    """A major version of Airflow."""

    major: int
    commands: Mapping[str, tuple[str, ...]]
    """By component: the module that Python runs, and its arguments; a worker has more of them."""
    web_health: str
    """A path of the web server that needs no login."""
    api: str
    """The path of the REST API."""
    health: str
    """The path of the health of all components, which needs no login."""
    hooks_name: str
    """The module with the changes to Airflow in a worker."""
    unused: frozenset[str] = frozenset()
    """Variables of the container that this release does not need."""
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variables that only this release needs, by component."""

    @property
    def hooks(self) -> Any:
        """The module with the changes to Airflow in a worker; it imports Airflow."""
        return import_module(self.hooks_name)

    def required(self, component: str, variables: tuple[str, ...]) -> tuple[str, ...]:
        """Return the variables that a component needs in this release."""
        return (*(name for name in variables if name not in self.unused), *self.more.get(component, ()))


# Logs are in CloudWatch, so no log server is needed.
_COMMON = {
    "scheduler": ("airflow", "scheduler", "--skip-serve-logs"),
    "dag-processor": ("airflow", "dag-processor"),
    "triggerer": ("airflow", "triggerer", "--skip-serve-logs"),
    # No --celery-hostname: its check sends requests to other workers over queues that predefined queues forbid.
    # Mingle and gossip use such queues too.
    "worker": ("airflow", "celery", "worker", "--skip-serve-logs", "--without-mingle", "--without-gossip"),
}
AIRFLOW_3 = AirflowRelease(
    major=3,
    commands={
        **_COMMON,
        "execution-api": ("airflow", "api-server", "--apps", "execution"),
        # Load balancers end TLS and pass the client's scheme and address in headers. FORWARDED_ALLOW_IPS lists the
        # load balancers whose headers are trusted.
        "web-server": ("airflow", "api-server", "--apps", "core", "--proxy-headers"),
    },
    web_health="/api/v2/version",
    api="/api/v2",
    health="/api/v2/monitor/health",
    hooks_name="openmwaa_runtime.airflow_3.worker",
)
AIRFLOW_2 = AirflowRelease(
    major=2,
    commands={
        **_COMMON,
        "dag-processor": ("openmwaa_runtime.airflow_2.dag_processor", "dag-processor"),
        "web-server": ("airflow", "webserver"),
    },
    web_health="/api/v1/version",
    api="/api/v1",
    health="/api/v1/health",
    hooks_name="openmwaa_runtime.airflow_2.worker",
    unused=frozenset({"OPENMWAA_EXECUTION_API_URL", "OPENMWAA_JWT_SECRET"}),
    more={
        "prepare-database": ("OPENMWAA_WORKER_DATABASE_PASSWORD",),
        "worker": ("OPENMWAA_WORKER_DATABASE_PASSWORD", "OPENMWAA_FERNET_KEY"),
    },
)


@functools.cache
def installed_release() -> AirflowRelease:
    """Return the release of this image; without Airflow, as in tests, the newest."""
    try:
        return AIRFLOW_2 if installed_airflow().startswith("2.") else AIRFLOW_3
    except PackageNotFoundError:
        return AIRFLOW_3
