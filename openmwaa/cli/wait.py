# SPDX-License-Identifier: Apache-2.0
"""`openmwaa wait`: for a pipeline that has applied, until the environment is what was applied."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Literal

import typer

from openmwaa.cli.output import DEFAULT_FILE, AsJson, EnvironmentPath, Local, console, error_console, write_json
from openmwaa.operate import control_plane, rollouts
from openmwaa.operate.connection import Connection, connect
from openmwaa.operate.override_request import Duration
from openmwaa.operate.waiting import Outcome, WaitStatus
from openmwaa.operate.waiting import wait as wait_for

Awaited = Literal["control-plane", "workers", "all"]

EXIT_CODES: dict[Outcome, int] = {"done": 0, "failed": 1, "unfinished": 3}
_LOOKS = {
    "control-plane": (control_plane.watch,),
    "workers": (rollouts.watch,),
    "all": (control_plane.watch, rollouts.watch),
}
_DONE = {
    "control-plane": "The control plane is healthy.",
    "workers": "Every worker is on the newest revision.",
    "all": "The control plane is healthy, and every worker is on the newest revision.",
}


def _timeout(text: str) -> Duration:
    try:
        return Duration.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def wait(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    awaited: Annotated[
        Awaited,
        typer.Option("--for", help="Health of the control plane, the rollout of workers, or both."),
    ] = "all",
    timeout: Annotated[
        Duration, typer.Option(help="How long to wait; or `forever`.", metavar="TIME", parser=_timeout)
    ] = "6h",  # type: ignore[assignment]  # typer parses a default as it parses what is given
    as_json: AsJson = False,
    local: Local = False,
) -> None:
    """Wait until the control plane is healthy and every worker is on the newest revision. It looks only.

    Exit code 0 when it is so, 3 when it is not yet at the timeout, 1 when waiting will not help: ECS rolled a
    deployment back, or the preparation of the database fails; its last log lines are told then.
    """
    connection = connect(path, local=local)
    began = time.monotonic()
    limit_s = timeout.time.total_seconds() if timeout.time else float("inf")
    looks = [partial(look, connection) for look in _LOOKS[awaited]]
    try:
        seen = wait_for(looks, limit_s=limit_s, say=_silent if as_json else _say)
    except KeyboardInterrupt:
        error_console().print("Interrupted; the environment goes on with what it does.", style="yellow")
        raise typer.Exit(130) from None
    if as_json:
        _write(connection, awaited, seen, time.monotonic() - began)
    else:
        _tell(awaited, seen)
    raise typer.Exit(EXIT_CODES[seen.outcome])


def _tell(awaited: Awaited, seen: WaitStatus) -> None:
    if seen.outcome == "done":
        _say(_DONE[awaited])
        return
    for line in seen.failures or seen.awaited:
        error_console().print(line, style="red" if seen.failures else "yellow", markup=False)
    if not seen.failures:
        error_console().print("Not finished at the timeout.", style="yellow")


def _write(connection: Connection, awaited: Awaited, seen: WaitStatus, seconds: float) -> None:
    write_json(
        {
            "environment": connection.environment.name,
            "place": "local" if connection.local else connection.environment.region,
            "for": awaited,
            "outcome": seen.outcome,
            "seconds": round(seconds),
            "awaited": list(seen.awaited),
            "failures": list(seen.failures),
            **seen.data,
        }
    )


def _say(line: str) -> None:
    console().print(line, markup=False)


def _silent(_line: str) -> None:
    return None
