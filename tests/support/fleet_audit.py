# SPDX-License-Identifier: Apache-2.0
"""Holds what an ECS did with a fleet to the promise: no worker that works is ever stopped.

Reads ECS's journal and the tasks' ledger only; nothing that Celery, the agents or the scaler believe counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from local_ecs.api import Entry
from openmwaa.local.task_journal import Line

OPERATOR = "operator"
"""Application id of a client other than the scaler."""


@dataclass
class Seen:
    """One task of the fleet's services, as ECS saw it."""

    arn: str
    address: str
    service: str
    started_at: float
    protections: list[tuple[float, bool]] = field(default_factory=list)
    """When ECS granted (True) or took back (False) its protection, as asked."""
    refusals: list[float] = field(default_factory=list)
    running: bool = False
    stopping_at: float | None = None
    stopped: bool = False
    exit_codes: dict[str, int | None] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether its desired status is RUNNING and it has not ended."""
        return self.stopping_at is None and not self.stopped

    @property
    def protected(self) -> bool:
        """Whether it is protected now."""
        return bool(self.protections) and self.protections[-1][1]

    @property
    def released(self) -> bool:
        """Whether it was protected and gave that back."""
        return bool(self.protections) and not self.protections[-1][1]

    def protected_at(self, at: float) -> bool:
        """Return whether it was protected at a time (seconds since the epoch)."""
        return next((enabled for since, enabled in reversed(self.protections) if since <= at), False)


@dataclass(frozen=True)
class ScaleIn:
    """The scaler lowered the desired count of a service."""

    service: str
    before: int
    after: int
    released: frozenset[str]


class Audit:
    """Replays a journal; `violations` describes each violation in a sentence."""

    def __init__(self, entries: Iterable[Entry], *services: str, ledger: Iterable[Line] = ()) -> None:
        self.services = services
        self.tasks: dict[str, Seen] = {}
        self.scale_ins: list[ScaleIn] = []
        self.scale_outs: list[tuple[int, int]] = []
        self.most_running = 0
        self.violations: list[str] = []
        for entry in entries:
            self._replay(entry)
        for line in ledger:
            self._check(line)

    def task_at(self, address: str) -> Seen:
        """Return the task that had an address; ECS gave each another."""
        return next(task for task in self.tasks.values() if task.address == address)

    @property
    def stopped_by_ecs(self) -> set[str]:
        """ARNs of the tasks that ECS stopped."""
        return {task.arn for task in self.tasks.values() if task.stopping_at is not None}

    def _replay(self, entry: Entry) -> None:
        detail = entry.detail
        if entry.kind == "UpdateService" and detail["service"] in self.services:
            self._updated(detail["service"], detail["desired_before"], detail["desired"], detail["who"])
        service = str(detail.get("group", "")).removeprefix("service:")
        if service not in self.services:
            return
        if entry.kind == "TaskStarted":
            self.tasks[detail["task"]] = Seen(detail["task"], detail["address"], service, entry.at)
            return
        task = self.tasks[detail["task"]]
        match entry.kind:
            case "TaskRunning":
                task.running = True
                self.most_running = max(self.most_running, sum(each.running for each in self.tasks.values()))
            case "Protection" if detail["refused"]:
                task.refusals.append(entry.at)
            case "Protection":
                task.protections.append((entry.at, detail["enabled"]))
            case "StopTask":
                self.violations.append(f"StopTask was called for {task.arn}")
            case "TaskStopping":
                self._stopping(task, entry)
            case "TaskStopped":
                task.running, task.stopped, task.exit_codes = False, True, detail["exit_codes"]

    def _updated(self, service: str, before: int, after: int, who: str) -> None:
        if after > before:
            self.scale_outs.append((before, after))
        if after >= before or who == OPERATOR:
            return
        live = [task for task in self.tasks.values() if task.live and task.service == service]
        free = {task.arn for task in live if not task.protected}
        released = {task.arn for task in live if task.released}
        self.scale_ins.append(ScaleIn(service, before, after, frozenset(released)))
        if free - released:
            self.violations.append(f"desired {before} -> {after} while unprotected and not released: {free - released}")
        # One more may have released itself between the scaler's look and its write: it works no more than the others.
        if before - after > len(released):
            self.violations.append(f"desired {before} -> {after}, but {len(released)} were released")

    def _stopping(self, task: Seen, entry: Entry) -> None:
        task.stopping_at = entry.at
        if task.protected:
            self.violations.append(f"ECS stopped {task.arn}, which is protected")
        if entry.detail["code"] != "ServiceSchedulerInitiated":
            self.violations.append(f"{task.arn} was stopped by {entry.detail['code']}: {entry.detail['reason']}")

    def _check(self, line: Line) -> None:
        task = self.task_at(line.worker)
        if not task.protected_at(line.at):
            self.violations.append(f"{line.task}: {line.event} on {task.arn}, which was not protected")
