# SPDX-License-Identifier: Apache-2.0
"""Runs a workload under a policy; the same seed gives the same result."""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from simulation.engine.airflow import Airflow, EngineTask
from simulation.engine.fleet import EngineFleet, EngineFleetSettings
from simulation.engine.policy import EngineFleetView, ScalingRule
from simulation.engine.result import FleetResult, SimulationResult, percentile
from simulation.workloads.model import Workload

Callback = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What is equal for all fleets."""

    scheduler_latency_s: float = 1.0
    """From the end of the last upstream task to the message."""
    seed: int = 1


class Engine:
    """The events of one run, in the order of their times."""

    def __init__(
        self,
        workload: Workload,
        policies: Mapping[str, ScalingRule] | ScalingRule,
        fleets: Sequence[EngineFleetSettings] = (EngineFleetSettings(),),
        settings: EngineSettings = EngineSettings(),
    ) -> None:
        self.workload = workload
        self._heap: list[tuple[float, int, Callback]] = []
        self._sequence = 0
        self._measure_from = workload.measure_from_s
        self.waits: dict[str, list[float]] = {}
        self.fleets: list[EngineFleet] = []
        self._by_queue: dict[str, EngineFleet] = {}
        self._default: EngineFleet | None = None
        self.policies: list[ScalingRule] = []
        self._pressure: dict[str, _Provisioning] = {}
        for number, fleet in enumerate(fleets):
            policy = policies[fleet.name] if isinstance(policies, Mapping) else policies
            self._add_fleet(fleet, policy, random.Random(settings.seed * 1000 + number))
        for policy in self.policies:
            policy.begin(workload)
        listeners = [listener for policy in self.policies if (listener := policy.listener) is not None]
        self.airflow = Airflow(
            workload, self.call_at, self._send, latency_s=settings.scheduler_latency_s, listeners=listeners
        )

    def _add_fleet(self, settings: EngineFleetSettings, policy: ScalingRule, rng: random.Random) -> None:
        fleet = EngineFleet(
            settings,
            rng,
            self.call_at,
            protection=policy.protection,
            stop_timeout_s=policy.stop_timeout_s,
            started=self._started,
            worked=self._worked,
        )
        fleet.serves = lambda queue: self._by_queue.get(queue, self._default) is fleet
        self.fleets.append(fleet)
        self.policies.append(policy)
        self.waits[settings.name] = []
        self._pressure[settings.name] = _Provisioning()
        for queue in settings.queues:
            self._by_queue[queue] = fleet
        if not settings.queues:
            self._default = fleet
        self.call_at(0.0, lambda now: fleet.set_desired(settings.minimum, now))
        self.call_at(0.0, lambda now: self._tick(fleet, policy, now))

    def call_at(self, when: float, callback: Callback) -> None:
        """Call at a time."""
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, callback))

    def _send(self, instance: EngineTask, now: float) -> None:
        fleet = self._by_queue.get(instance.task.queue, self._default)
        if fleet is None:
            raise ValueError(f"no fleet serves queue {instance.task.queue!r} of {instance.run.dag.dag_id}")
        fleet.send(instance, now)

    def _started(self, instance: EngineTask, now: float) -> None:
        self.airflow.started(instance, now)
        if instance.queued_at >= self._measure_from:
            fleet = self._by_queue.get(instance.task.queue, self._default)
            assert fleet is not None  # noqa: S101  it was sent there
            self.waits[fleet.settings.name].append(now - instance.queued_at)

    def _worked(self, instance: EngineTask, now: float) -> None:
        self.airflow.worked(instance, now)

    def _tick(self, fleet: EngineFleet, policy: ScalingRule, now: float) -> None:
        view = EngineFleetView(fleet, now)
        if now >= self._measure_from:
            self._pressure[fleet.settings.name].note(view, policy.interval_s)
        policy.tick(view)
        self.call_at(now + policy.interval_s, lambda then: self._tick(fleet, policy, then))

    def run(self, progress: Callable[[float], None] | None = None) -> SimulationResult:
        """Run to the horizon of the workload."""
        heap, horizon, pop = self._heap, self.workload.horizon_s, heapq.heappop
        reported = 0.0
        while heap and heap[0][0] <= horizon:
            now, _, callback = pop(heap)
            callback(now)
            if progress is not None and now - reported >= horizon / 100:
                reported = now
                progress(now / horizon)
        return SimulationResult(tuple(self._result(fleet) for fleet in self.fleets), len(self.airflow.active))

    def _result(self, fleet: EngineFleet) -> FleetResult:
        begin, end = self._measure_from, self.workload.horizon_s
        lives = [*fleet.stopped, *((worker.requested_at, end) for worker in fleet.workers.values())]
        worker_s = sum(max(0.0, min(stop, end) - max(start, begin)) for start, stop in lives)
        waits = sorted(self.waits[fleet.settings.name])
        pressure = self._pressure[fleet.settings.name]
        return FleetResult(
            fleet=fleet.settings.name,
            tasks=len(waits),
            mean_wait_s=sum(waits) / len(waits) if waits else 0.0,
            p95_wait_s=percentile(waits, 0.95),
            worker_hours=worker_s / 3600,
            killed=fleet.counts.killed,
            writes=fleet.counts.writes,
            commands=fleet.counts.commands,
            **pressure.shares(),
        )


class _Provisioning:
    """Under- and over-provisioning at the ticks: the share of the time, and the mean slots."""

    def __init__(self) -> None:
        self.time = self.under = self.over = self.under_slots = self.over_slots = 0.0

    def note(self, view: EngineFleetView, seconds: float) -> None:
        demand = view.queued + view.running
        self.time += seconds
        self.under += seconds if view.queued else 0.0
        self.under_slots += view.queued * seconds
        over = view.alive * view.settings.slots - demand
        self.over += seconds if over >= view.settings.slots else 0.0
        self.over_slots += max(0, over) * seconds

    def shares(self) -> dict[str, float]:
        time = self.time or 1.0
        return {
            "under_time": self.under / time,
            "under_slots": self.under_slots / time,
            "over_time": self.over / time,
            "over_slots": self.over_slots / time,
        }
