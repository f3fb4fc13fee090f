# SPDX-License-Identifier: Apache-2.0
"""Who is who among the tasks of one service: ECS's view, protection and the agents' words brought together.

A task that ECS wants stopped is nobody's capacity and is left out. Everything uncertain is classed on the careful
side: an agent that cannot be read is a worker that may be busy, and an unprotected task is about to be protected
unless its agent says that it was let go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scaler.core.model import AgentState, Fleet, ServiceObservation, Known, Phase, Task, Unknown
from scaler.core.state import ServiceState, WorkerCounts

Role = Literal["launching", "stuck", "consuming", "unknown", "draining", "released", "stopping"]

PENDING = frozenset({"PROVISIONING", "PENDING", "ACTIVATING"})
ROLE_OF_PHASE: Mapping[Phase, Role] = {
    "starting": "launching",
    "refused": "launching",
    "consuming": "consuming",
    "draining": "draining",
    "releasing": "draining",
    "released": "released",
    "stopping": "stopping",
}
LETTING_GO = frozenset({"draining", "releasing", "released"})


@dataclass(frozen=True, slots=True)
class ClassifiedWorker:
    """One task of the service that ECS wants to run."""

    arn: str
    role: Role
    pending: bool
    """ECS has not started it yet."""
    protected: bool | None
    """What ECS says; None when it could not be asked."""
    agent: AgentState | None
    since: float
    """Since when it is launching, resuming, draining or idle; now for any other."""
    old_revision: bool = False
    resumed: bool = False
    """A resume was posted and its agent does not consume yet."""

    @property
    def load(self) -> int:
        """Tasks it runs or has taken."""
        return 0 if self.agent is None else max(self.agent.running, self.agent.reserved)

    @property
    def stoppable(self) -> bool:
        """Whether it will not ask for protection any more: ECS may stop it."""
        return self.role in ("released", "stopping") and not self.protected

    @property
    def never_started(self) -> bool:
        """Whether ECS has not started it within the launch deadline: it is not about to be protected."""
        return self.pending and self.role == "stuck"


@dataclass(frozen=True, slots=True)
class ClassifiedWorkers:
    """All workers, in the order of their ARNs."""

    workers: tuple[ClassifiedWorker, ...]

    def of(self, *roles: Role) -> tuple[ClassifiedWorker, ...]:
        """Return the workers in these roles."""
        return tuple(worker for worker in self.workers if worker.role in roles)

    @property
    def pending(self) -> tuple[ClassifiedWorker, ...]:
        """The workers ECS has not started yet."""
        return tuple(worker for worker in self.workers if worker.pending)

    @property
    def running(self) -> tuple[ClassifiedWorker, ...]:
        """The workers ECS has started."""
        return tuple(worker for worker in self.workers if not worker.pending)

    @property
    def protected_minimum(self) -> int:
        """Protected + about to be protected: every task except those let go and those ECS cannot start."""
        return sum(1 for worker in self.workers if not worker.stoppable and not worker.never_started)

    def counts(self) -> WorkerCounts:
        """Return how many do what, and their slots."""
        roles = Counter(worker.role for worker in self.workers)
        consuming = [worker for worker in self.workers if worker.role == "consuming" and worker.agent]
        busy = sum(1 for worker in consuming if worker.load)
        total = sum(worker.agent.concurrency for worker in consuming if worker.agent)
        running = sum(worker.agent.running for worker in consuming if worker.agent)
        protection = [worker.protected for worker in self.workers if not worker.pending]
        return WorkerCounts(
            starting=roles["launching"] + roles["stuck"],
            stuck=roles["stuck"],
            consuming_idle=len(consuming) - busy,
            busy=busy,
            draining=roles["draining"],
            released=roles["released"],
            unknown=roles["unknown"] + roles["stopping"],
            protected=None if None in protection else sum(1 for each in protection if each),
            slots_total=total,
            slots_free=max(0, total - running),
        )


def classify_workers(
    fleet: Fleet, seen: ServiceObservation, state: ServiceState, now: float
) -> ClassifiedWorkers | None:
    """Class every task that ECS wants to run; None when the tasks are not known in this tick."""
    if not isinstance(seen.tasks, Known):
        return None
    service = seen.service
    primary = None if isinstance(service, Unknown) else service.value.primary
    workers = []
    for task in sorted(seen.tasks.value, key=lambda each: each.arn):
        if task.desired_status != "RUNNING":
            continue
        old = primary is not None and bool(task.task_definition) and task.task_definition != primary.task_definition
        workers.append(_classify(fleet, task, seen, state, now, old_revision=old))
    return ClassifiedWorkers(tuple(workers))


def _classify(
    fleet: Fleet, task: Task, seen: ServiceObservation, state: ServiceState, now: float, *, old_revision: bool
) -> ClassifiedWorker:
    reading = seen.agents.get(task.arn)
    agent = reading.value if isinstance(reading, Known) else None
    asked = seen.protected
    protected = task.arn in asked.value if isinstance(asked, Known) else None
    pending = task.last_status in PENDING
    role = _role(task, agent, protected=protected, state=state)
    since = now
    if role == "launching":
        clock, deadline = _launch_clock(fleet, task.arn, agent, state)
        since = clock.get(task.arn, now)
        role = "stuck" if now - since > deadline else "launching"
    elif role in ("draining", "released"):
        since = state.drains.get(task.arn, now)
    elif role == "consuming" and agent is not None and not (agent.running or agent.reserved):
        since = state.idle.get(task.arn, now)
    back = task.arn in state.resumes and not pending and (agent is None or agent.phase in LETTING_GO)
    return ClassifiedWorker(task.arn, role, pending, protected, agent, since, old_revision, resumed=back)


def _launch_clock(
    fleet: Fleet, arn: str, agent: AgentState | None, state: ServiceState
) -> tuple[Mapping[str, float], float]:
    """A worker called back counts as capacity until its drain lease would have ended, a new one longer."""
    if arn in state.resumes and agent is not None and agent.phase in LETTING_GO:
        return state.resumes, min(fleet.drain_lease_s, fleet.launch_deadline_s)
    return state.launching, fleet.launch_deadline_s


def _role(task: Task, agent: AgentState | None, *, protected: bool | None, state: ServiceState) -> Role:
    if task.last_status in PENDING:
        return "launching"
    if task.last_status != "RUNNING":
        return "stopping"
    draining = task.arn in state.drains
    if agent is None:
        # Unprotected and silent is what a worker looks like that has just been started.
        return "draining" if draining else "launching" if protected is False else "unknown"
    if agent.phase in LETTING_GO and task.arn in state.resumes:
        return "launching"
    return "draining" if agent.phase == "consuming" and draining else ROLE_OF_PHASE[agent.phase]
