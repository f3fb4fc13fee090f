# SPDX-License-Identifier: Apache-2.0
"""`openmwaa wait`: after an apply, waits until the environment runs what was applied; for pipelines."""

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import typer

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath, Local, connect
from openmwaa.cli.output import AsJson, error_console, print_line, print_progress, write_json
from openmwaa.cli.scale import parse_duration
from openmwaa.operate.connection import Connection
from openmwaa.operate.control_plane import control_plane_status
from openmwaa.operate.override_request import Duration
from openmwaa.operate.rollouts import rollout_status
from openmwaa.operate.sleep import awake_status
from openmwaa.operate.waiting import WaitOutcome, WaitStatus
from openmwaa.operate.waiting import wait as wait_for
from openmwaa.progress import reported

Condition = Literal["control-plane", "workers", "all"]

EXIT_CODES: dict[WaitOutcome, int] = {"done": 0, "failed": 1, "unfinished": 3}
_CHECKS = {
    "control-plane": (control_plane_status,),
    "workers": (rollout_status,),
    "all": (control_plane_status, rollout_status),
}
_DONE = {
    "control-plane": "The control plane is healthy.",
    "workers": "All workers run the newest revision.",
    "all": "The control plane is healthy, and all workers run the newest revision.",
}


def wait(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    condition: Annotated[
        Condition, typer.Option("--for", help="The health of the control plane, the rollout of the workers, or both.")
    ] = "all",
    timeout: Annotated[
        Duration, typer.Option(help="The longest wait; or `forever`.", metavar="TIME", parser=parse_duration)
    ] = "6h",  # type: ignore[assignment]  # typer parses a default like a given value
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Wait until the control plane is healthy and all workers run the newest revision. The command changes nothing.

    Exit codes: 0 success, 1 failure, 3 timeout. A failure is one that waiting does not solve: ECS rolled a deployment
    back, or the preparation of the database fails; the last log lines are shown.
    """
    connection = connect(path, local=local)
    began = time.monotonic()
    try:
        status = wait_until(connection, condition, timeout, (lambda _line: None) if as_json else print_line)
    except KeyboardInterrupt:
        error_console().print("Interrupted; the environment is not affected.", style="yellow")
        raise typer.Exit(130) from None
    if as_json:
        write_json(
            {
                "environment": connection.environment.name,
                "target": connection.target,
                "for": condition,
                "outcome": status.outcome,
                "seconds": round(time.monotonic() - began),
                "awaited": status.awaited,
                "failures": status.failures,
                **status.data,
            }
        )
    else:
        _print_status(condition, status)
    raise typer.Exit(EXIT_CODES[status.outcome])


def wait_until(
    connection: Connection, condition: Condition, timeout: Duration, progress: Callable[[str], None]
) -> WaitStatus:
    """Wait for a condition and return the last status."""
    limit_s = timeout.time.total_seconds() if timeout.time else float("inf")
    checks = [partial(check, connection) for check in (awake_status, *_CHECKS[condition])]
    with reported("Waiting", print_progress, every_s=60):
        return wait_for(checks, limit_s=limit_s, progress=progress)


def _print_status(condition: Condition, status: WaitStatus) -> None:
    if status.outcome == "done":
        print_line(_DONE[condition])
        return
    for line in status.failures or status.awaited:
        error_console().print(line, style="red" if status.failures else "yellow", markup=False)
    if not status.failures:
        error_console().print("Timeout.", style="yellow")
