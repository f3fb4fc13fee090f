# SPDX-License-Identifier: Apache-2.0
"""The Airflow components: their command lines, and the wait for the database before them."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from openmwaa_runtime.admin_password import write_passwords
from openmwaa_runtime.artefacts.install import install
from openmwaa_runtime.auth.settings import uses_iam_login
from openmwaa_runtime.credentials import Credentials
from openmwaa_runtime.database import Login, PostgresConnection, installed_airflow, wait_until_prepared
from openmwaa_runtime.errors import NotPreparedError, PreparationError
from openmwaa_runtime.release import installed_release
from openmwaa_runtime.settings import airflow_environment
from openmwaa_runtime.task_metadata import ANY_ADDRESS, HOSTNAME_VARIABLE, TaskIdentity, read_identity

PUBLIC_KEY_VARIABLE = "WORKER_AGENT_PUBLIC_KEY"


def arguments(component: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The module that Python runs as this component, and its arguments."""
    words = installed_release().commands[component]
    if component != "worker":
        return words
    queues, slots = environ["OPENMWAA_WORKER_QUEUES"], environ["OPENMWAA_WORKER_SLOTS"]
    return (*words, "--queues", queues, "--concurrency", slots)


def login_for(component: str, environ: Mapping[str, str]) -> Login:
    """The login for the wait. A worker has access to the results database only."""
    if component == "worker":
        celery = Credentials.read(environ["OPENMWAA_CELERY_DATABASE_PASSWORD"], "celery_results")
        return Login.read(environ, database="celery", credentials=celery)
    airflow = Credentials.read(environ["OPENMWAA_AIRFLOW_DATABASE_PASSWORD"], "airflow")
    return Login.read(environ, database="airflow", credentials=airflow)


def hostname_for(component: str, identity: TaskIdentity) -> str | None:
    """The host name of this task in Airflow; None outside ECS, where the machine's host name is used."""
    if identity.task_id is None:
        return None
    return identity.task_id if component == "worker" else identity.address


def start(
    component: str,
    environ: Mapping[str, str],
    *,
    run_airflow: Callable[[list[str], dict[str, str]], NoReturn] | None = None,
) -> NoReturn:
    """Wait for the database, then replace this process with Airflow.

    Raises:
        UsageError: a variable is missing or wrong.
        NotPreparedError: the database was not prepared within 10 minutes.
        PreparationError: a value in the database cannot be encrypted with the new Fernet key.
    """
    identity = read_identity(environ)
    additions = airflow_environment(component, environ, identity.address)
    name = hostname_for(component, identity)
    if name is not None:
        additions[HOSTNAME_VARIABLE] = name
    login = login_for(component, environ)
    wait_until_prepared(login, installed_airflow())
    if component == "worker" and PUBLIC_KEY_VARIABLE not in environ:
        additions[PUBLIC_KEY_VARIABLE] = read_public_key(login)
    full = {**additions, **environ}
    Path(full["AIRFLOW_HOME"]).mkdir(parents=True, exist_ok=True)
    full = install(component, full, login, identity.task_id or "local")
    passwords = full.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE")
    if component == "web-server" and passwords and not uses_iam_login(full):
        write_passwords(Path(passwords), full["OPENMWAA_ADMIN_PASSWORD"])
    if component == "scheduler" and "," in full["OPENMWAA_FERNET_KEY"]:
        _encrypt_again(full)
    # `python -m` and not the `airflow` script: the script has the absolute path of the build's interpreter.
    (run_airflow or _exec)([sys.executable, "-m", *arguments(component, environ)], full)


def _encrypt_again(environ: Mapping[str, str]) -> None:
    """Encrypt what is in the database with the first of several Fernet keys: `openmwaa rotate fernet-key` runs."""
    print("Encrypting connections, variables and triggers with the first Fernet key", flush=True)
    if subprocess.run([sys.executable, "-m", "airflow", "rotate-fernet-key"], env=environ, check=False).returncode:
        raise PreparationError("no Fernet key decrypts a value of the database; the lines above have the error")


def command_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of Airflow for a command: the scheduler's, and access to the database for `Variable.get`.

    Raises:
        UsageError: a variable is missing or wrong.
    """
    return {"_AIRFLOW_PROCESS_CONTEXT": "server", **airflow_environment("scheduler", environ, ANY_ADDRESS)}


def run_command(
    words: Sequence[str],
    environ: Mapping[str, str],
    *,
    run_airflow: Callable[[list[str], dict[str, str]], NoReturn] | None = None,
) -> NoReturn:
    """Replace this process with a command of Airflow.

    Raises:
        UsageError: a variable is missing or wrong.
    """
    command = [sys.executable, "-m", "airflow", *words]
    (run_airflow or _exec)(command, {**command_environment(environ), **environ})


def read_public_key(login: Login) -> str:
    """The public key of the scaler's commands, base64.

    Raises:
        NotPreparedError: prepare-database has not written it.
        DatabaseError: the database cannot be read.
    """
    with PostgresConnection(login) as connection:
        row = connection.execute("SELECT value FROM openmwaa.public_key WHERE name = 'scaler'")
    if row is None:
        raise NotPreparedError("the scaler's public key is not in the database; run prepare-database again")
    return str(row[0])


def _exec(command: list[str], environ: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    os.execvpe(command[0], command, environ)  # noqa: S606 - exec, so that signals reach Airflow directly
