# SPDX-License-Identifier: Apache-2.0
"""Runs Airflow's own programs for an author: in a running environment, or without one."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from openmwaa.commands import command
from openmwaa.config.environment import DEFAULT_QUEUE, Environment, option_variable
from openmwaa.local.child_environment import child_environment
from openmwaa.local.daemon import daemon_client
from openmwaa.local.errors import DaemonError, LocalError
from openmwaa.local.install import venvs
from openmwaa.local.install.images import airflow_packages
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services.secrets import DAGS_SECRET_VARIABLE
from openmwaa.progress import Progress, reported
from openmwaa.subprocesses import Program, run

MIGRATED_WITHIN_S = 300.0

# Variables of the process of a container, which a program in a terminal has itself.
_OF_THE_CONTAINER = frozenset({"HOME", "LANG", "PATH", "TMPDIR", "ECS_AGENT_URI", "ECS_CONTAINER_METADATA_URI_V4"})


def python_of(environment: Environment, progress: Progress) -> Path:
    """Return the Python with the environment's Airflow, which is installed at the first call.

    Raises:
        InstallError: it could not be installed.
    """
    return venvs.ensure(venvs.venv_of(f"airflow-{environment.airflow_version}"), progress=progress)


def running_variables(paths: LocalPaths) -> dict[str, str] | None:
    """Return the variables of the running environment, for `openmwaa_runtime`; None if it does not run.

    Raises:
        DaemonError: the environment has no scheduler or no DAG processor yet.
    """
    found = daemon_client.airflow_environment(paths)
    if found is None:
        return None
    kept = {name: value for name, value in found.items() if name not in _OF_THE_CONTAINER}
    return {**kept, "AIRFLOW_HOME": str(paths.author)}


def author_variables(environment: Environment, packages: Path, home: Path, folder: Path) -> dict[str, str]:
    """Return the variables of Airflow for the DAGs of a folder: options of the file, and a database of its own."""
    options = environment.airflow_configuration_options
    queue = DEFAULT_QUEUE if DEFAULT_QUEUE in environment.queues else environment.queues[0]
    bundle = '[{"name": "dags", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}}]'
    return {
        "PYTHONPATH": str(airflow_packages(packages)),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "AIRFLOW__OPERATORS__DEFAULT_QUEUE": queue,
        **{option_variable(key): value for key, value in options.items()},
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundle,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }


def without_airflow(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's variables without another Airflow's configuration and the secret of the syncer.

    Connections and variables stay.
    """
    source = os.environ if environ is None else environ
    dropped = ("AIRFLOW_HOME", "AIRFLOW_CONFIG", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME", DAGS_SECRET_VARIABLE)
    return {name: value for name, value in source.items() if name not in dropped and not name.startswith("AIRFLOW__")}


def run_in_environment(file: Path, environment: Environment, words: Sequence[str], progress: Progress) -> NoReturn:
    """Replace this process with a command of Airflow in the running environment.

    Raises:
        DaemonError: the environment does not run.
    """
    paths = LocalPaths.of(file, environment.name)
    variables = running_variables(paths)
    if variables is None:
        raise DaemonError(f"{paths.name} is not running. Start it with `{command('local', 'up', file=file)}`.")
    paths.author.mkdir(parents=True, exist_ok=True)
    python = python_of(environment, progress)
    full = child_environment(variables, base=without_airflow())
    os.execve(python, [str(python), "-m", "openmwaa_runtime", "airflow", *words], full)  # noqa: S606 - a terminal of its own


def run_dag(file: Path, environment: Environment, folder: Path, words: Sequence[str], progress: Progress) -> NoReturn:
    """Replace this process with a run of a DAG, on a database that no other Airflow uses.

    `words` are the arguments of `openmwaa_runtime.run_dag`.

    Raises:
        LocalError: that database could not be created.
    """
    paths = LocalPaths.of(file, environment.name)
    paths.make()
    home = paths.author / environment.airflow_version
    home.mkdir(parents=True, exist_ok=True)
    python = python_of(environment, progress)
    variables = author_variables(environment, paths.author, home, folder)
    _make_database(python, home, {**without_airflow(), **variables}, progress)
    running = None
    with contextlib.suppress(DaemonError):  # it is starting
        running = running_variables(paths)
    full = {**without_airflow(), **variables}
    if running:
        aws = {name: value for name, value in running.items() if name.startswith("AWS_")}
        full = child_environment({**variables, **aws, "OPENMWAA_RUNNING": json.dumps(running)}, base=without_airflow())
        progress(f"{paths.name} runs here: the test uses its emulated AWS, and copies of its connections and variables")
    argv = [str(python), "-m", "openmwaa_runtime", "run-dag", "--folder", str(folder), *words]
    os.execve(python, argv, full)  # noqa: S606 - as above


def _make_database(python: Path, home: Path, variables: Mapping[str, str], progress: Progress) -> None:
    database = home / "airflow.db"
    if database.exists():
        return
    draft = home / f"airflow-{os.getpid()}.db"  # another test may do the same at this moment
    lines: list[str] = []
    program = Program(
        (str(python), "-m", "airflow", "db", "migrate"),
        home,
        {**variables, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{draft}"},
    )
    try:
        with reported("Creating a database for tests (once)", progress):
            code = run(program, on_line=lines.append, within_s=MIGRATED_WITHIN_S)
        if code:
            raise LocalError("The database for tests could not be created:\n" + "\n".join(lines[-15:]))
        draft.replace(database)
    finally:
        draft.unlink(missing_ok=True)
