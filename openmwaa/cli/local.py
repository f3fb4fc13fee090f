# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local`: an environment on this machine, without an account and without Docker."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from openmwaa.cli.output import DEFAULT_FILE, AsJson, EnvironmentPath, console, error_console, write_json
from openmwaa.config.environment_file import load
from openmwaa.local.errors import PrerequisiteError

if TYPE_CHECKING:
    from openmwaa.local.paths import LocalPaths
    from openmwaa.operate.override_store import Override

app = typer.Typer(help="An environment on this machine: no AWS account, no Docker.", no_args_is_help=True)

EnvironmentOption = Annotated[
    Path, typer.Option("--file", help="The environment's YAML file.", metavar="ENVIRONMENT.YAML")
]


@app.command()
def up(path: EnvironmentPath = DEFAULT_FILE) -> None:
    """Bring the environment up, or repair one that runs."""
    _require()
    from openmwaa.local.login import USER  # noqa: PLC0415 - needs the extra `local`
    from openmwaa.local.up import up as bring_up  # noqa: PLC0415

    try:
        ready = bring_up(path, say=_say)
    except KeyboardInterrupt:
        error_console().print("Interrupted. `openmwaa local up` goes on from here.", style="yellow")
        raise typer.Exit(130) from None
    out = console()
    out.print(f"\n{ready.paths.name} is up after {ready.seconds:.0f} s.")
    out.print(f"  Web      {ready.web_address}")
    out.print(f"  Workers  {ready.scaler_address}  (how many, and why)")
    out.print(f"  User     {USER}")
    out.print(f"  Password openmwaa local password {_shown(path)}".rstrip())


@app.command()
def status(path: EnvironmentPath = DEFAULT_FILE, *, as_json: AsJson = False) -> None:
    """Tell how the environment is; exit code 0 healthy, 1 degraded, 3 not running."""
    paths = _paths(path)
    from openmwaa.local import health  # noqa: PLC0415
    from openmwaa.local.daemon import daemon_client  # noqa: PLC0415
    from openmwaa.local.fleets import fleets  # noqa: PLC0415

    known = daemon_client.status(paths)
    verdict = health.verdict(known)
    found = fleets((known or {}).get("services", ()))
    orders = _orders(path) if found else {}
    if as_json:
        shown = {"fleets": [{**fleet.as_data(), "controls": _order_data(orders.get(fleet.name))} for fleet in found]}
        write_json({"state": verdict, **(known or {"environment": paths.name, "services": []}), **shown})
    elif known is None:
        console().print(f"{paths.name} is not running. `openmwaa local up {_shown(path)}` starts it.")
    else:
        console().print(f"{paths.name} is {verdict}. Web: {known.get('web_address') or 'not there yet'}")
        console().print(_table(known))
        for fleet in found:
            if fleet.sentence:
                _say(f"{fleet.sentence}.")
        for name, order in orders.items():
            _say(f"{name}: {_order_words(order)}")
        if scaler := known.get("scaler_address"):
            _say(f"How many workers, and why: {scaler}")
    raise typer.Exit(health.EXIT_CODES[verdict])


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="A service, or emulator, postgresql, daemon.", metavar="SERVICE")],
    path: EnvironmentOption = DEFAULT_FILE,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--tail", "-n", help="How many of the last lines.", min=0)] = 100,
) -> None:
    """Print what a service printed."""
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
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    delete_data: Annotated[
        bool, typer.Option("--delete-data/--keep-data", help="Delete or keep database, bucket, queues and secrets.")
    ] = False,
) -> None:
    """Stop the environment; its data is kept unless told otherwise."""
    paths = _paths(path)
    from openmwaa.local.down import down as take_down  # noqa: PLC0415

    done = take_down(paths, delete_data=delete_data, say=_say)
    stopped = "is stopped; no process is left" if done.was_running else "was not running"
    kept = f"Its data is kept in {paths.root}." if done.kept else "It has no data."
    console().print(f"{paths.name} {stopped}. {kept}")


@app.command()
def password(path: EnvironmentPath = DEFAULT_FILE) -> None:
    """Print the password of the user `admin`."""
    paths = _paths(path)
    from openmwaa.local import login  # noqa: PLC0415
    from openmwaa.local.daemon import daemon_client  # noqa: PLC0415
    from openmwaa.local.errors import DaemonError  # noqa: PLC0415

    known = daemon_client.status(paths)
    if known is None or "endpoints" not in known:
        raise DaemonError(f"{paths.name} is not running. `openmwaa local up {_shown(path)}` starts it.")
    typer.echo(login.admin_password(paths, known["endpoints"]["aws"], region=load(path).region))


def _require() -> None:
    """Say early, and before anything heavy is imported, that the extra is missing."""
    try:
        import aiobotocore  # noqa: F401, PLC0415
        import aiohttp  # noqa: F401, PLC0415
        import asyncpg  # noqa: F401, PLC0415
        import psutil  # noqa: F401, PLC0415
    except ImportError as error:
        raise PrerequisiteError(f"`openmwaa local` needs {error.name}: pip install 'openmwaa[local]'") from None


def _paths(path: Path) -> LocalPaths:
    _require()
    from openmwaa.local.paths import LocalPaths  # noqa: PLC0415

    return LocalPaths.of(path, load(path).name)


def _orders(path: Path) -> dict[str, Override]:
    """What people ordered by `openmwaa scale` and is in force, by fleet; nothing where nobody can tell."""
    from openmwaa.operate.connection import connect  # noqa: PLC0415
    from openmwaa.operate.errors import OperateError  # noqa: PLC0415
    from openmwaa.operate.override_store import OverrideStore  # noqa: PLC0415

    try:
        connection = connect(path, local=True)
        kept = OverrideStore(connection).read(list(connection.environment.fleets))
    except OperateError:  # the emulator restarts: status still tells the rest
        return {}
    now = datetime.now(UTC)
    return {
        name: order
        for name, order in kept.items()
        if order.problem or (order.document and order.document.orders and not order.document.expired(now))
    }


def _order_words(order: Override) -> str:
    from openmwaa.operate.override_store import describe  # noqa: PLC0415

    if order.document is None:
        return f"{order.parameter} holds no order ({order.problem}); `openmwaa scale --local --clear` replaces it"
    until = f" until {order.document.until}" if order.document.until else ""
    why = f", because: {order.document.why}" if order.document.why else ""
    return (
        f"{order.document.by or 'somebody'} ordered {describe(order.document)}{until}{why}; `up` leaves that in force"
    )


def _order_data(order: Override | None) -> Any:
    if order is None:
        return None
    return order.document.model_dump() if order.document else {"problem": order.problem}


def _say(line: str) -> None:
    console().print(line, markup=False)


def _shown(path: Path) -> str:
    """The file as an argument; nothing when it is the default."""
    return "" if path == DEFAULT_FILE else str(path)


def _table(known: Any) -> Table:
    from openmwaa.local.health import service_trouble  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for heading in ("", "DESIRED", "RUNNING", "PENDING", "RESTARTS", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for service in known.get("services", ()):
        counts = (str(service[word]) for word in ("desired", "running", "pending"))
        table.add_row(service["name"], *counts, "", service_trouble(service) or "")
    for name, part in known.get("infrastructure", {}).items():
        running = "1" if part["state"] == "running" else "0"
        trouble = "" if part["state"] == "running" else part["state"]
        table.add_row(name, "1", running, "0", str(part["restarts"]), trouble or part["last_end"] or "")
    return table
