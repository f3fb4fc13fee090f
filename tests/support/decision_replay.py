# SPDX-License-Identifier: Apache-2.0
"""A fleet that applies each decision at once, tick by tick: the smallest environment in which a scaler can settle.

A worker needs one tick to start, one to consume and one to release; ECS stops released workers. Nothing fails here:
`scaler_world` has the failures.
"""

import random

from scaler.core.decide import decide
from scaler.core.model import FleetPolicy, Unknown
from scaler.core.state import FleetState
from tests.support.observations import SERVICES, Dimensions
from tests.support.scaler_builders import arn, observe_services, service_observation

WINDOW_S = 5.0
NEXT = {"pending": "starting", "starting": "idle", "emptied": "released"}


class DecisionReplay:
    """One fleet and its scaler."""

    window_s = WINDOW_S
    max_ticks = 20

    def __init__(self, drawn: Dimensions, *, intervals: int = 1) -> None:
        seed, (workers, services, _) = drawn
        rng = random.Random(seed)
        minimum = rng.randint(0, 2)
        maximum = max(1, minimum + rng.randint(0, 5))
        self.fleet = FleetPolicy(
            "default", ("default",), 5, minimum, maximum, scale_in_window_s=WINDOW_S, intervals=intervals
        )
        self.interval_s = self.fleet.interval_s
        self.slots_base = rng.randint(0, 20)
        self.noise = [rng.randint(0, 9) for _ in range(rng.randint(3, 5))]
        self.services: dict[str, dict[str, str]] = {name: {} for name in SERVICES[:services]}
        self.revisions = dict(zip(SERVICES, rng.choice(((7, 8), (8, 7))), strict=True))
        self.current = max(self.services, key=lambda name: self.revisions[name])
        self.started = 0
        for name in self.services:
            self._start(name, rng.randint(0, min(workers, 4)), rng)
        self.desired = {name: len(workers) for name, workers in self.services.items()}
        self.state, self.now = FleetState(), 100.0
        self.needs: list[tuple[float, int]] = []
        self.directions: list[int] = []
        self.quiet_ticks = 0

    @property
    def settled(self) -> bool:
        """Whether nothing has changed for longer than the window."""
        return self.quiet_ticks * self.fleet.pace_s > self.fleet.window_s + self.fleet.pace_s

    @property
    def count(self) -> int:
        return self.desired[self.current]

    @property
    def old(self) -> int:
        return sum(desired for name, desired in self.desired.items() if name != self.current)

    @property
    def direction_changes(self) -> int:
        return sum(1 for first, second in zip(self.directions, self.directions[1:], strict=False) if first != second)

    def bounded(self, more: int) -> int:
        needed = -(-(self.slots_base + more) // 5)
        return max(self.fleet.minimum, min(self.fleet.maximum, needed))

    def tick(self, more: int, *, broker: Unknown | None = None) -> None:
        """Run one tick with `more` slots above the base, and apply its decision."""
        needed = self.bounded(more)
        self.needs = [need for need in self.needs if need[0] >= self.now - WINDOW_S] + [(self.now, needed)]
        seen = observe_services(
            {
                name: service_observation(
                    list(workers.values()),
                    service=name,
                    desired=self.desired[name],
                    revision=self.revisions[name],
                    arns=list(workers),
                )
                for name, workers in self.services.items()
            },
            queued=self.slots_base + more,
            broker=broker,
        )
        before = self.count
        decision, self.state = decide(self.fleet, seen, self.state, self.now)
        idle = not decision.drains and not decision.resumes
        for name, service in decision.services.items():
            assert service.desired is not None
            workers = self.services[name]
            for task in workers:
                workers[task] = NEXT.get(workers[task], workers[task])
            for task in service.drains:
                workers[task] = "released" if workers[task] == "released" else "emptied"
            for task in service.resumes:
                workers[task] = "idle"
            idle = idle and service.desired == self.desired[name] == len(workers)
            self.desired[name] = service.desired
            for task in [task for task, word in workers.items() if word == "released"]:
                if len(workers) > service.desired:
                    del workers[task]
            assert len(workers) <= service.desired, "the count is below the workers that are not released"
            self._start(name, service.desired - len(workers))
        if self.count != before:
            self.directions.append(1 if self.count > before else -1)
        if self.count < before:
            most = max(need for _, need in self.needs)
            assert self.count >= most, f"lowered to {self.count}, but {most} were needed within the window"
        # A tick without the broker changes nothing, and shows nothing.
        self.quiet_ticks = self.quiet_ticks + (broker is None) if idle else 0
        self.now += self.interval_s * self.fleet.intervals

    def _start(self, name: str, number: int, rng: random.Random | None = None) -> None:
        for _ in range(number):
            word = rng.choice(("idle", "idle", "pending", "released", "emptied", "starting")) if rng else "pending"
            self.services[name][arn(self.started, name)] = word
            self.started += 1

    def __repr__(self) -> str:
        return f"{self.services} desired {self.desired}, {self.fleet}"
