# SPDX-License-Identifier: Apache-2.0
"""A fleet that does at once what it is told, tick by tick: the smallest world in which a scaler can come to rest.

A worker needs one tick to start, one to begin consuming and one to let go; ECS stops who let go. Nothing fails here:
`scaler_world` is for that.
"""

from __future__ import annotations

import random

from scaler.core.decide import decide
from scaler.core.model import Fleet
from scaler.core.state import FleetState
from tests.support.observations import SERVICES, Dimensions
from tests.support.scaler_builders import arn, generation, world

WINDOW_S = 5.0
NEXT = {"pending": "starting", "starting": "idle", "emptied": "released"}


class Rehearsal:
    """One fleet and its scaler."""

    window_s = WINDOW_S
    patience = 20

    def __init__(self, drawn: Dimensions) -> None:
        seed, (workers, services, _) = drawn
        rng = random.Random(seed)
        minimum = rng.randint(0, 2)
        maximum = max(1, minimum + rng.randint(0, 5))
        self.fleet = Fleet("default", ("default",), 5, minimum, maximum, scale_in_window_s=WINDOW_S)
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
        self.quiet_turns = 0

    @property
    def rests(self) -> bool:
        """Whether nothing has happened for longer than the window."""
        return self.quiet_turns * self.interval_s > WINDOW_S + self.interval_s

    @property
    def count(self) -> int:
        return self.desired[self.current]

    @property
    def old(self) -> int:
        return sum(desired for name, desired in self.desired.items() if name != self.current)

    @property
    def turns_of_direction(self) -> int:
        return sum(1 for one, other in zip(self.directions, self.directions[1:], strict=False) if one != other)

    def bounded(self, more: int) -> int:
        needed = -(-(self.slots_base + more) // 5)
        return max(self.fleet.minimum, min(self.fleet.maximum, needed))

    def turn(self, more: int) -> None:
        """One tick with so many slots wanted above the base, and what comes of it."""
        needed = self.bounded(more)
        self.needs = [each for each in self.needs if each[0] >= self.now - WINDOW_S] + [(self.now, needed)]
        seen = world(
            {
                name: generation(
                    list(workers.values()),
                    service=name,
                    desired=self.desired[name],
                    revision=self.revisions[name],
                    arns=list(workers),
                )
                for name, workers in self.services.items()
            },
            queued=self.slots_base + more,
        )
        before = self.count
        decision, self.state = decide(self.fleet, seen, self.state, self.now)
        idle = not decision.drains and not decision.resumes
        for name, do in decision.services.items():
            assert do.desired is not None
            workers = self.services[name]
            for task in workers:
                workers[task] = NEXT.get(workers[task], workers[task])
            for task in do.drains:
                workers[task] = "released" if workers[task] == "released" else "emptied"
            for task in do.resumes:
                workers[task] = "idle"
            idle = idle and do.desired == self.desired[name] == len(workers)
            self.desired[name] = do.desired
            for task in [task for task, word in workers.items() if word == "released"]:
                if len(workers) > do.desired:
                    del workers[task]
            assert len(workers) <= do.desired, "the count is below the workers that did not let go"
            self._start(name, do.desired - len(workers))
        if self.count != before:
            self.directions.append(1 if self.count > before else -1)
        if self.count < before:
            most = max(each[1] for each in self.needs)
            assert self.count >= most, f"lowered to {self.count}, and {most} were needed within the window"
        self.quiet_turns = self.quiet_turns + 1 if idle else 0
        self.now += self.interval_s

    def _start(self, name: str, number: int, rng: random.Random | None = None) -> None:
        for _ in range(number):
            word = rng.choice(("idle", "idle", "pending", "released", "emptied", "starting")) if rng else "pending"
            self.services[name][arn(self.started, name)] = word
            self.started += 1

    def __repr__(self) -> str:
        return f"{self.services} desired {self.desired}, {self.fleet}"
