# SPDX-License-Identifier: Apache-2.0
"""`openmwaa rollout`: are all workers on the newest revision, and if not, who is left?"""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.table import Table

from openmwaa.cli.output import DEFAULT_FILE, AsJson, EnvironmentPath, Local, console, write_json
from openmwaa.operate.connection import connect
from openmwaa.operate.rollouts import FleetRollout, look

EXIT_UNFINISHED = 3


def rollout(path: EnvironmentPath = DEFAULT_FILE, *, as_json: AsJson = False, local: Local = False) -> None:
    """Tell which workers are still on an older revision. It looks only: the scaler does the rollout.

    Exit code 0 when it is finished, 3 when it is not; `openmwaa wait` waits for it.
    """
    connection = connect(path, local=local)
    fleets = look(connection)
    finished = all(fleet.finished for fleet in fleets)
    if as_json:
        place = "local" if connection.local else connection.environment.region
        head = {"environment": connection.environment.name, "place": place, "finished": finished}
        write_json({**head, "fleets": [fleet.as_data() for fleet in fleets]})
    else:
        console().print(_table(fleets))
        console().print("Finished: every worker is on the newest revision." if finished else "Not finished.")
    raise typer.Exit(0 if finished else EXIT_UNFINISHED)


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
