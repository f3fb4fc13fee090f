# SPDX-License-Identifier: Apache-2.0
"""`health COMMAND`: the health check of a container. Exit status 0: healthy; 1: unhealthy, with one line of reason.

The DAG syncer has none: a shell compares the age of a file.

`airflow jobs check` imports Airflow each time (3 s of CPU and 150 MiB). These checks cost a tenth of that. ECS does not
run the worker's check: a check that can fail under load must not end a worker that runs tasks.
"""

import sys
import urllib.request
from collections.abc import Callable, Mapping

from openmwaa_runtime.components import hostname_for, login_for
from openmwaa_runtime.database import PostgresConnection, installed_airflow, prepared_for
from openmwaa_runtime.errors import DatabaseError
from openmwaa_runtime.release import installed_release
from openmwaa_runtime.settings.connections import EXECUTION_API_PORT, WEB_PORT
from openmwaa_runtime.settings.container_env import ContainerEnv
from openmwaa_runtime.task_metadata import ANY_ADDRESS, TaskIdentity, read_identity

HEARTBEAT_OLD_S = 60
"""Twice Airflow's own threshold, so that a database fail-over (30 s) does not restart every component."""
HTTP_TIMEOUT_S = 10.0
AGENT_PORT = 8790
_JOBS: Mapping[str, str] = {
    "scheduler": "SchedulerJob",
    "dag-processor": "DagProcessorJob",
    "triggerer": "TriggererJob",
}
_PATHS: Mapping[str, tuple[int, str]] = {
    "execution-api": (EXECUTION_API_PORT, "/execution/health"),
    "worker": (AGENT_PORT, "/v1/state"),
}


def check(component: str, environ: Mapping[str, str], *, log: Callable[[str], None] | None = None) -> int:
    """Return the exit status of a health check."""
    problem = find_problem(component, environ)
    if problem is None:
        return 0
    (log or _print_error)(f"{component} is unhealthy: {problem}")
    return 1


def find_problem(component: str, environ: Mapping[str, str]) -> str | None:
    """Return the problem of the component; None if it is healthy.

    Raises:
        UsageError: a variable that the component needs is missing or wrong.
    """
    ContainerEnv.read(component, environ, "")
    if component == "prepare-broker":
        from openmwaa_runtime.prepare_broker import find_problem as find_broker_problem  # noqa: PLC0415 - loaded only with the Redis broker

        return find_broker_problem(environ)
    if component in _JOBS:
        return _heartbeat(_JOBS[component], component, environ)
    paths = {"web-server": (WEB_PORT, installed_release().web_health), **_PATHS}
    if component in paths:
        port, path = paths[component]
        address = read_identity(environ).address
        return _http(f"http://{'127.0.0.1' if address == ANY_ADDRESS else address}:{port}{path}")
    return _prepared(environ)


def _heartbeat(job: str, component: str, environ: Mapping[str, str]) -> str | None:
    identity: TaskIdentity = read_identity(environ)
    host = hostname_for(component, identity)
    query = (
        "SELECT extract(epoch FROM now() - latest_heartbeat) FROM job WHERE job_type = %s AND state = 'running'"
        " AND (%s::text IS NULL OR hostname = %s) ORDER BY latest_heartbeat DESC LIMIT 1"
    )
    try:
        with PostgresConnection(login_for(component, environ)) as connection:
            row = connection.execute(query, (job, host, host))
    except DatabaseError as error:
        # A restart of the component does not repair the database.
        _print_error(f"the heartbeat cannot be read: {error}")
        return None
    if row is None:
        return "no heartbeat yet"
    return None if float(row[0]) <= HEARTBEAT_OLD_S else f"the last heartbeat is {float(row[0]):.0f} s old"


def _prepared(environ: Mapping[str, str]) -> str | None:
    try:
        with PostgresConnection(login_for("scheduler", environ)) as connection:
            found = prepared_for(connection)
    except DatabaseError as error:
        return str(error)
    return None if found == installed_airflow() else f"the database is prepared for {found or 'nothing'}"


def _http(url: str) -> str | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=HTTP_TIMEOUT_S) as response:
            return None if response.status == 200 else f"{url} returned HTTP {response.status}"  # noqa: PLR2004
    except OSError as error:
        return f"{url} does not respond: {error}"


def _print_error(text: str) -> None:
    print(text, file=sys.stderr)
