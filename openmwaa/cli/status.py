# SPDX-License-Identifier: Apache-2.0
"""`openmwaa status`: one screen of an environment."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import typer
from rich.table import Table
from rich.text import Text

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath, Local, connect
from openmwaa.cli.output import AsJson, console, print_line, print_progress, table, write_json
from openmwaa.operate.connection import Connection
from openmwaa.operate.errors import NotRunningError
from openmwaa.operate.status import Part, State, Status, read_status
from openmwaa.progress import reported

EXIT_CODES: Final[Mapping[State, int]] = {"healthy": 0, "asleep": 0, "trouble": 1, "unknown": 1, "not running": 3}


def status(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Show an environment: services, fleets, DAGs, stuck tasks, alarms, overrides and sleep.

    What cannot be read is unknown, with the reason. Exit codes: 0 healthy or asleep, 1 trouble or unknown, 3 not
    running.
    """
    try:
        connection = connect(path, local=local)
    except NotRunningError as error:
        if as_json:
            write_json({"state": "not running", "reason": str(error)})
        else:
            print_line(str(error))
        raise typer.Exit(EXIT_CODES["not running"]) from None
    with reported("Reading the status", print_progress):
        found = read_status(connection, _of_this_machine(connection))
    if as_json:
        write_json({"environment": connection.environment.name, "target": connection.target, **found.as_data()})
    else:
        _print(connection, found)
    raise typer.Exit(EXIT_CODES[found.state])


def _of_this_machine(connection: Connection) -> Mapping[str, Callable[[], Part]]:
    if not connection.local:
        return {}
    from openmwaa.local.daemon import daemon_client  # noqa: PLC0415 - needs the extra `local`
    from openmwaa.local.health import troubles  # noqa: PLC0415
    from openmwaa.local.paths import LocalPaths  # noqa: PLC0415

    def read() -> Part:
        known = daemon_client.status(LocalPaths.of(connection.file, connection.environment.name))
        if known is None:
            return Part(unknown="its daemon does not answer")
        found = tuple(f"{name}: {trouble}" for name, trouble in troubles(known))
        addresses = (f"web: {known.get('web_address')}", f"workers, and why: {known.get('scaler_address')}")
        return Part(found, addresses, known)

    return {"this machine": read}


def _print(connection: Connection, found: Status) -> None:
    out = console()
    out.print(
        f"{connection.environment.name} {'on' if connection.local else 'in'} {connection.place}: {found.state}\n",
        markup=False,
    )
    first = found.parts["control plane"].unknown
    if found.state == "not running" or (first and all(part.unknown == first for part in found.parts.values())):
        out.print(first, markup=False)
        return
    out.print(_fleets(found.parts["fleets"]), markup=False)
    out.print()
    rows = Table(box=None, show_header=False, pad_edge=False)
    for name, part in found.parts.items():
        lines = [("unknown", part.unknown)] if part.unknown else [("trouble", text) for text in part.troubles]
        lines += [("", text) for text in part.notes]
        for index, (kind, text) in enumerate(lines or [("", "no trouble")]):
            style = {"trouble": "red", "unknown": "yellow"}.get(kind, "")
            rows.add_row("" if index else name, Text(kind, style), Text(text))
    out.print(rows, markup=False)
    if found.parts["fleets"].data:
        print_line(f"\nHow many workers, and why: {connection.command('explain')}")


def _fleets(part: Part) -> Any:
    counted = ("RUNNING", "DESIRED", "NEEDED", "QUEUED")
    rows = table("FLEET", *counted, "REASON", right=counted)
    for fleet, line in (part.data or {}).items():
        numbers = {**(line or {}), "queued": ((line or {}).get("demand") or {}).get("queued")}
        values = [numbers.get(name.lower()) for name in counted]
        cells = ["?" if value is None else str(value) for value in values]
        rows.add_row(fleet, *cells, Text(str((line or {}).get("reason", "no decision"))))
    return rows
