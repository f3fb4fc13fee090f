# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local demo`: runs a burst of tasks and shows how the workers scale out and in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath
from openmwaa.cli.output import console, print_line
from openmwaa.commands import command
from openmwaa.config.environment_file import load

if TYPE_CHECKING:
    from openmwaa.local.demo.run import DemoResult
    from openmwaa.local.demo.summary import BurstResult
    from openmwaa.local.demo.table import DemoSnapshot

_LINE_EVERY_S = 5.0
_AGAIN_AFTER_S = 90.0
"""The workers leave before the look-ahead starts those of the second burst."""


def demo(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    tasks: Annotated[int, typer.Option(help="The number of tasks.", min=1, max=1000)] = 60,
    seconds: Annotated[float, typer.Option(help="The duration of each task, in seconds.", min=0)] = 10.0,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the environment running.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Run one burst, without a scheduled one after it.")] = False,
    out: Annotated[Path, typer.Option(help="The folder for demo.json and the picture demo.svg.")] = Path("build"),
) -> None:
    """Start the environment, run two bursts of tasks, wait for the scale-in, and count tasks and workers.

    The second burst is a scheduled run: with `look_ahead: "on"` it finds its workers there.

    Exit codes: 0 every task succeeded at its first try, and none was lost, duplicated or interrupted; 1 otherwise.
    """
    from openmwaa.local.demo.run import Burst, Demonstration, endpoints_of  # noqa: PLC0415 - needs the extra `local`
    from openmwaa.local.down import down  # noqa: PLC0415
    from openmwaa.local.up import up  # noqa: PLC0415
    from openmwaa.operate.sleep import wake_here  # noqa: PLC0415

    environment = load(path)
    ready = up(path, progress=print_line, wake=partial(wake_here, path, print_line))
    try:
        print_line(f"{environment.name} is up after {ready.seconds:.0f} s: {ready.web_address}")
        print_line(f"How many workers, and why: {ready.scaler_address}\n")
        out.mkdir(parents=True, exist_ok=True)
        with _shown(out / "demo.svg") as show:
            demonstration = Demonstration(
                environment,
                endpoints_of(ready, environment),
                Burst(tasks, seconds, again_after_s=None if once else _AGAIN_AFTER_S),
                journal_path=ready.paths.task_journal,
                show=show,
            )
            outcome = asyncio.run(demonstration.run(up_s=ready.seconds))
        (out / "demo.json").write_text(json.dumps(asdict(outcome.summary), indent=2) + "\n", encoding="utf-8")
        _print(outcome, out)
        _print_next(path, ready.web_address if keep else None, iam=environment.web_access.uses_iam)
    finally:
        if not keep:
            down(ready.paths, delete_data=False, progress=print_line)
    if not outcome.summary.is_flawless:
        raise typer.Exit(1)


def _print_next(path: Path, address: str | None, *, iam: bool) -> None:
    """Print the next commands; without an address the environment is stopped."""
    if address is not None:
        print_line(f"The environment keeps running: {address}, user admin.")
        print_line(f"Log in: {command(*(('login',) if iam else ('local', 'password')), file=path)}")
        print_line(f"Stop it: {command('local', 'down', file=path)}")
    else:
        print_line(f"Start it again: {command('local', 'up', file=path)}")
    print_line(f"Then compare policies and settings on this history: {command('whatif', file=path)}")


@contextmanager
def _shown(picture: Path) -> Iterator[Callable[[DemoSnapshot], None]]:
    """Draw the state: a live table on a terminal, else a line every 5 s; save the busiest state as a picture."""
    from openmwaa.local.demo.table import line, render  # noqa: PLC0415

    out = console()
    busiest: list[DemoSnapshot] = []
    printed: list[tuple[float, str]] = []

    def remember(view: DemoSnapshot) -> None:
        if not busiest or view.busy > busiest[0].busy:
            busiest[:] = [view]

    def print_snapshot(view: DemoSnapshot) -> None:
        remember(view)
        reasons = " ".join(f"{fleet.workers.total if fleet.workers else '?'}{fleet.reason}" for fleet in view.fleets)
        if not printed or view.elapsed_s - printed[-1][0] >= _LINE_EVERY_S or reasons != printed[-1][1]:
            printed[:] = [(view.elapsed_s, reasons)]
            out.print(line(view), markup=False)

    if out.is_terminal:
        with Live(console=out, refresh_per_second=4) as live:

            def draw(view: DemoSnapshot) -> None:
                remember(view)
                live.update(render(view))

            yield draw
    else:
        yield print_snapshot
    if busiest:
        canvas = Console(record=True, width=100, file=Path("/dev/null").open("w", encoding="utf-8"))  # noqa: SIM115
        canvas.print(render(busiest[0]))
        canvas.save_svg(str(picture), title="openmwaa local demo")


def _print(outcome: DemoResult, out: Path) -> None:
    from openmwaa.local.demo.table import history_line  # noqa: PLC0415

    summary = outcome.summary
    counts = (
        f"{summary.tasks_lost} lost, {summary.tasks_duplicated} duplicated, {summary.tasks_interrupted} interrupted"
    )
    states = f"{summary.tasks_succeeded} succeeded, {summary.tasks_failed} failed, {summary.tasks_retried} retried"
    table = Table(show_header=False, box=None)
    for name, value in (
        ("tasks", states),
        ("task journal", counts),
        ("workers", f"{summary.workers_min} → {summary.workers_peak} → {summary.workers_end}"),
        ("over time", history_line(outcome.history)),
        *((f"{burst.run} burst", _burst(burst)) for burst in summary.bursts),
        ("backlog to UpdateService", _seconds(summary.backlog_to_update_service_s)),
        ("environment up in", _seconds(summary.up_s)),
        ("total", _seconds(summary.total_s)),
    ):
        table.add_row(name, value)
    if outcome.log_task:
        table.add_row("log of a removed worker", f"{outcome.log_task}: {outcome.log_line}")
    shown = console()
    shown.print()
    shown.print(table)
    shown.print(f"Wrote {out / 'demo.json'}, {out / 'demo.svg'}")


def _burst(burst: BurstResult) -> str:
    wait = burst.wait_s
    waits = f"mean {wait.mean:.3g}, p95 {wait.p95:.3g}, max {wait.max:.3g} s" if wait else "unknown"
    workers = "unknown" if burst.workers_at_start is None else burst.workers_at_start
    return f"{workers} workers there; wait: {waits}"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g} s"
