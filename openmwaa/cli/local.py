# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local`: an environment on this machine, without an AWS account and without Docker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from openmwaa.cli.environment import DEFAULT_FILE, INFERRED, EnvironmentOption, EnvironmentPath, choose
from openmwaa.cli.output import AsJson, console, print_line, print_progress, table, write_json
from openmwaa.commands import command
from openmwaa.config.environment_file import load
from openmwaa.local.errors import PrerequisiteError

if TYPE_CHECKING:
    from openmwaa.local.paths import LocalPaths
    from openmwaa.operate.override_store import Override

app = typer.Typer(help="An environment on this machine: no AWS account, no Docker.", no_args_is_help=True)


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
    from_bucket: Annotated[bool, typer.Option("--dags-from-bucket", help="Read DAGs from the bucket again.")] = False,
) -> None:
    """Start the environment, or repair a running one."""
    if dags and from_bucket:
        raise typer.BadParameter("use --dags or --dags-from-bucket")
    require_local()
    from openmwaa.local.login import USER  # noqa: PLC0415 - needs the extra `local`
    from openmwaa.local.up import up as bring_up  # noqa: PLC0415
    from openmwaa.operate.sleep import wake_here  # noqa: PLC0415

    try:
        wake = partial(wake_here, path, print_line)
        ready = bring_up(path, progress=print_line, wake=wake, dags=dags or ("bucket" if from_bucket else None))
    except KeyboardInterrupt:
        print_progress(f"Interrupted. To continue: {command('local', 'up', file=path)}")
        raise typer.Exit(130) from None
    out = console()
    out.print(f"\n{ready.paths.name} is up after {ready.seconds:.0f} s.")
    out.print(f"  Web      {ready.web_address}")
    out.print(f"  Workers  {ready.scaler_address}  (how many, and why)")
    out.print(f"  User     {USER}")
    out.print(f"Show the password: {command('local', 'password', file=path)}", markup=False)


@app.command()
def status(
    path: EnvironmentPath = DEFAULT_FILE, *, _environment: EnvironmentOption = None, as_json: AsJson = False
) -> None:
    """Show the health of the environment. Exit codes: 0 healthy, 1 degraded, 3 not running."""
    paths = _paths(path)
    from openmwaa.local.daemon import daemon_client, orphans  # noqa: PLC0415
    from openmwaa.local.health import EXIT_CODES, dags_left_out, fleets, health  # noqa: PLC0415
    from openmwaa.local.lost_messages import tasks_without_message  # noqa: PLC0415

    known = daemon_client.status(paths)
    left_out = dags_left_out(paths.tasks) if known else {}
    without_message = tasks_without_message(known.get("scaler_address")) if known else None
    state = health(known, without_message)
    found = fleets(known)
    overrides = _active_overrides(path) if found else {}
    if as_json:
        fleet_data = [{**fleet.as_data(), "override": _override_data(overrides.get(fleet.fleet))} for fleet in found]
        known_data = known or {"environment": paths.name, "services": []}
        more = {"fleets": fleet_data, "dags_left_out": left_out, "tasks_without_message": without_message}
        write_json({"state": state, **known_data, **more, "dag_folder": paths.dag_folder})
    elif known is None:
        print_line(f"{paths.name} is not running. Start it with `{command('local', 'up', file=path)}`.")
        if left := len(orphans.remaining(paths)):
            print_line(f"{left} processes of its last run are not ended yet. `up` and `down` end them.")
    else:
        print_line(f"{paths.name} is {state}. Web: {known.get('web_address') or 'no address yet'}")
        console().print(_table(known))
        for fleet in found:
            if fleet.left:
                print_line(f"{fleet.sentence}.")
        for name, override in overrides.items():
            print_line(f"{name}: {_override_sentence(override)}")
        for name, tasks in (without_message or {}).items():
            print_line(f"{name}: the broker has no message of {tasks} queued tasks; the scheduler queues them again")
        _print_dags(paths.dag_folder, left_out)
        if scaler := known.get("scaler_address"):
            print_line(f"How many workers, and why: {scaler}")
    raise typer.Exit(EXIT_CODES[state])


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
    paths = _paths(path)
    from openmwaa.local import login  # noqa: PLC0415
    from openmwaa.local.daemon import daemon_client  # noqa: PLC0415
    from openmwaa.local.errors import DaemonError  # noqa: PLC0415

    known = daemon_client.status(paths)
    if known is None or "endpoints" not in known:
        raise DaemonError(f"{paths.name} is not running. Start it with `{command('local', 'up', file=path)}`.")
    typer.echo(login.admin_password(paths, known["endpoints"]["aws"], region=load(path).region))


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


def _paths(path: Path) -> LocalPaths:
    require_local()
    from openmwaa.local.paths import LocalPaths  # noqa: PLC0415

    return LocalPaths.of(path, load(path).name)


def _active_overrides(path: Path) -> dict[str, Override]:
    """The active and the invalid overrides, by fleet; none while SSM does not answer."""
    from openmwaa.operate.connection import connect  # noqa: PLC0415
    from openmwaa.operate.errors import OperateError  # noqa: PLC0415
    from openmwaa.operate.override_store import OverrideStore  # noqa: PLC0415

    try:
        connection = connect(path, local=True)
        overrides = OverrideStore(connection).read(list(connection.environment.fleets))
    except OperateError:  # the emulator restarts
        return {}
    now = datetime.now(UTC)
    return {name: override for name, override in overrides.items() if override.state(now) in ("active", "invalid")}


def _print_dags(folder: Path | None, left_out: Mapping[str, str]) -> None:
    if folder:
        print_line(f"DAGs: {folder}{'' if folder.is_dir() else ' does not exist; the last DAGs stay'}")
    for key, reason in left_out.items():
        print_line(f"DAGs without {key!r}: {reason}")


def _override_sentence(override: Override) -> str:
    from openmwaa.operate.override_store import describe  # noqa: PLC0415

    document = override.document
    if document is None:
        return (
            f"invalid override in {override.parameter} ({override.problem}). The last valid one stays active. Replace "
            "it with `openmwaa scale --clear`."
        )
    until = f" until {document.until}" if document.until else ""
    reason = f" ({document.reason})" if document.reason else ""
    return f"override by {document.by or 'an unknown user'}: {describe(document)}{until}{reason}. `up` keeps it."


def _override_data(override: Override | None) -> Any:
    if override is None:
        return None
    return override.document.model_dump() if override.document else {"problem": override.problem}


def _table(known: Any) -> Table:
    from openmwaa.local.health import service_trouble  # noqa: PLC0415

    counted = ("DESIRED", "RUNNING", "PENDING", "RESTARTS")
    rows = table("", *counted, "", right=counted)
    for service in known.get("services", ()):
        counts = (str(service[name]) for name in ("desired", "running", "pending"))
        rows.add_row(service["name"], *counts, "", service_trouble(service) or "")
    for name, process in known.get("infrastructure", {}).items():
        is_running = process["state"] == "running"
        trouble = process["last_end"] or "" if is_running else process["state"]
        rows.add_row(name, "1", "1" if is_running else "0", "0", str(process["restarts"]), trouble)
    return rows
