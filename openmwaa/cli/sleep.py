# SPDX-License-Identifier: Apache-2.0
"""`openmwaa sleep` and `openmwaa wake`: no worker, no control plane and no database, until they are needed again."""

import time
from typing import Annotated

import typer

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath, Local, connect
from openmwaa.cli.output import AsJson, error_console, print_line, print_progress, write_json
from openmwaa.cli.scale import parse_duration
from openmwaa.cli.wait import EXIT_CODES
from openmwaa.operate.override_request import Duration
from openmwaa.operate.sleep import NoSleepError, required
from openmwaa.operate.waiting import WaitStatus
from openmwaa.operate.waiting import wait as wait_for
from openmwaa.progress import reported
from scaler.config.overrides import LONGEST
from scaler.core.sleep import SleepState

EXIT_REFUSED = 2


def parse_reason(text: str) -> str:
    """Return the reason, if it is not too long for SSM."""
    if len(text) > LONGEST:
        raise typer.BadParameter(f"has {len(text)} characters; at most {LONGEST} are stored")
    return text


Reason = Annotated[str, typer.Option(help="The reason, shown with the fleets.", metavar="TEXT", parser=parse_reason)]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end.")]
Timeout = Annotated[
    Duration, typer.Option(help="The longest wait; or `forever`.", metavar="TIME", parser=parse_duration)
]


def sleep(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    reason: Reason = "",
    no_wait: NoWait = False,
    timeout: Timeout = "13h",  # type: ignore[assignment]  # typer parses a default like a given value
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Put an environment to sleep: running tasks finish, then workers, control plane and database stop.

    It sleeps until `openmwaa wake`, or until the file's `sleep.wake_at`. Exit codes: 0 asleep, 1 error, 2 the
    environment cannot sleep, 3 timeout.
    """
    _change("asleep", path, reason, no_wait=no_wait, timeout=timeout, as_json=as_json, local=local)


def wake(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    reason: Reason = "",
    no_wait: NoWait = False,
    timeout: Timeout = "2h",  # type: ignore[assignment]  # as above
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Wake an environment: database, control plane, then workers; missed runs start by the `catchup` of their DAGs.

    It is awake until `openmwaa sleep`, or until the file's `sleep.sleep_at`. Exit codes: 0 awake, 1 error, 2 the
    environment cannot sleep, 3 timeout.
    """
    _change("awake", path, reason, no_wait=no_wait, timeout=timeout, as_json=as_json, local=local)


def _change(
    state: SleepState,
    path: EnvironmentPath,
    reason: str,
    *,
    no_wait: bool,
    timeout: Duration,
    as_json: bool,
    local: bool | None,
) -> None:
    connection = connect(path, local=local)
    name, began = connection.environment.name, time.monotonic()
    try:
        found = required(connection)
    except NoSleepError as error:
        error_console().print(str(error), style="red", markup=False)
        raise typer.Exit(EXIT_REFUSED) from None
    document = found.write(state, reason)
    say = print_progress if as_json else print_line
    limit_s = 0.0 if no_wait else timeout.time.total_seconds() if timeout.time else float("inf")
    status = WaitStatus()
    try:
        if not no_wait:
            with reported("Waiting", print_progress, every_s=60):
                status = wait_for([lambda: found.status(state)], limit_s=limit_s, progress=say)
    except KeyboardInterrupt:
        error_console().print(f"Interrupted; the scaler goes on until {name} is {state}.", style="yellow", markup=False)
        raise typer.Exit(130) from None
    if as_json:
        write_json(
            {
                "environment": name,
                "target": connection.target,
                "command": document.model_dump(mode="json", exclude={"version"}),
                "outcome": "written" if no_wait else status.outcome,
                "seconds": round(time.monotonic() - began),
                "awaited": status.awaited,
                "failures": status.failures,
                **status.data,
            }
        )
    elif no_wait:
        print_line(f"{name}: the scaler reads the command every 15 s.")
    elif status.outcome == "done":
        print_line(f"{name} is {state}, after {time.monotonic() - began:.0f} s.")
    else:
        for line in status.failures or status.awaited:
            error_console().print(line, style="yellow", markup=False)
        error_console().print(f"{name} is not {state} yet. The scaler goes on.", style="yellow", markup=False)
    raise typer.Exit(EXIT_CODES[status.outcome])
