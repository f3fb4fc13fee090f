# SPDX-License-Identifier: Apache-2.0
"""Random cases for the property tests: any observation, state and overrides.

Ten thousand examples per property are fast because `random` builds a case from one number; Hypothesis draws this
number and the few dimensions worth shrinking (the number of workers, services and past observations).
"""

import random
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from scaler.core.decide import decide
from scaler.core.model import (
    BrokerCount,
    DatabaseCount,
    FallbackPolicy,
    FleetPolicy,
    Forecast,
    Known,
    LookAheadPolicy,
    Observation,
    Overrides,
    Reading,
    Schedule,
    ServiceObservation,
    Stale,
    Unknown,
    UnplannedRun,
)
from scaler.core.state import Decision, FleetState
from scaler.core.window import NeedWindow
from tests.support.scaler_builders import SILENT, WORKERS, observe_services, service_observation

WORDS = sorted(WORKERS)
CALM_WORDS = ["busy", "full", "idle", "one"]
QUIET_WORDS = ["idle", "one", "full", "silent", "draining", *["released"] * 4]
SERVICES = ("worker-default-a", "worker-default-b")
FALLBACKS = (
    FallbackPolicy(),
    FallbackPolicy(),
    FallbackPolicy("hold-if-higher", 4, 30.0),
    FallbackPolicy("fixed", 2, 30.0),
)
PAUSES: tuple[Any, ...] = ("none", "none", "in", "out", "both")
START_S = 600.0


Dimensions = tuple[int, tuple[int, int, int]]
"""A seed, and the dimensions worth shrinking: the maximum of workers, the services, the past observations."""


@dataclass(frozen=True)
class DecisionCase:
    """A fleet, its state, an observation and the time."""

    fleet: FleetPolicy
    state: FleetState
    now: float
    observation: Observation

    def decide(self, observation: Observation | None = None) -> Decision:
        return self.step(observation)[0]

    def step(self, observation: Observation | None = None) -> tuple[Decision, FleetState]:
        return decide(self.fleet, observation or self.observation, self.state, self.now)


SIZES = [(workers, services, past) for workers in range(8) for past in range(3) for services in (1, 2)]
dimensions = st.tuples(st.integers(0, 2**48), st.sampled_from(SIZES))


def decision_case(drawn: Dimensions, *, overridden: bool = True, known: bool = False) -> DecisionCase:
    """Build a case; without `overridden` there are no overrides, with `known` every reading is known.

    A third of the cases are quiet: every reading is known, the demand is low, some workers are released. There fleets
    shrink.
    """
    seed, (workers, services, past) = drawn
    rng = random.Random(seed)
    quiet = rng.random() < 0.35
    draw = _Draw(rng, workers, services, overridden=overridden and not quiet, known=known or quiet, quiet=quiet)
    fleet = draw.fleet()
    state, now = FleetState(), START_S
    for _ in range(past):
        _, state = decide(fleet, draw.observation(), state, now)
        now += rng.choice((5.0, 5.0, 20.0, 100.0, 400.0))
    seen = draw.observation()
    if rng.random() < 0.2:  # the same again: the chosen workers are draining by now
        _, state = decide(fleet, seen, state, now)
        now += 5.0
    if quiet or rng.random() < 0.5:
        state = replace(state, window=_full_window(rng, now, 2 if quiet else 9), zero_ticks=rng.randint(0, 2))
    if rng.random() < 0.15:  # no start has succeeded for the launch deadline
        failed = {name: replace(state.of(name), failing_since=now - 500.0) for name in seen.services}
        state = replace(state, services={**state.services, **failed})
    return DecisionCase(fleet, state, now, seen)


def looking_ahead(case: DecisionCase, seed: int) -> DecisionCase:
    """Return the case of a fleet with look-ahead, and with any forecast."""
    rng = random.Random(seed)
    steps = rng.randint(8, 24)
    database = case.observation.database
    present = database.value.queued + database.value.running if isinstance(database, Known | Stale) else 0
    level, spread = rng.choice((0.0, present, rng.uniform(0.0, 80.0))), rng.choice((0.0, 0.0, rng.uniform(0.0, 9.0)))
    forecast = Forecast(
        at=case.now,
        step_s=5.0,
        slots=tuple(max(0.0, level * rng.choice((0.0, 0.5, 1.0, 1.0, 2.0))) for _ in range(steps)),
        spread=(spread,) * steps,
        task_s=rng.choice((1.0, 20.0, 3000.0)),
        present=rng.choice((0, present, present)),
        waiting_s=rng.choice((0.0, 4.0, 400.0)),
        unplanned=(UnplannedRun(rng.uniform(0.0, 0.1), (rng.uniform(0.0, 50.0),) * steps, 60.0),) * rng.randint(0, 2),
        busy_s={
            arn.rpartition("/")[2]: rng.uniform(0.0, 300.0)
            for service in case.observation.services.values()
            for arn in service.agents
            if rng.random() < 0.8
        },
    )
    readings: list[Reading[Forecast]] = [*[Known(forecast, case.now)] * 5, Stale(forecast, 9.0), Unknown("slow")]
    ahead = LookAheadPolicy(
        wait_worth=rng.choice((0.5, 6.0, 50.0)),
        headroom=rng.random() < 0.5,
        launch_s=rng.choice((20.0, 60.0)),
    )
    return replace(
        case,
        fleet=replace(case.fleet, look_ahead=ahead),
        observation=replace(case.observation, forecast=rng.choice(readings)),
    )


def _full_window(rng: random.Random, now: float, most: int) -> NeedWindow:
    first, second = sorted((rng.randint(0, most), rng.randint(0, most)), reverse=True)
    samples = ((now - 50.0, first), (now - 10.0, second)) if first > second else ((now - 10.0, first),)
    return NeedWindow(samples, now - 90.0, now - 5.0)


@dataclass
class _Draw:
    """Random observations from one generator."""

    rng: random.Random
    workers: int
    services: int
    overridden: bool
    known: bool
    quiet: bool

    def fleet(self) -> FleetPolicy:
        rng = self.rng
        minimum = rng.randint(0, 3)
        return FleetPolicy(
            "default",
            ("default",),
            slots=rng.randint(1, 8),
            minimum=minimum,
            maximum=max(1, minimum + rng.randint(0, 8)),
            launch_budget=rng.choice((1, 3, 50)),
            fallback=rng.choice(FALLBACKS),
            desired_count_drift=rng.choice(("correct", "correct", "adopt")),
        )

    def observation(self) -> Observation:
        rng = self.rng
        names = SERVICES[: self.services]
        revisions = rng.choice(((7, 8), (8, 7), (7, 7)))
        services = {
            service: self._service(service, revision) for service, revision in zip(names, revisions, strict=False)
        }
        queued, running = (rng.randint(0, 3), 0) if self.quiet else (rng.randint(0, 60), rng.randint(0, 40))
        if rng.random() < 0.3:
            queued = running = 0
        overrides, schedule = None, None
        if self.overridden:
            overrides = _controls(rng)
            schedule = Schedule(rng.randint(0, 8), "weekdays from 6") if rng.random() < 0.2 else None
        seen = observe_services(services, queued=queued, running=running, overrides=overrides, schedule=schedule)
        if self.known:
            return seen
        messages = BrokerCount(rng.randint(0, 60), rng.randint(0, 40))
        brokers: list[Reading[BrokerCount]] = [
            *(seen.broker, seen.broker, seen.broker, seen.broker),
            *(Known(messages, 0.0), Known(replace(messages, incomplete="too many"), 0.0)),
            *(Stale(messages, 5.0), Unknown("down")),
        ]
        count = DatabaseCount(queued, running)
        databases: list[Reading[DatabaseCount] | None] = [
            *(seen.database, seen.database, seen.database, seen.database),
            *(Stale(count, 7.0), Unknown("down"), None),
        ]
        return replace(seen, broker=rng.choice(brokers), database=rng.choice(databases))

    def _service(self, service: str, revision: int) -> ServiceObservation:
        rng = self.rng
        words = QUIET_WORDS if self.quiet else rng.choice((WORDS, CALM_WORDS, QUIET_WORDS))
        workers = rng.choices(words, k=rng.randint(0, self.workers))
        old = [i for i in range(len(workers)) if rng.random() < 0.3] if rng.random() < 0.15 else []
        odd = 0 if self.quiet else rng.choice((0, 0, 0, -2, -1, 1, 2, 4))
        desired = max(0, len(workers) + odd)
        seen = service_observation(workers, service=service, desired=desired, revision=revision, old=old)
        if self.known or rng.random() < 0.75:
            return seen
        hidden: dict[str, Any] = {rng.choice(("service", "tasks", "protected")): SILENT}
        return replace(seen, **hidden)


def _controls(rng: random.Random) -> Reading[Overrides]:
    if rng.random() < 0.5:
        return Known(Overrides(), 0.0)
    overrides = Overrides(
        minimum=rng.choice((None, None, rng.randint(0, 6))),
        maximum=rng.choice((None, None, rng.randint(0, 9))),
        fixed=rng.choice((None, None, None, rng.randint(0, 6))),
        pause=rng.choice(PAUSES),
        dry_run=rng.random() < 0.15,
        by="ada",
    )
    return rng.choice((Known(overrides, 0.0), Known(overrides, 0.0), Stale(overrides, 40.0), Unknown("never read")))
