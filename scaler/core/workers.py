# SPDX-License-Identifier: Apache-2.0
"""The role of each worker of a service, from ECS's tasks, their protection and the agents' states.

A task with desired status STOPPED is no capacity and is left out. Every unknown is classified on the safe side: a
worker with an unreadable agent may be busy, and an unprotected task is about to be protected, unless its agent
reports that it has released its protection.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scaler.core.model import AgentState, FleetPolicy, Known, Phase, ServiceObservation, Task, Unknown
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
DRAIN_PHASES = frozenset({"draining", "releasing", "released"})


@dataclass(frozen=True, slots=True)
class ClassifiedWorker:
    """One task of the service with desired status RUNNING."""

    arn: str
    role: Role
    pending: bool
    """ECS has not started it yet."""
    protected: bool | None
    """ECS's task protection; None when it is unknown."""
    agent: AgentState | None
    idle_since: float
    """Since when it consumes and runs nothing; now for any other worker."""
    old_revision: bool
    resumed: bool
    """A resume was posted, and its agent does not consume yet."""
    served: bool = False
    """It has consumed: it is not a worker that starts."""
    failing: bool = False
    """It starts, and no start of its service has succeeded for the launch deadline, however often ECS tried again."""

    @property
    def load(self) -> int:
        """Tasks that it runs, has reserved, or holds until their time."""
        agent = self.agent
        return 0 if agent is None else max(agent.running, agent.reserved, agent.scheduled)

    @property
    def unread(self) -> bool:
        """Whether it counts as capacity, may be busy or dead, and does not answer."""
        counted = self.role in ("unknown", "launching") and self.agent is None and not self.pending
        return counted and (self.protected is True or self.served)

    @property
    def stoppable(self) -> bool:
        """Whether it has given up its protection for good: ECS may stop it."""
        return self.role in ("released", "stopping") and not self.protected

    @property
    def never_started(self) -> bool:
        """Whether ECS starts no worker within the launch deadline: it is not about to be protected."""
        return self.pending and (self.role == "stuck" or self.failing)


@dataclass(frozen=True, slots=True)
class ClassifiedWorkers:
    """All workers of a service, in the order of their ARNs."""

    all: tuple[ClassifiedWorker, ...]

    def of(self, *roles: Role) -> tuple[ClassifiedWorker, ...]:
        """Return the workers in these roles."""
        return tuple([worker for worker in self.all if worker.role in roles])

    @property
    def serving_soon(self) -> tuple[ClassifiedWorker, ...]:
        """The workers that serve, or start and will probably serve."""
        return tuple(worker for worker in self.of("launching", "consuming", "unknown") if not worker.failing)

    @property
    def starting(self) -> tuple[ClassifiedWorker, ...]:
        """The workers that start and have never consumed."""
        return tuple(w for w in self.of("launching", "stuck") if not (w.resumed or w.served))

    @property
    def pending(self) -> tuple[ClassifiedWorker, ...]:
        """The workers that ECS has not started yet."""
        return tuple(worker for worker in self.all if worker.pending)

    @property
    def running(self) -> tuple[ClassifiedWorker, ...]:
        """The workers that ECS has started."""
        return tuple(worker for worker in self.all if not worker.pending)

    @property
    def protected_minimum(self) -> int:
        """Protected + about to be protected: every worker except the stoppable ones and those ECS cannot start."""
        return sum(1 for worker in self.all if not worker.stoppable and not worker.never_started)

    def counts(self) -> WorkerCounts:
        """Return the number of workers in each state, and their slots."""
        roles = Counter(worker.role for worker in self.all)
        consuming = [worker for worker in self.all if worker.role == "consuming" and worker.agent]
        busy = sum(1 for worker in consuming if worker.load)
        total = sum(worker.agent.concurrency for worker in consuming if worker.agent)
        running = sum(worker.agent.running for worker in consuming if worker.agent)
        protection = [worker.protected for worker in self.all if not worker.pending]
        return WorkerCounts(
            starting=roles["launching"] + roles["stuck"],
            stuck=roles["stuck"] + sum(1 for worker in self.all if worker.failing),
            consuming_idle=len(consuming) - busy,
            busy=busy,
            draining=roles["draining"],
            released=roles["released"],
            unknown=roles["unknown"] + roles["stopping"],
            protected=None if None in protection else sum(1 for protected in protection if protected),
            slots_total=total,
            slots_free=max(0, total - running),
        )


def starts_fail(fleet: FleetPolicy, state: ServiceState, now: float) -> bool:
    """Return whether no start of the service has succeeded for the launch deadline."""
    return state.failing_since is not None and now - state.failing_since >= fleet.launch_deadline_s


def classify_workers(
    fleet: FleetPolicy, observation: ServiceObservation, state: ServiceState, now: float
) -> ClassifiedWorkers | None:
    """Classify every task with desired status RUNNING; None when the tasks are unknown in this tick."""
    if not isinstance(observation.tasks, Known):
        return None
    service = observation.service
    primary = None if isinstance(service, Unknown) else service.value.primary
    workers = []
    for task in sorted(observation.tasks.value, key=lambda task: task.arn):
        if task.desired_status != "RUNNING":
            continue
        old = primary is not None and bool(task.task_definition) and task.task_definition != primary.task_definition
        workers.append(_classify(fleet, task, observation, state, now, old_revision=old))
    return ClassifiedWorkers(tuple(workers))


def _classify(
    fleet: FleetPolicy,
    task: Task,
    observation: ServiceObservation,
    state: ServiceState,
    now: float,
    *,
    old_revision: bool,
) -> ClassifiedWorker:
    reading = observation.agents.get(task.arn)
    agent = reading.value if isinstance(reading, Known) else None
    protection = observation.protected
    protected = task.arn in protection.value if isinstance(protection, Known) else None
    pending = task.last_status in PENDING
    role = _role(task, agent, protected=protected, state=state)
    idle_since = now
    if role == "launching":
        started, deadline = _launch_clock(fleet, task.arn, agent, state)
        role = "stuck" if now - started.get(task.arn, now) > deadline else "launching"
    elif role == "consuming" and agent is not None and not (agent.running or agent.reserved or agent.scheduled):
        idle_since = state.idle.get(task.arn, now)
    resumed = task.arn in state.resumes and not pending and (agent is None or agent.phase in DRAIN_PHASES)
    served = task.arn in state.served
    failing = role == "launching" and not (resumed or served) and starts_fail(fleet, state, now)
    return ClassifiedWorker(
        task.arn, role, pending, protected, agent, idle_since, old_revision, resumed, served, failing
    )


def _launch_clock(
    fleet: FleetPolicy, arn: str, agent: AgentState | None, state: ServiceState
) -> tuple[Mapping[str, float], float]:
    """Return start times and deadline: a resumed worker has its drain lease, a new worker the launch deadline."""
    if arn in state.resumes and agent is not None and agent.phase in DRAIN_PHASES:
        return state.resumes, min(fleet.drain_lease_s, fleet.launch_deadline_s)
    return state.launching, fleet.launch_deadline_s


def _role(task: Task, agent: AgentState | None, *, protected: bool | None, state: ServiceState) -> Role:
    if task.last_status in PENDING:
        return "launching"
    if task.last_status != "RUNNING":
        return "stopping"
    draining = task.arn in state.drains
    if agent is None:
        # A worker that has just started is unprotected and does not answer.
        return "draining" if draining else "launching" if protected is False else "unknown"
    if agent.phase in DRAIN_PHASES and task.arn in state.resumes:
        return "launching"
    return "draining" if agent.phase == "consuming" and draining else ROLE_OF_PHASE[agent.phase]
