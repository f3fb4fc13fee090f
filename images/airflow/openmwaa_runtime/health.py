# SPDX-License-Identifier: Apache-2.0
"""`health WORD`: is the component in this container well? Status 0 if so, else 1 and one line.

`airflow jobs check` would import Airflow each time (3 s of CPU and 150 MiB); these cost a tenth. The worker's answer is
for people: no health check that load can fail may end a worker that works.
"""

import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from openmwaa_runtime.components import hostname_for, login_for
from openmwaa_runtime.database import connect, installed_airflow, prepared_for
from openmwaa_runtime.errors import DatabaseProblem
from openmwaa_runtime.settings.connections import EXECUTION_API_PORT, WEB_PORT
from openmwaa_runtime.settings.container_env import Facts
from openmwaa_runtime.sync_dags.folder import VersionedFolder
from openmwaa_runtime.task_metadata import ANY_ADDRESS, TaskIdentity, read_identity

HEARTBEAT_OLD_S = 60
"""Twice Airflow's own threshold: a database fail-over takes 30 s and is no reason to restart everything."""
HTTP_TIMEOUT_S = 10.0
AGENT_PORT = 8790
_JOBS: Mapping[str, str] = {
    "scheduler": "SchedulerJob",
    "dag-processor": "DagProcessorJob",
    "triggerer": "TriggererJob",
}
_PATHS: Mapping[str, tuple[int, str]] = {
    "execution-api": (EXECUTION_API_PORT, "/execution/health"),
    "web-server": (WEB_PORT, "/api/v2/version"),
    "worker": (AGENT_PORT, "/v1/state"),
}


def check(component: str, environ: Mapping[str, str], *, say: Callable[[str], None] | None = None) -> int:
    """The exit status of a health check."""
    problem = problem_of(component, environ)
    if problem is None:
        return 0
    (say or _complain)(f"{component} is not well: {problem}")
    return 1


def problem_of(component: str, environ: Mapping[str, str]) -> str | None:
    """What is wrong with the component, in a few words; None when nothing is.

    Raises:
        UsageProblem: a variable that the component needs is missing or wrong.
    """
    Facts.read(component, environ, "")
    if component == "sync-dags":
        folder = VersionedFolder(Path(environ["OPENMWAA_DAG_FOLDER"]))
        return None if folder.current() is not None else "the first sync is not done"
    if component == "prepare-broker":
        from openmwaa_runtime.prepare_broker import problem_of as problem_of_broker  # noqa: PLC0415 - few have this broker

        return problem_of_broker(environ)
    if component in _JOBS:
        return _heartbeat(_JOBS[component], component, environ)
    if component in _PATHS:
        port, path = _PATHS[component]
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
        with connect(login_for(component, environ)) as connection:
            row = connection.one(query, (job, host, host))
    except DatabaseProblem as problem:
        # The database's illness is not the component's: restarting every component would not heal it.
        _complain(f"cannot tell: {problem}")
        return None
    if row is None:
        return "no heartbeat yet"
    return None if float(row[0]) <= HEARTBEAT_OLD_S else f"the last heartbeat is {float(row[0]):.0f} s old"


def _prepared(environ: Mapping[str, str]) -> str | None:
    try:
        with connect(login_for("scheduler", environ)) as connection:
            found = prepared_for(connection)
    except DatabaseProblem as problem:
        return str(problem)
    return None if found == installed_airflow() else f"the database is prepared for {found or 'nothing'}"


def _http(url: str) -> str | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=HTTP_TIMEOUT_S) as response:
            return None if response.status == 200 else f"{url} answers {response.status}"  # noqa: PLR2004
    except OSError as error:
        return f"{url} does not answer: {error}"


def _complain(text: str) -> None:
    print(text, file=sys.stderr)
