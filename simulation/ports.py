# SPDX-License-Identifier: Apache-2.0
"""The scaler's ports in the simulation; each call has latency, faults and a deadline of its own."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from local_ecs.model import EcsError, TaskStatus
from scaler.core.forecast.plan import ActiveTask, AirflowPlan, DagShape, RunInProgress
from scaler.core.model import AgentState, BrokerCount, DatabaseCount, Deployment, Overrides, Service, Task
from scaler.errors import AbsentError, BadAnswerError, DeadlineError, SourceError, ThrottledError
from simulation.fake_ecs import CLUSTER, FakeEcs
from simulation.fault_injection import CallOutcome, FaultInjector
from simulation.negative_controls import DisabledSafeguard
from simulation.queue import SimulatedQueue
from simulation.worker import SimulatedWorker
from worker_agent.state_machine import Drain, Phase, Resume

T = TypeVar("T")
DEADLINE_S = 2.0
START = datetime(2026, 1, 1, tzinfo=UTC)


class SimulatedClock:
    """The loop's clock, and a time of day that tests can change."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.wall_offset_s = 0.0
        self.monotonic_offset_s = 0.0

    def monotonic(self) -> float:
        """Return seconds; an offset simulates a broken monotonic clock."""
        return self._loop.time() + self.monotonic_offset_s

    def wall(self) -> datetime:
        """Return the time of day."""
        return START + timedelta(seconds=self._loop.time() + self.wall_offset_s)


@dataclass
class FaultyLink:
    """The connection to the sources, with their faults."""

    rng: random.Random
    faults: FaultInjector
    kill: Callable[[], None] = lambda: None
    """Ends the scaler's process during a call."""
    kill_in: int | None = None
    """Ends it after this many places; each call has two, before and after its effect."""
    calls: dict[str, int] = field(default_factory=dict)

    async def call(self, source: str, perform: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
        """Perform one call; raise SourceError for a fault."""
        self.calls[source] = self.calls.get(source, 0) + 1
        rates = self.faults.of(source)
        outcome = rates.draw(self.rng)
        if outcome is CallOutcome.FAILS and rates.throttled:
            outcome = rates.draw(self.rng)  # botocore's second attempt
        latency_s = self.rng.uniform(*rates.latency_s) if self.rng.random() < rates.slow else 0.0
        await self._maybe_kill()
        if outcome is CallOutcome.FAILS:
            await asyncio.sleep(latency_s)
            raise (ThrottledError if rates.throttled else SourceError)(source, rates.reason)
        if outcome is CallOutcome.SILENT or latency_s > deadline_s:
            await self._miss_deadline(source, deadline_s)
        if outcome is CallOutcome.LATE:
            asyncio.get_running_loop().call_later(deadline_s + self.rng.uniform(*rates.late_s), _quietly, perform)
            await self._miss_deadline(source, deadline_s)
        before = latency_s > 0.0 and self.rng.random() < 0.5
        if before:
            await asyncio.sleep(latency_s)
        answer = perform()
        if outcome is CallOutcome.ANSWER_LOST:
            await self._miss_deadline(source, deadline_s)
        await self._maybe_kill()
        if latency_s and not before:
            await asyncio.sleep(latency_s)
        return answer

    async def _maybe_kill(self) -> None:
        rates = self.faults.kill_scaler
        due = bool(rates) and self.rng.random() < rates
        if self.kill_in is not None:
            self.kill_in -= 1
            if self.kill_in <= 0:
                due, self.kill_in = True, None
        if due:
            self.kill()
            await asyncio.get_running_loop().create_future()  # until the process has ended

    async def _miss_deadline(self, source: str, deadline_s: float) -> None:
        await asyncio.sleep(deadline_s)
        raise DeadlineError(source, f"no answer within {deadline_s:g} s")


def _quietly(perform: Callable[[], object]) -> None:
    """Perform a late call; its result is ignored."""
    try:
        perform()
    except (EcsError, SourceError):
        return


class SimulatedCluster:
    """The port `ClusterPort`."""

    def __init__(
        self, fake_ecs: FakeEcs, link: FaultyLink, *, disabled: DisabledSafeguard = DisabledSafeguard.NOTHING
    ) -> None:
        self._fake_ecs = fake_ecs
        self._link = link
        self._disabled = disabled
        self.writes: list[tuple[float, str, int, int]] = []
        """(when, service, before, after) of every UpdateService that ECS took."""
        self.partial_failures = 0.0
        """The probability of each task to be in the `failures` of an answer with HTTP 200."""

    async def service(self, name: str) -> Service:
        """Return the service as DescribeServices does."""
        return await self._link.call("ecs", lambda: self._service(name))

    async def tasks(self, service: str) -> tuple[Task, ...]:
        """Return the tasks whose desired status is RUNNING."""
        return await self._link.call("ecs", lambda: self._tasks(service))

    async def protected(self, arns: Sequence[str], *, for_s: float = 0.0) -> frozenset[str]:
        """Return those of the tasks that are protected for at least `for_s` seconds."""
        if not arns:
            return frozenset()
        return await self._link.call("ecs", lambda: self._protected(arns, for_s))

    async def set_desired(self, service: str, desired: int) -> None:
        """Write the desired count."""
        await self._link.call("ecs", lambda: self._set_desired(service, desired))

    async def stop(self, arn: str, reason: str) -> None:
        """Stop one task."""
        await self._link.call("ecs", lambda: self._fake_ecs.stop_task(arn, reason))

    def _service(self, name: str) -> Service:
        self._fake_ecs.advance()
        ecs = self._fake_ecs.ecs
        try:
            found = ecs.services.get(name, cluster=CLUSTER)
        except EcsError as error:
            raise AbsentError("ecs", f"service {name} is absent: {error.code}") from error
        counts = ecs.services.counts(found)
        deployments = tuple(
            Deployment(
                "ACTIVE" if number else "PRIMARY", deployment.task_definition_arn, deployment.rollout_state.value
            )
            for number, deployment in enumerate(found.deployments)
        )
        return Service(found.desired_count, counts.running, counts.pending, deployments)

    def _tasks(self, service: str) -> tuple[Task, ...]:
        try:
            found = self._fake_ecs.tasks(service)
        except EcsError as error:
            raise SourceError("ecs", error.code) from error
        return tuple(
            Task(task.arn, task.status.value, task.desired_status, "10.0.0.1", task.task_definition_arn)
            for task in sorted(found, key=lambda task: task.arn)
        )

    def _protected(self, arns: Sequence[str], for_s: float) -> frozenset[str]:
        self._fake_ecs.advance()
        now = self._fake_ecs.ecs.now + for_s
        if self._disabled is DisabledSafeguard.PROTECTION:
            return frozenset(arn for arn in arns if self._reports_protection(arn))
        found = {arn: self._fake_ecs.ecs.task(arn) for arn in arns}
        if any(task is None or task.status is TaskStatus.STOPPED for task in found.values()):
            raise BadAnswerError("ecs", "failures: MISSING")
        if self.partial_failures and any(self._link.rng.random() < self.partial_failures for _ in arns):
            raise BadAnswerError("ecs", "failures: TASK_NOT_VALID")
        return frozenset(arn for arn, task in found.items() if task is not None and task.protected(now))

    def _reports_protection(self, arn: str) -> bool:
        worker = self._fake_ecs.workers.get(arn)
        return worker is not None and worker.state.protected_until is not None

    def _set_desired(self, service: str, desired: int) -> None:
        try:
            before = self._fake_ecs.set_desired(service, desired)
        except EcsError as error:
            raise SourceError("ecs", str(error)) from error
        self.writes.append((self._fake_ecs.ecs.now, service, before, desired))
        if desired > before:
            self._fake_ecs.check_bound(service, desired)


class SimulatedAgents:
    """The port `WorkersPort`."""

    def __init__(self, fake_ecs: FakeEcs, link: FaultyLink) -> None:
        self._fake_ecs = fake_ecs
        self._link = link
        self.unreachable: set[str] = set()
        self.silent: set[str] = set()
        """Workers whose requests have no answer before their deadline."""
        self.wrong_answers: dict[str, dict[str, object]] = {}
        """Task ARN -> wrong fields of its answer."""
        self.before_drain_of_released: Callable[[SimulatedWorker], None] | None = None
        """Happens once, before the next drain that is posted to a released worker."""

    async def state(self, task: Task) -> AgentState:
        """Return the state that the worker reports."""
        return await self._call(task, lambda: self._reach(task)[1])

    async def drain(self, task: Task, lease_s: float) -> AgentState:
        """Post a drain."""
        worker = self._fake_ecs.workers.get(task.arn)
        if (race := self.before_drain_of_released) and worker and worker.state.phase is Phase.RELEASED:
            self.before_drain_of_released = None
            race(worker)
        return await self._call(task, lambda: self._send(task, Drain(lease_s)))

    async def resume(self, task: Task) -> AgentState:
        """Post a resume."""
        return await self._call(task, lambda: self._send(task, Resume()))

    async def _call(self, task: Task, perform: Callable[[], AgentState]) -> AgentState:
        if task.arn in self.silent:
            await asyncio.sleep(DEADLINE_S)
            raise DeadlineError("agent", f"no answer within {DEADLINE_S:g} s")
        return await self._link.call("agent", perform)

    def _send(self, task: Task, command: Drain | Resume) -> AgentState:
        worker, _ = self._reach(task)
        worker.step(command)
        return self._reach(task)[1]

    def _reach(self, task: Task) -> tuple[SimulatedWorker, AgentState]:
        worker = self._fake_ecs.workers.get(task.arn)
        if worker is None or not (worker.alive and worker.listens) or task.arn in self.unreachable:
            raise SourceError("agent", "connection refused")
        state = worker.agent_state()
        wrong = self.wrong_answers.get(task.arn)
        return worker, state if wrong is None else replace(state, **wrong)  # type: ignore[arg-type]


class SimulatedBroker:
    """The port `BrokerPort`; a queue's URL is its fleet's name."""

    def __init__(self, queues: Mapping[str, SimulatedQueue], link: FaultyLink) -> None:
        self._queues = queues
        self._link = link
        self.answer: Callable[[BrokerCount], BrokerCount] = lambda true: true

    async def depth(self, queue_url: str) -> BrokerCount:
        """Return the messages of one queue."""
        return await self._link.call("broker", lambda: self.answer(self._queues[queue_url].depth()))


class SimulatedOverrides:
    """The port `OverridesSource`."""

    def __init__(self, link: FaultyLink) -> None:
        self._link = link
        self.by_fleet: dict[str, Overrides] = {}

    async def read(self, fleets: Sequence[str]) -> Mapping[str, Overrides | SourceError]:
        """Return the overrides of each fleet."""
        try:
            return await self._link.call("overrides", lambda: {f: self.by_fleet.get(f, Overrides()) for f in fleets})
        except SourceError as error:
            return dict.fromkeys(fleets, error)


class SimulatedDatabase:
    """The port `DatabasePort`: every fleet's queue has its fleet's name."""

    def __init__(
        self, queues: Mapping[str, SimulatedQueue], link: FaultyLink, workers: Mapping[str, SimulatedWorker]
    ) -> None:
        self._queues = queues
        self._link = link
        self._workers = workers
        self.answer: Callable[[Mapping[str, DatabaseCount]], Mapping[str, DatabaseCount]] = lambda true: true

    async def counts(self) -> Mapping[str, DatabaseCount]:
        """Return the task instances by queue."""
        return await self._link.call("database", self._counts)

    async def running_on(self, host: str) -> int:
        """Return the task instances that run on a worker; its host name is the end of its task's ARN."""
        return await self._link.call("database", lambda: self._rows_on(host))

    def _rows_on(self, host: str) -> int:
        return sum(worker.rows_running for arn, worker in self._workers.items() if arn.endswith(f"/{host}"))

    def _counts(self) -> Mapping[str, DatabaseCount]:
        return self.answer({name: queue.rows.count() for name, queue in self._queues.items()})


class SimulatedPlan:
    """The port `AirflowPlanPort`: each message is the only task of a run, and no run has ended before."""

    _SHAPE = DagShape("message", upstream=(0,), downstream=((),), instances=(1.0,), durations=(None,))

    def __init__(self, queues: Mapping[str, SimulatedQueue], link: FaultyLink, clock: SimulatedClock) -> None:
        self._queues = queues
        self._link = link
        self._clock = clock
        self._since: dict[tuple[int, bool], float] = {}
        self.answer: Callable[[AirflowPlan], AirflowPlan] = lambda true: true

    async def plan(self, queues: frozenset[str], *, headroom: bool = False) -> AirflowPlan:
        """Return the plan of a fleet's queue."""
        return await self._link.call("plan", lambda: self.answer(self._plan(*queues)))

    def _plan(self, queue: str) -> AirflowPlan:
        rows, now = self._queues[queue].rows, self._clock.monotonic()
        tasks = {(number, False) for number in rows.queued} | {(number, True) for number in rows.running}
        self._since = {task: self._since.get(task, now) for task in sorted(tasks)}
        runs = [
            RunInProgress(str(number), self._SHAPE, 0, (ActiveTask(0, since, running=running),))
            for (number, running), since in self._since.items()
        ]
        waiting = [since for (_, running), since in self._since.items() if not running]
        return AirflowPlan(tuple(runs), (), {}, len(runs), min(waiting, default=None))
