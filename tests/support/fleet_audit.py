# SPDX-License-Identifier: Apache-2.0
"""Checks the actions of an ECS on a fleet: no worker that runs a task is ever stopped.

It reads the journal of the ECS and the journal of the tasks only, not the state of Celery, the agents or the scaler.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from local_ecs.api import Entry
from openmwaa.local.task_journal import JournalEntry

OPERATOR = "operator"
"""Application id of a client that is not the scaler."""


@dataclass
class WorkerTask:
    """One task of the fleet's services, as in ECS."""

    arn: str
    address: str
    service: str
    started_at: float
    protections: list[tuple[float, bool]] = field(default_factory=list)
    """When ECS granted (True) or cleared (False) its protection."""
    refusals: list[float] = field(default_factory=list)
    running: bool = False
    stopping_at: float | None = None
    stopped: bool = False
    exit_codes: dict[str, int | None] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether its desiredStatus is RUNNING and it has not ended."""
        return self.stopping_at is None and not self.stopped

    @property
    def protected(self) -> bool:
        """Whether it is protected."""
        return bool(self.protections) and self.protections[-1][1]

    @property
    def released(self) -> bool:
        """Whether it was protected and has been released."""
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
    """Replays a journal; `violations` has one sentence for each violation."""

    def __init__(self, entries: Iterable[Entry], *services: str, task_journal: Iterable[JournalEntry] = ()) -> None:
        self.services = services
        self.tasks: dict[str, WorkerTask] = {}
        self.scale_ins: list[ScaleIn] = []
        self.scale_outs: list[tuple[int, int]] = []
        self.most_running = 0
        self.violations: list[str] = []
        for entry in entries:
            self._replay(entry)
        for line in task_journal:
            self._check(line)

    def task_at(self, address: str) -> WorkerTask:
        """Return the task that had an address; ECS gave each another."""
        return next(task for task in self.tasks.values() if task.address == address)

    @property
    def stopped_by_ecs(self) -> set[str]:
        """ARNs of the tasks that ECS stopped."""
        return {task.arn for task in self.tasks.values() if task.stopping_at is not None}

    def _replay(self, entry: Entry) -> None:
        detail = entry.detail
        if entry.kind == "UpdateService" and detail["service"] in self.services:
            self._updated(detail["service"], detail["desired_before"], detail["desired"], detail["caller"])
        service = str(detail.get("group", "")).removeprefix("service:")
        if service not in self.services:
            return
        if entry.kind == "TaskStarted":
            self.tasks[detail["task"]] = WorkerTask(detail["task"], detail["address"], service, entry.at)
            return
        task = self.tasks[detail["task"]]
        match entry.kind:
            case "TaskRunning":
                task.running = True
                self.most_running = max(self.most_running, sum(worker.running for worker in self.tasks.values()))
            case "Protection" if detail["refused"]:
                task.refusals.append(entry.at)
            case "Protection":
                task.protections.append((entry.at, detail["enabled"]))
            case "StopTask":
                self.violations.append(f"a caller used StopTask for {task.arn}")
            case "TaskStopping":
                self._stopping(task, entry)
            case "TaskStopped":
                task.running, task.stopped, task.exit_codes = False, True, detail["exit_codes"]

    def _updated(self, service: str, before: int, after: int, caller: str) -> None:
        if after > before:
            self.scale_outs.append((before, after))
        if after >= before or caller == OPERATOR:
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

    def _stopping(self, task: WorkerTask, entry: Entry) -> None:
        task.stopping_at = entry.at
        if task.protected:
            self.violations.append(f"ECS stopped {task.arn}, which is protected")
        if entry.detail["code"] != "ServiceSchedulerInitiated":
            self.violations.append(f"{task.arn} was stopped by {entry.detail['code']}: {entry.detail['reason']}")

    def _check(self, line: JournalEntry) -> None:
        task = self.task_at(line.worker)
        if not task.protected_at(line.at):
            self.violations.append(f"{line.task}: {line.event} on {task.arn}, which was not protected")
