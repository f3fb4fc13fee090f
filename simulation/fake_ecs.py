# SPDX-License-Identifier: Apache-2.0
"""A simulated ECS: tasks become workers, stops become signals, and invariants are checked at every change.

The service scheduler is the worst that AWS's documents allow: it stops any unprotected task, some seconds after the
change of the count, and the new count limits protection at once.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from local_ecs.model import EcsError, EcsModel, EcsSettings, EcsTask, LaunchTask, StopTask, TaskStatus, shuffled
from simulation.fault_injection import CallOutcome, FaultInjector
from simulation.ledger import RunLedger
from simulation.negative_controls import DisabledSafeguard
from simulation.queue import SimulatedQueue
from simulation.worker import SimulatedWorker, WorkerProfile
from worker_agent.state_machine import Call, CallAnswered, ProtectionRequest, ProtectionResult

CLUSTER = "simulated"
AGENT_TIMEOUT_S = 5.0
"""A worker's timeout for the ECS agent, which has a timeout of 4 s itself."""
BOOT_S = (0.5, 4.0)
"""Time from a running container to a worker whose agent listens."""
NOT_ECS = frozenset({"SpotInterruption", "TerminationNotice", "UserInitiated", "EssentialContainerExited"})


@dataclass
class Topology:
    """One fleet's services and queue, and its rollouts."""

    fleet: str
    family: str
    services: tuple[str, ...]
    queue: SimulatedQueue
    profile: WorkerProfile
    launch_s: tuple[float, float] = (5.0, 25.0)
    patience_s: float = 20.0
    """Without other faults, a new revision must consume within one launch and this time."""
    never_empty: bool = True
    """Whether the minimum is at least 1; a fleet with 0 workers waits for a task, not for a launch."""
    maximum: int = 1000
    """The scaler's limit for one service, if no worker needs protection."""
    revision: int = 1
    rolled_at: dict[str, float] = field(default_factory=dict)
    """Task definition ARN -> time of its rollout, until its first worker consumes."""


class FakeEcs:
    """The cluster of a simulation."""

    def __init__(
        self,
        rng: random.Random,
        ledger: RunLedger,
        faults: FaultInjector,
        *,
        settings: EcsSettings,
        disabled: DisabledSafeguard,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._rng = rng
        self._ledger = ledger
        self._faults = faults
        self._disabled = disabled
        self.ecs = EcsModel(settings, picker=shuffled(rng))
        self.ecs.clusters.create(CLUSTER)
        self.topologies: dict[str, Topology] = {}
        """By service name."""
        self.workers: dict[str, SimulatedWorker] = {}
        self.stop_timeout_s = 30.0
        self._due: asyncio.TimerHandle | None = None
        self._protected_until: dict[str, float] = {}
        self._above: dict[str, float] = {}
        self._reported: set[str] = set()
        self.excused_until: dict[str, float] = {}
        """Services whose desired count an injected fault changed: protection may exceed it until this time."""
        self.deleted: set[str] = set()
        self.no_protection_for: set[str] = set()
        """Tasks whose calls for protection fail."""
        self.disturbed_until = -1.0
        """The time until which an injected fault may delay a new revision."""
        self.rollouts_s: list[float] = []

    # --- what the scaler, users and Terraform do

    def create_services(self, topology: Topology, desired: int) -> None:
        """Create a fleet's services; the first one is active."""
        self.ecs.task_definitions.register(topology.family, {"containerDefinitions": [{"name": "worker"}]})
        for number, service in enumerate(topology.services):
            self.ecs.services.create(
                service,
                cluster=CLUSTER,
                task_definition=f"{topology.family}:1",
                desired_count=0 if number else desired,
                minimum_healthy_percent=0,
                maximum_percent=200,
            )
            self.topologies[service] = topology
        self.advance()

    def roll_out(self, topology: Topology, *, same_service: bool = False) -> str | None:
        """Register a revision and deploy it as Terraform does; return the service, None if ECS refused."""
        number = topology.revision + (2 if same_service and len(topology.services) > 1 else 1)
        while topology.revision < number:
            topology.revision += 1
            definition = self.ecs.task_definitions.register(
                topology.family, {"containerDefinitions": [{"name": "worker"}]}
            )
        service = topology.services[(number - 1) % len(topology.services)]
        try:
            self.ecs.services.update(service, cluster=CLUSTER, task_definition=definition.arn)
        except EcsError:
            self._ledger.counts["rollouts_refused"] += 1
            return None
        self._ledger.counts["rollouts"] += 1
        topology.rolled_at = {definition.arn: self._loop.time()}
        self.advance()
        return service

    def set_desired(self, service: str, desired: int) -> int:
        """Write a desired count and return the one before; raise EcsError."""
        self.advance()
        before = self.ecs.services.get(service, cluster=CLUSTER).desired_count
        self.ecs.services.update(service, cluster=CLUSTER, desired_count=desired)
        self.advance()
        self._check(service, f"desired {before} -> {desired}")
        return before

    def write_by_hand(self, service: str, desired: int, *, repair_s: float) -> None:
        """Write the desired count as another client does; the scaler has `repair_s` to correct it."""
        self.excused_until[service] = self._loop.time() + repair_s
        self._ledger.counts["hand_writes"] += 1
        self.set_desired(service, desired)

    def stop_task(self, arn: str, reason: str) -> None:
        """Stop a task as StopTask does; the scaler must not stop one that is protected, runs a task or holds one."""
        worker = self.workers.get(arn)
        if self.protected(arn) or (worker is not None and (worker.rows_running or worker.reserved)):
            self._ledger.breaks(self._loop.time(), f"the scaler stopped {arn}, which works or is protected")
        self._ledger.counts["tasks_stopped"] += 1
        self.ecs.tasks.stop(arn, cluster=CLUSTER, reason=reason)
        self.advance()

    def raise_by_hand(self, service: str, more: int) -> None:
        """Raise the desired count as another client does."""
        self.set_desired(service, self.ecs.services.get(service, cluster=CLUSTER).desired_count + more)

    # --- workers

    def kill(self, worker: SimulatedWorker) -> None:
        """Kill a worker's process with SIGKILL, an injected fault."""
        worker.kill(explained=True)
        self._gone(worker.arn, "OutOfMemory")

    def spot(self, worker: SimulatedWorker) -> None:
        """Interrupt a Spot task: SIGTERM, protected or not, and SIGKILL after the stop timeout."""
        self.ecs.faults.interrupt(worker.arn)
        self.advance()

    def protected(self, arn: str) -> bool:
        """Return whether ECS protects a task now."""
        task = self.ecs.task(arn)
        return task is not None and task.protected(self._loop.time())

    def tasks(self, service: str) -> list[EcsTask]:
        """Return the tasks whose desired status is RUNNING."""
        self.advance()
        return [t for t in self.ecs.services.tasks(self.ecs.services.get(service, cluster=CLUSTER)) if not t.stopping]

    def workers_of(self, topology: Topology) -> list[SimulatedWorker]:
        """Return the fleet's live workers, in a fixed order."""
        keys = dict.fromkeys(topology.services)
        found = []
        for arn, worker in self.workers.items():
            task = self.ecs.task(arn)
            if worker.alive and task is not None and task.service_key is not None and task.service_key[1] in keys:
                found.append(worker)
        return found

    def protect(self, arn: str, call: Call, answer: Callable[[CallAnswered], None]) -> None:
        """Deliver a worker's protection call to ECS and the answer to the worker, each after some time."""
        rates = self._faults.of("protection")
        outcome = rates.draw(self._rng)
        way_s = self._rng.uniform(*rates.latency_s)
        lost = CallAnswered(call.number, ProtectionResult.FAILED, reason="no answer from the ECS agent")
        if outcome is CallOutcome.FAILS or arn in self.no_protection_for:
            self._loop.call_later(way_s, answer, lost)
            return
        if outcome is not CallOutcome.FINE:
            self._loop.call_later(AGENT_TIMEOUT_S, answer, lost)
        if outcome is CallOutcome.SILENT:
            return
        if outcome is CallOutcome.LATE:
            way_s = self._rng.uniform(*rates.late_s)
        self._loop.call_later(way_s, self._arrive, arn, call, answer if outcome is CallOutcome.FINE else None)

    def _arrive(self, arn: str, call: Call, answer: Callable[[CallAnswered], None] | None) -> None:
        worker = self.workers.get(arn)
        if worker is None:
            return
        result = self._perform(arn, call, worker.profile.protection_minutes)
        if answer is not None:
            self._loop.call_later(self._rng.uniform(0.01, 0.1), answer, result)

    def _perform(self, arn: str, call: Call, minutes: int) -> CallAnswered:
        self.advance()
        enable = call.request is ProtectionRequest.PROTECT
        done, failures = self.ecs.protection.update([arn], enabled=enable, minutes=minutes, cluster=CLUSTER)
        task = self.ecs.task(arn)
        service = task.service_key[1] if task is not None and task.service_key is not None else ""
        if done and enable:
            self._protected_until[arn] = self._loop.time() + 60.0 * minutes
            self._check(service, f"{arn} was protected")
        elif done:
            self._protected_until.pop(arn, None)
        self.advance()
        if failures:
            return CallAnswered(
                call.number, ProtectionResult.REFUSED, reason=f"{failures[0].reason}: {failures[0].detail}"
            )
        if not enable:
            return CallAnswered(call.number, ProtectionResult.UNPROTECTED)
        return CallAnswered(call.number, ProtectionResult.PROTECTED, until=self._protected_until[arn])

    # --- time

    def advance(self) -> None:
        """Perform what is due in ECS, and set a timer for the next time."""
        for effect in self.ecs.advance(self._loop.time()):
            match effect:
                case LaunchTask(task):
                    topology = self.topologies[task.service_key[1]] if task.service_key else None
                    if topology is not None:
                        self._loop.call_later(
                            self._rng.uniform(*topology.launch_s), self._task_running, task.arn, topology
                        )
                case StopTask(task):
                    self._stop(task)
        next_due = self.ecs.next_due()
        if self._due is not None:
            if self._due.when() == next_due and not self._due.cancelled():
                return
            self._due.cancel()
        self._due = None if next_due is None else self._loop.call_at(next_due, self._on_timer)

    def _on_timer(self) -> None:
        self._due = None
        self.advance()

    def _task_running(self, arn: str, topology: Topology) -> None:
        task = self.ecs.task(arn)
        if task is None or task.stopping or task.status is TaskStatus.STOPPED:
            self._gone(arn, "")
            return
        self.ecs.task_running(arn)
        self.advance()
        self._loop.call_later(self._rng.uniform(*BOOT_S), self._boot, arn, topology)

    def _boot(self, arn: str, topology: Topology) -> None:
        """Start the worker: the container runs, Celery is ready and the agent listens."""
        task = self.ecs.task(arn)
        if task is None or task.stopping:
            self._gone(arn, "")
            return
        self.workers[arn] = SimulatedWorker(
            arn,
            topology.queue,
            topology.profile,
            rng=self._rng,
            ledger=self._ledger,
            protect=self.protect,
            protected=self.protected,
            consumes=lambda arn: self._on_first_message(arn, topology),
            disabled=self._disabled,
        )

    def _on_first_message(self, arn: str, topology: Topology) -> None:
        """Record how long a revision took until its first worker consumed."""
        task = self.ecs.task(arn)
        since = None if task is None else topology.rolled_at.pop(task.task_definition_arn, None)
        if since is None:
            return
        took_s = self._loop.time() - since
        self.rollouts_s.append(took_s)
        if not topology.never_empty or self._loop.time() <= self.disturbed_until or since <= self.disturbed_until:
            return
        self._ledger.counts["rollouts_timed"] += 1
        limit_s = topology.launch_s[1] + self.ecs.settings.pending_s + BOOT_S[1] + topology.patience_s
        if took_s > limit_s:
            self._ledger.breaks(since, f"the new revision consumed after {took_s:.0f} s, {limit_s:.0f} s were enough")

    def _stop(self, task: EcsTask) -> None:
        """SIGTERM now, SIGKILL after the stop timeout."""
        until = self._protected_until.pop(task.arn, None)
        service = task.service_key[1] if task.service_key else ""
        explained = task.stop_code in NOT_ECS or service in self.deleted
        if not explained and until is not None and until > self.ecs.now:
            self._ledger.breaks(self.ecs.now, f"ECS stopped {task.arn}, which was protected")
        worker = self.workers.get(task.arn)
        if worker is None:
            self._loop.call_later(0.5, self._gone, task.arn, "")
            return
        if not explained:
            self._ledger.counts["workers_stopped"] += 1
            if worker.holds or worker.poll is not None:
                what = f"{len(worker.running)} running, {len(worker.reserved)} reserved, poll {worker.poll is not None}"
                self._ledger.breaks(self.ecs.now, f"ECS stopped {task.arn} of {service} with {what}")
        worker.terminate()
        end = self._loop.call_later(self.stop_timeout_s, self._end, worker, explained)

        def idle() -> None:
            end.cancel()
            self._end(worker, explained)

        worker.on_idle = idle
        if worker.empty:
            end.cancel()
            self._loop.call_later(worker.profile.exit_s, self._end, worker, explained)

    def _end(self, worker: SimulatedWorker, explained: bool) -> None:
        worker.kill(explained=explained)
        self._gone(worker.arn, "EssentialContainerExited")

    def _gone(self, arn: str, code: str) -> None:
        self.workers.pop(arn, None)
        self._protected_until.pop(arn, None)
        self.ecs.task_stopped(arn, code or "EssentialContainerExited")
        self.advance()

    # --- invariants

    def check_invariants(self) -> None:
        """Check the invariants of every service."""
        self.advance()
        for service in self.topologies:
            self._check(service, "as time passed")

    def check_bound(self, service: str, desired: int) -> None:
        """Check that a raised count is within the maximum, or within the tasks that may need protection."""
        topology = self.topologies[service]
        found = self.ecs.services.get(service, cluster=CLUSTER)
        live = sum(1 for task in self.ecs.services.tasks(found) if not task.stopping)
        if desired > max(topology.maximum, live):
            self._ledger.breaks(
                self.ecs.now, f"{service} raised to {desired}: maximum {topology.maximum}, {live} tasks"
            )

    def _check(self, service: str, when: str) -> None:
        """Check `desired >= protected` of the service."""
        if service not in self.topologies or service in self.deleted:
            return
        now = self._loop.time()
        found = self.ecs.services.get(service, cluster=CLUSTER)
        protected = sum(1 for task in self.ecs.services.tasks(found) if task.protected(now))
        if protected <= found.desired_count:
            self._above.pop(service, None)
            self._reported.discard(service)
            return
        since = self._above.setdefault(service, now)
        excused = self.excused_until.get(service, -1.0)
        if now <= excused:
            if since == now:
                self._ledger.counts["breaches_by_faults"] += 1
            return
        if service in self._reported:
            return
        self._reported.add(service)
        self._ledger.breaks(now, f"{protected} protected > {found.desired_count} desired of {service}: {when}")
