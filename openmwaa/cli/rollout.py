# SPDX-License-Identifier: Apache-2.0
"""`openmwaa rollout`: how many workers run the newest revision, and how many an older one."""

from collections.abc import Sequence

import typer
from rich.table import Table

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath, Local, connect
from openmwaa.cli.output import AsJson, console, print_progress, table, write_json
from openmwaa.fleet_rollout import FleetRollout
from openmwaa.operate.rollouts import read_rollouts
from openmwaa.progress import reported

EXIT_UNFINISHED = 3


def rollout(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Show the workers of older revisions. The command changes nothing; the scaler does the rollout.

    Exit codes: 0 finished, 1 error, 3 unfinished. `openmwaa wait` waits for the end of a rollout.
    """
    connection = connect(path, local=local)
    with reported("Reading the services", print_progress):
        fleets = read_rollouts(connection)
    finished = all(fleet.finished for fleet in fleets)
    if as_json:
        head = {"environment": connection.environment.name, "target": connection.target, "finished": finished}
        write_json({**head, "fleets": [fleet.as_data() for fleet in fleets]})
    else:
        console().print(_table(fleets))
        console().print("Finished: all workers run the newest revision." if finished else "Unfinished.")
    raise typer.Exit(0 if finished else EXIT_UNFINISHED)


def _table(fleets: Sequence[FleetRollout]) -> Table:
    counted = ("REVISION", "DESIRED", "RUNNING", "PENDING")
    rows = table("FLEET", "SERVICE", *counted, "", right=counted)
    for fleet in fleets:
        for service in (fleet.current, *fleet.older):
            numbers = [str(number) for number in (service.revision, service.desired, service.running, service.pending)]
            is_empty = not (service.workers or service.desired)
            notes = ["current" if service is fleet.current else "empty" if is_empty else "draining"]
            notes += [f"{service.behind} to be replaced"] if service.behind else []
            notes += [f"its deployment failed: {service.failed}"] if service.failed else []
            rows.add_row(fleet.fleet, service.service, *numbers, "; ".join(notes))
    return rows
