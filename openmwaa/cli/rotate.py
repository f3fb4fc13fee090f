# SPDX-License-Identifier: Apache-2.0
"""`openmwaa rotate`: a new session secret or Fernet key for a running environment, while tasks run."""

import time
from typing import Annotated

import typer

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath, Local, connect
from openmwaa.cli.output import AsJson, error_console, print_line, print_progress, write_json
from openmwaa.cli.scale import parse_duration
from openmwaa.cli.wait import EXIT_CODES
from openmwaa.commands import this_command
from openmwaa.operate.override_request import Duration
from openmwaa.operate.rotation import SecretName, SecretRotation
from openmwaa.progress import reported

app = typer.Typer(no_args_is_help=True, help="Give a running environment new secrets; running tasks continue.")
Timeout = Annotated[
    Duration, typer.Option(help="The longest wait; or `forever`.", metavar="TIME", parser=parse_duration)
]


@app.command()
def session_secret(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    timeout: Timeout = "2h",  # type: ignore[assignment]  # typer parses a default like a given value
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """End all sessions, and all keys of `openmwaa credentials`: users log in again, running tasks continue.

    The same command continues after an interruption. Exit codes: 0 success, 1 failure, 3 timeout.
    """
    _rotate("session-secret", path, timeout, as_json=as_json, local=local)


@app.command()
def fernet_key(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    timeout: Timeout = "2h",  # type: ignore[assignment]  # as above
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Encrypt connections, variables and triggers with a new key; they stay readable, sessions and tasks continue.

    The same command continues after an interruption. Exit codes: 0 success, 1 failure, 3 timeout.
    """
    _rotate("fernet-key", path, timeout, as_json=as_json, local=local)


def _rotate(name: SecretName, path: EnvironmentPath, timeout: Duration, *, as_json: bool, local: bool | None) -> None:
    connection, began = connect(path, local=local), time.monotonic()
    limit_s = timeout.time.total_seconds() if timeout.time else float("inf")
    try:
        with reported("Waiting", print_progress, every_s=60):
            rotation = SecretRotation.of(connection, name)
            status = rotation.run(print_progress if as_json else print_line, limit_s=limit_s)
    except KeyboardInterrupt:
        error_console().print(f"Interrupted. To continue: {this_command()}", style="yellow", markup=False)
        raise typer.Exit(130) from None
    if as_json:
        write_json(
            {
                "environment": connection.environment.name,
                "target": connection.target,
                "secret": name,
                "services": rotation.services,
                "outcome": status.outcome,
                "seconds": round(time.monotonic() - began),
                "awaited": status.awaited,
                "failures": status.failures,
            }
        )
    elif status.outcome == "done":
        print_line(f"The {name} of {connection.environment.name} is new, after {time.monotonic() - began:.0f} s.")
    else:
        for line in status.failures or status.awaited:
            error_console().print(line, style="red" if status.failures else "yellow", markup=False)
        error_console().print(f"Not finished. To continue: {this_command()}", style="yellow", markup=False)
    raise typer.Exit(EXIT_CODES[status.outcome])
