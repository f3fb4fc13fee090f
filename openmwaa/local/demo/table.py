# SPDX-License-Identifier: Apache-2.0
"""The live table: backlog, slots, workers by state, and the scaler's last decision with its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_BARS = " ▁▂▃▄▅▆▇█"
_STYLES: Final = {"busy": "green", "idle": "cyan", "starting": "yellow", "draining": "magenta", "unknown": "red"}
_STATES: Final = ("starting", "busy", "consuming_idle", "draining", "released", "unknown")


@dataclass(frozen=True)
class FleetWorkers:
    """The workers of a fleet, by state."""

    starting: int = 0
    busy: int = 0
    idle: int = 0
    draining: int = 0
    unknown: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int | None]) -> Self | None:
        """Read the scaler's counts; None if it could not read every task."""
        known = {state: number for state in _STATES if (number := counts[state]) is not None}
        if len(known) < len(_STATES):
            return None
        return cls(
            starting=known["starting"],
            busy=known["busy"],
            idle=known["consuming_idle"],
            draining=known["draining"] + known["released"],
            unknown=known["unknown"],
        )

    @property
    def total(self) -> int:
        """Return the number of all workers."""
        return self.starting + self.busy + self.idle + self.draining + self.unknown

    def as_text(self) -> Text:
        """Draw one block per worker, coloured by its state."""
        return Text.assemble(*(("■ " * getattr(self, state), style) for state, style in _STYLES.items()))


@dataclass(frozen=True)
class FleetView:
    """One fleet of the scaler's `GET /v1/fleets`."""

    name: str
    desired: int | None
    minimum: int
    maximum: int
    queued: int | None
    running: int | None
    slots: int | None
    free: int | None
    workers: FleetWorkers | None
    reason: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read one fleet of the scaler's answer; unknown numbers are None."""
        demand = document.get("demand") or {}
        slots = document.get("slots") or {}
        return cls(
            name=document["fleet"],
            desired=document["desired"],
            minimum=document["min"],
            maximum=document["max"],
            queued=demand.get("queued"),
            running=demand.get("running"),
            slots=slots.get("total"),
            free=slots.get("free"),
            workers=FleetWorkers.of(document["workers"]),
            reason=document["reason"] or "",
        )


@dataclass(frozen=True)
class DemoSnapshot:
    """The state of the demonstration at one time."""

    elapsed_s: float
    phase: str
    done: int
    total: int
    fleets: Sequence[FleetView] = ()
    history: Sequence[int] = field(default=())

    @property
    def busy(self) -> int:
        """Return the number of busy workers."""
        return sum(fleet.workers.busy for fleet in self.fleets if fleet.workers)


def _total(workers: FleetWorkers | None) -> str:
    return _number(workers.total if workers else None)


def _activities(workers: FleetWorkers | None) -> str:
    if workers is None:
        return "states unknown"
    return f"{workers.busy} busy, {workers.idle} idle, {workers.starting} starting, {workers.draining} draining"


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def history_line(history: Sequence[int], width: int = 60) -> str:
    """Draw the workers of every second as a line of blocks, reduced to at most `width` characters."""
    if not history:
        return ""
    step = max(1, -(-len(history) // width))
    reduced = [max(history[at : at + step]) for at in range(0, len(history), step)]
    maximum = max(*reduced, 1)
    return "".join(_BARS[round(value / maximum * (len(_BARS) - 1))] for value in reduced)


def render(view: DemoSnapshot) -> RenderableType:
    """Draw the state as a panel that fits any terminal."""
    table = Table(expand=True, box=None, pad_edge=False)
    table.add_column("fleet")
    for title in ("queued", "running", "free slots", "workers (bounds)"):
        table.add_column(title, justify="right")
    table.add_column("", ratio=1)
    for fleet in view.fleets:
        table.add_row(
            fleet.name,
            _number(fleet.queued),
            _number(fleet.running),
            f"{_number(fleet.free)} of {_number(fleet.slots)}",
            f"{_total(fleet.workers)} → {_number(fleet.desired)} ({fleet.minimum} to {fleet.maximum})",
            fleet.workers.as_text() if fleet.workers else Text("unknown"),
        )
    legend = Text("  ").join(
        Text.assemble(("■", _STYLES[state]), f" {state}") for state in _STYLES if state != "unknown"
    )
    bar = ProgressBar(total=max(view.total, 1), completed=view.done, width=40)
    progress = Table.grid(padding=(0, 1))
    progress.add_row("tasks", bar, f"{view.done} of {view.total}", Text(view.phase, style="dim"))
    decisions = [Text(f"reason: {fleet.reason}", style="bold") for fleet in view.fleets if fleet.reason]
    workers = Text(f"workers over time  {history_line(view.history)}", style="dim")
    return Panel(
        Group(table, legend, Text(), progress, *decisions, workers),
        title=f"openmwaa · {view.elapsed_s:.0f} s",
        title_align="left",
        border_style="blue",
    )


def line(view: DemoSnapshot) -> str:
    """Write the state as one line, for a log or a pipe."""
    fleets = "; ".join(
        f"{fleet.name}: {_number(fleet.queued)} queued, {_number(fleet.running)} running, "
        f"workers {_total(fleet.workers)} → {_number(fleet.desired)} ({_activities(fleet.workers)}): {fleet.reason}"
        for fleet in view.fleets
    )
    return f"{view.elapsed_s:5.0f} s  {view.done} of {view.total} tasks done  {fleets or view.phase}"
