# SPDX-License-Identifier: Apache-2.0
"""`openmwaa rollout`: are all workers on the newest revision, and if not, who is left?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from openmwaa.cli.output import DEFAULT_FILE, AsJson, EnvironmentPath, Local, console, error_console, write_json
from openmwaa.live.connection import Connection, connect
from openmwaa.live.errors import UnreachableError
from openmwaa.live.orders import Duration
from openmwaa.live.rollouts import FleetRollout, look

EXIT_UNFINISHED = 3
POLL_S = 10.0


def _timeout(text: str) -> Duration:
    try:
        return Duration.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def rollout(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Look until it is finished, or the timeout is over.")] = False,
    timeout: Annotated[
        Duration, typer.Option(help="How long to wait; or `forever`.", metavar="TIME", parser=_timeout)
    ] = "12h",  # type: ignore[assignment]  # typer parses a default as it parses what is given
    as_json: AsJson = False,
    local: Local = False,
) -> None:
    """Tell which workers are still on an older revision. It looks only: the scaler does the rollout.

    Exit code 0 when it is finished, 3 when it is not: a pipeline runs it with --wait before the next apply.
    """
    connection = connect(path, local=local)
    say = _silent if as_json else _say
    limit_s = timeout.time.total_seconds() if timeout.time else float("inf")
    try:
        fleets = follow(connection, limit_s=limit_s, say=say) if wait else look(connection)
    except KeyboardInterrupt:
        error_console().print("Interrupted; the scaler goes on with the rollout.", style="yellow")
        raise typer.Exit(130) from None
    finished = all(fleet.finished for fleet in fleets)
    if as_json:
        write_json(_data(connection, fleets))
    else:
        console().print(_table(fleets))
        _say("Finished: every worker is on the newest revision." if finished else "Not finished.")
    raise typer.Exit(0 if finished else EXIT_UNFINISHED)


def follow(
    connection: Connection,
    *,
    limit_s: float,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Sequence[FleetRollout]:
    """Look again and again until all fleets are finished or `limit_s` are over; return what was seen last.

    Raises:
        LiveError: ECS cannot be asked; a silence that asking again may end only at the end of the time.
    """
    end = clock() + limit_s
    told = ""
    while True:
        try:
            fleets = look(connection)
        except UnreachableError as error:
            if clock() >= end:
                raise
            words = str(error)
        else:
            if clock() >= end or all(fleet.finished for fleet in fleets):
                return fleets
            words = "; ".join(_words(fleet) for fleet in fleets if not fleet.finished)
        if words != told:
            say(words)
            told = words
        sleep(max(0.0, min(POLL_S, end - clock())))


def _words(fleet: FleetRollout) -> str:
    plural = "" if fleet.left == 1 else "s"
    failed = f" (ECS says that it failed: {fleet.current.failed})" if fleet.current.failed else ""
    return (
        f"{fleet.fleet}: {fleet.left} worker{plural} left before revision {fleet.current.revision}, "
        f"{fleet.current.running - fleet.current.behind} on it{failed}"
    )


def _say(line: str) -> None:
    console().print(line, markup=False)


def _silent(_line: str) -> None:
    return None


def _table(fleets: Sequence[FleetRollout]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("FLEET", "SERVICE"):
        table.add_column(heading)
    for heading in ("REVISION", "DESIRED", "RUNNING", "PENDING"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for fleet in fleets:
        for each in (fleet.current, *fleet.older):
            numbers = [str(number) for number in (each.revision, each.desired, each.running, each.pending)]
            role = "current" if each is fleet.current else "to be drained" if each.workers or each.desired else "empty"
            notes = [role]
            notes += [f"{each.behind} to be replaced"] if each.behind else []
            notes += [f"its deployment failed: {each.failed}"] if each.failed else []
            table.add_row(fleet.fleet, each.service, *numbers, "; ".join(notes))
    return table


def _data(connection: Connection, fleets: Sequence[FleetRollout]) -> dict[str, Any]:
    return {
        "environment": connection.environment.name,
        "place": "local" if connection.local else connection.environment.region,
        "finished": all(fleet.finished for fleet in fleets),
        "fleets": [
            {
                "fleet": fleet.fleet,
                "finished": fleet.finished,
                "left": fleet.left,
                "current": fleet.current.service,
                "generations": {
                    each.service: {
                        "revision": each.revision,
                        "desired": each.desired,
                        "running": each.running,
                        "pending": each.pending,
                        "behind": each.behind,
                        "failed": each.failed,
                    }
                    for each in (fleet.current, *fleet.older)
                },
            }
            for fleet in fleets
        ],
    }
