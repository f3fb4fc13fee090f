# SPDX-License-Identifier: Apache-2.0
"""A fleet in the engine: a queue, and workers that ECS starts and stops.

The broker gives each message to a random worker whose gate is open and that has a free slot. ECS starts and stops
workers by the desired count; which workers it may stop follows from the protection.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from simulation.engine.airflow import EngineTask


@dataclass(frozen=True, slots=True)
class EngineFleetSettings:
    """One fleet: its queues (none: all of them), its size, and how its workers start and stop."""

    name: str = "default"
    queues: tuple[str, ...] = ()
    slots: int = 5
    minimum: int = 1
    maximum: int = 25
    cold_start_s: float = 60.0
    """The median from the request to the first message."""
    cold_start_sigma: float = 0.15
    """Of the log-normal cold start."""
    release_s: float = 1.0
    """From the last task of a draining worker to the end of its protection."""
    resume_s: float = 1.0
    """From a resume command to the first message."""


class StopProtection(StrEnum):
    """Which workers ECS may stop."""

    NONE = "none"
    BUSY = "busy"
    """All that run no task."""
    DRAIN = "drain"
    """Those that were drained and have released their protection."""


class State(IntEnum):
    """The state of a worker."""

    STARTING = 0
    CONSUMING = 1
    DRAINING = 2
    RELEASED = 3
    RESUMING = 4
    STOPPING = 5


class EngineWorker:
    """A worker from its request to its stop."""

    __slots__ = ("idle_since", "number", "order", "requested_at", "running", "served_at", "state")

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.state = State.STARTING
        self.requested_at = now
        self.served_at: float | None = None
        self.running: set[EngineTask] = set()
        self.idle_since = now
        self.order = 0
        """The number of the last command: an older one that arrives late has no effect."""


@dataclass(slots=True)
class Counts:
    """What happened; seconds and task seconds of the measured days."""

    worker_s: float = 0.0
    killed: int = 0
    writes: int = 0
    commands: int = 0


class EngineFleet:
    """The queue and the workers of one fleet."""

    def __init__(
        self,
        settings: EngineFleetSettings,
        rng: random.Random,
        call_at: Callable[[float, Callable[[float], None]], None],
        *,
        protection: StopProtection,
        stop_timeout_s: float,
        started: Callable[[EngineTask, float], None],
        worked: Callable[[EngineTask, float], None],
    ) -> None:
        self.settings = settings
        self.protection = protection
        self._rng = rng
        self._call_at = call_at
        self._stop_timeout_s = stop_timeout_s
        self.serves: Callable[[str], bool] = lambda queue: True
        """Whether its workers take the messages of a queue."""
        self._started = started
        self._worked = worked
        self.queue: deque[EngineTask] = deque()
        self.desired = 0
        self.workers: dict[int, EngineWorker] = {}
        self.running = 0
        self.counts = Counts()
        self.stopped: list[tuple[float, float]] = []
        """Request and stop of each stopped worker."""
        self.cold_starts: deque[float] = deque(maxlen=20)
        self._numbers = 0
        self._open: list[EngineWorker] = []
        """Workers with an open gate and a free slot."""

    # --- the broker

    def send(self, instance: EngineTask, now: float) -> None:
        """Put a message into the queue."""
        if self._open:
            self._start(self._rng.choice(self._open), instance, now)
        else:
            self.queue.append(instance)

    def _start(self, worker: EngineWorker, instance: EngineTask, now: float) -> None:
        worker.running.add(instance)
        self.running += 1
        if len(worker.running) >= self.settings.slots:
            self._open.remove(worker)
        instance.worker = worker
        instance.started_at = now
        self._started(instance, now)
        self._call_at(now + instance.work_s, lambda then: self._finish(worker, instance, then))

    def _finish(self, worker: EngineWorker, instance: EngineTask, now: float) -> None:
        if instance.worker is not worker:
            return  # it was killed, and runs elsewhere
        instance.worker = None
        worker.running.discard(instance)
        self.running -= 1
        if worker.state is State.CONSUMING:
            if len(worker.running) == self.settings.slots - 1:
                self._open.append(worker)
            self._take(worker, now)
        if not worker.running:
            worker.idle_since = now
            self._emptied(worker, now)
        self._worked(instance, now)

    def _take(self, worker: EngineWorker, now: float) -> None:
        while self.queue and worker.state is State.CONSUMING and len(worker.running) < self.settings.slots:
            self._start(worker, self.queue.popleft(), now)

    def _consume(self, worker: EngineWorker, now: float) -> None:
        worker.state = State.CONSUMING
        if not worker.running:
            worker.idle_since = now
        if len(worker.running) < self.settings.slots:
            self._open.append(worker)
        self._take(worker, now)

    def _close(self, worker: EngineWorker) -> None:
        if worker in self._open:
            self._open.remove(worker)

    # --- the policy's commands

    def set_desired(self, desired: int, now: float) -> None:
        """UpdateService."""
        if desired != self.desired:
            self.desired = desired
            self.counts.writes += 1
        self.reconcile(now)

    def drain(self, workers: Iterable[int], now: float) -> None:
        """Close the gates of workers; each releases its protection after its last task."""
        for number in workers:
            worker = self.workers.get(number)
            if worker is None or worker.state not in (State.CONSUMING, State.RESUMING):
                continue
            self.counts.commands += 1
            worker.order += 1
            worker.state = State.DRAINING
            self._close(worker)
            if not worker.running:
                self._emptied(worker, now)

    def resume(self, workers: Iterable[int], now: float) -> None:
        """Open the gates of draining workers again."""
        for number in workers:
            worker = self.workers.get(number)
            if worker is None or worker.state not in (State.DRAINING, State.RELEASED):
                continue
            self.counts.commands += 1
            worker.order += 1
            if worker.state is State.DRAINING and worker.running:
                self._consume(worker, now)
                continue
            worker.state = State.RESUMING
            order = worker.order
            self._call_at(now + self.settings.resume_s, lambda then, w=worker, o=order: self._resumed(w, o, then))  # type: ignore[misc]

    def _resumed(self, worker: EngineWorker, order: int, now: float) -> None:
        if worker.state is State.RESUMING and worker.order == order:
            self._consume(worker, now)

    def _emptied(self, worker: EngineWorker, now: float) -> None:
        if worker.state is State.DRAINING:
            order = worker.order
            self._call_at(now + self.settings.release_s, lambda then: self._release(worker, order, then))
        elif worker.state is State.STOPPING:
            self._stop(worker, now)
        elif self.protection is StopProtection.BUSY and len(self.workers) > self.desired:
            self.reconcile(now)

    def _release(self, worker: EngineWorker, order: int, now: float) -> None:
        if worker.state is State.DRAINING and worker.order == order and not worker.running:
            worker.state = State.RELEASED
            self.reconcile(now)

    # --- ECS

    def reconcile(self, now: float) -> None:
        """Start missing workers, and stop surplus workers that are not protected."""
        alive = [worker for worker in self.workers.values() if worker.state is not State.STOPPING]
        for _ in range(self.desired - len(alive)):
            self._launch(now)
        surplus = len(alive) - self.desired
        if surplus <= 0:
            return
        if self.protection is StopProtection.DRAIN:
            stoppable = [worker for worker in alive if worker.state in (State.RELEASED, State.RESUMING)]
        elif self.protection is StopProtection.BUSY:
            stoppable = [worker for worker in alive if not worker.running]
        else:
            stoppable = alive
        for worker in self._rng.sample(stoppable, min(surplus, len(stoppable))):
            self._terminate(worker, now)

    def _launch(self, now: float) -> None:
        self._numbers += 1
        worker = EngineWorker(self._numbers, now)
        self.workers[worker.number] = worker
        settings = self.settings
        seconds = settings.cold_start_s * math.exp(self._rng.gauss(0.0, settings.cold_start_sigma))
        self._call_at(now + seconds, lambda then: self._ready(worker, then))

    def _ready(self, worker: EngineWorker, now: float) -> None:
        if worker.state is State.STARTING:
            worker.served_at = now
            self.cold_starts.append(now - worker.requested_at)
            self._consume(worker, now)

    def _terminate(self, worker: EngineWorker, now: float) -> None:
        self._close(worker)
        worker.state = State.STOPPING
        if not worker.running:
            self._stop(worker, now)
        else:
            self._call_at(now + self._stop_timeout_s, lambda then: self._kill(worker, then))

    def _kill(self, worker: EngineWorker, now: float) -> None:
        if worker.number not in self.workers:
            return
        lost = sorted(worker.running, key=lambda instance: instance.started_at)
        worker.running.clear()
        self.running -= len(lost)
        self.counts.killed += len(lost)
        self._stop(worker, now)
        for instance in lost:
            instance.worker = None
            instance.queued_at = now
            self.send(instance, now)

    def _stop(self, worker: EngineWorker, now: float) -> None:
        self.workers.pop(worker.number, None)
        self.stopped.append((worker.requested_at, now))
