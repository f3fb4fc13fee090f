# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local`: an environment on this machine, without an AWS account and without Docker."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from openmwaa.cli.environment import DEFAULT_FILE, INFERRED, EnvironmentOption, EnvironmentPath, choose
from openmwaa.cli.output import console, print_line, print_progress
from openmwaa.commands import command
from openmwaa.config.environment_file import load
from openmwaa.local.errors import PrerequisiteError
from openmwaa.subprocesses import termination_as_interrupt

if TYPE_CHECKING:
    from openmwaa.local.paths import LocalPaths

app = typer.Typer(help="An environment on this machine: no AWS account, no Docker.", no_args_is_help=True)

PublishOption = Annotated[
    int | None,
    typer.Option(
        help="Serve the web server at http://localhost:PORT and on this port of every interface, and the scaler's "
        "page, which has no login, on the next port; until `down`. Else both are on an address of this machine only.",
        envvar="OPENMWAA_LOCAL_PUBLISH",
        min=1024,
        max=65534,
        metavar="PORT",
    ),
]
ForegroundOption = Annotated[
    bool,
    typer.Option(
        "--foreground", help="Print warnings and the logs of workers until Ctrl-C, then stop the environment."
    ),
]


@app.command()
def up(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    dags: Annotated[
        Path | None,
        typer.Option(
            help="Read DAGs from this folder, now and at later calls; an edit is in Airflow within seconds.",
            exists=True,
            file_okay=False,
            metavar="FOLDER",
        ),
    ] = None,
    from_bucket: Annotated[
        bool, typer.Option("--dags-from-bucket", help="Read DAGs from bucket or git again.")
    ] = False,
    publish: PublishOption = None,
    foreground: ForegroundOption = False,
) -> None:
    """Start the environment, or repair a running one."""
    if dags and from_bucket:
        raise typer.BadParameter("use --dags or --dags-from-bucket")
    require_local()
    from openmwaa.local.foreground import run_until_stopped  # noqa: PLC0415 - before the start: a signal ends it all
    from openmwaa.local.up import up as bring_up  # noqa: PLC0415
    from openmwaa.operate.sleep import wake_here  # noqa: PLC0415

    wake = partial(wake_here, path, print_line)
    source: Path | Literal["bucket"] | None = dags or ("bucket" if from_bucket else None)
    with termination_as_interrupt():
        try:
            ready = bring_up(path, progress=print_line, wake=wake, dags=source, publish=publish or 0)
        except KeyboardInterrupt:
            print_progress(f"Interrupted. To continue: {command('local', 'up', file=path)}")
            raise typer.Exit(130) from None
        started = f"\n{ready.paths.name} is up after {ready.seconds:.0f} s."
        addresses = f"  Web      {ready.web_address}\n  Workers  {ready.scaler_address}  (how many, and why)"
        print_line(f"{started}\n{addresses}")
        if foreground:
            run_until_stopped(ready.paths, progress=print_line, begin=lambda: print_line(_login_line(path, shown=True)))
        else:
            print_line(_login_line(path, shown=False))


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="A service, or emulator, postgresql, daemon.", metavar="SERVICE")],
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Print new lines until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--tail", "-n", help="The number of last lines.", min=0)] = 100,
) -> None:
    """Print the log of a service."""
    paths = _paths(path)
    from openmwaa.local import logs as reading  # noqa: PLC0415

    file = reading.log_file(paths.logs, service)
    for line in reading.tail(file, lines):
        typer.echo(line)
    if follow:
        for line in reading.follow(file):
            typer.echo(line)


@app.command()
def down(
    context: typer.Context,
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    delete_data: Annotated[
        bool, typer.Option("--delete-data/--keep-data", help="Delete or keep database, bucket, queues and secrets.")
    ] = False,
) -> None:
    """Stop the environment; its data is kept without --delete-data, which needs the name of the environment."""
    if delete_data and INFERRED in context.meta:
        raise typer.BadParameter("name the environment of which all data is deleted")
    paths = _paths(path)
    from openmwaa.local.down import down as take_down  # noqa: PLC0415

    done = take_down(paths, delete_data=delete_data, progress=print_line)
    stopped = "is stopped; no processes remain" if done.was_running else "was not running"
    kept = f"Its data is kept in {paths.root}." if done.kept else "It has no data."
    console().print(f"{paths.name} {stopped}. {kept}")


@app.command()
def password(path: EnvironmentPath = DEFAULT_FILE, *, _environment: EnvironmentOption = None) -> None:
    """Print the password of the user `admin`."""
    typer.echo(_password(path))


@app.command(context_settings={"allow_interspersed_args": False})
def run(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(help="An Airflow command, such as `dags list`.", metavar="[ENVIRONMENT --] AIRFLOW COMMAND"),
    ],
    *,
    _environment: EnvironmentOption = None,
) -> None:
    """Run a command of Airflow in the running environment, with its database, keys and DAGs.

    The exit code is that of Airflow.
    """
    named = words[1:2] == ["--"]
    command_words = words[2:] if named else words
    if command_words[:1] == ["airflow"]:
        command_words = command_words[1:]
    if not command_words:
        raise typer.BadParameter("write a command of Airflow, such as `openmwaa local run dags list`")
    require_local()
    file = choose(context, words[0] if named else None)
    from openmwaa.local.airflow_command import run_in_environment  # noqa: PLC0415

    run_in_environment(file, load(file), command_words, print_progress)


@app.command()
def celery(
    settings: Annotated[Path, typer.Argument(help="The scaler's settings, as for ECS.", metavar="SETTINGS")],
    worker: Annotated[list[str], typer.Argument(help="The command of one worker, after --.", metavar="-- COMMAND")],
) -> None:
    """Scale the workers of a Celery app until Ctrl-C: no Airflow."""
    require_local()
    from openmwaa.local.celery_fleet import run  # noqa: PLC0415

    run(settings, worker, progress=print_line)


def require_local() -> None:
    """Report a missing extra before the slow imports.

    Raises:
        PrerequisiteError: a package of the extra `local` is missing.
    """
    for package in ("aiobotocore", "aiohttp", "asyncpg", "psutil"):
        try:
            import_module(package)
        except ImportError as error:
            raise PrerequisiteError(f"`openmwaa local` needs {error.name}: install the extra `local`") from None


def _login_line(path: Path, *, shown: bool) -> str:
    """Return how to log in; with a password, `shown` prints it instead of the command that does."""
    if load(path).web_access.uses_iam:
        return f"Log in: {command('login', file=path)}"
    from openmwaa.local.login import USER  # noqa: PLC0415 - needs the extra `local`

    password = (
        f"  Password {_password(path)}\n" if shown else f"Show the password: {command('local', 'password', file=path)}"
    )
    return f"  User     {USER}\n{password}"


def _password(path: Path) -> str:
    paths = _paths(path)
    from openmwaa.local import login  # noqa: PLC0415
    from openmwaa.local.daemon import daemon_client  # noqa: PLC0415
    from openmwaa.local.errors import DaemonError  # noqa: PLC0415

    known = daemon_client.status(paths)
    if known is None or "endpoints" not in known:
        raise DaemonError(f"{paths.name} is not running. Start it with `{command('local', 'up', file=path)}`.")
    return login.admin_password(paths, known["endpoints"]["aws"], region=load(path).region)


def _paths(path: Path) -> LocalPaths:
    require_local()
    from openmwaa.local.paths import LocalPaths  # noqa: PLC0415

    return LocalPaths.of(path, load(path).name)
