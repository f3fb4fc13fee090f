# SPDX-License-Identifier: Apache-2.0
"""Moments of a fleet for the properties: anything may have been observed, remembered and ordered.

Ten thousand examples a property are affordable because a moment is built from one number by `random`; Hypothesis draws
that number and the few dimensions worth shrinking (how many workers, one generation or two, how long a past).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from scaler.core.decide import decide
from scaler.core.model import (
    BrokerCount,
    Controls,
    DatabaseCount,
    Fallback,
    Fleet,
    Generation,
    Known,
    Observation,
    Reading,
    Schedule,
    Stale,
    Unknown,
)
from scaler.core.state import Decision, State
from scaler.core.window import Window
from tests.support.scaler_builders import SILENT, WORKERS, generation, world

WORDS = sorted(WORKERS)
CALM_WORDS = ["busy", "full", "idle", "one"]
QUIET_WORDS = ["idle", "one", "full", "silent", "draining", *["released"] * 4]
SERVICES = ("worker-default-a", "worker-default-b")
FALLBACKS = (
    Fallback(),
    Fallback(),
    Fallback("hold-if-higher", 4, 30.0),
    Fallback("fixed", 2, 30.0),
)
PAUSES: tuple[Any, ...] = ("none", "none", "in", "out", "both")
STRANGE_PAST_S = 100.0


Dimensions = tuple[int, tuple[int, int, int]]
"""A seed, and what is worth shrinking: how many workers at most, generations, observations in the past."""


@dataclass(frozen=True)
class Moment:
    """A fleet, what is remembered, what is seen, and when."""

    fleet: Fleet
    state: State
    now: float
    observation: Observation

    def decide(self, observation: Observation | None = None) -> Decision:
        return self.step(observation)[0]

    def step(self, observation: Observation | None = None) -> tuple[Decision, State]:
        return decide(self.fleet, observation or self.observation, self.state, self.now)


SIZES = [(workers, generations, past) for workers in range(8) for past in range(3) for generations in (1, 2)]
dimensions = st.tuples(st.integers(0, 2**48), st.sampled_from(SIZES))


def moment(drawn: Dimensions, *, ordered: bool = True, known: bool = False) -> Moment:
    """Build a moment; without `ordered` nobody ordered anything, with `known` every source answered.

    A third are quiet: everything is known, little is wanted, some have let go. There fleets shrink.
    """
    seed, (workers, generations, past) = drawn
    rng = random.Random(seed)
    quiet = rng.random() < 0.35
    draw = _Draw(rng, workers, generations, ordered=ordered and not quiet, known=known or quiet, quiet=quiet)
    fleet = draw.fleet()
    state, now = State(), STRANGE_PAST_S
    for _ in range(past):
        _, state = decide(fleet, draw.observation(), state, now)
        now += rng.choice((5.0, 5.0, 20.0, 100.0, 400.0))
    seen = draw.observation()
    if rng.random() < 0.2:  # the same again: what was decided is in drain by now
        _, state = decide(fleet, seen, state, now)
        now += 5.0
    if quiet or rng.random() < 0.5:
        state = replace(state, window=_full_window(rng, now, 2 if quiet else 9), zero_seen=rng.randint(0, 2))
    return Moment(fleet, state, now, seen)


def _full_window(rng: random.Random, now: float, most: int) -> Window:
    first, second = sorted((rng.randint(0, most), rng.randint(0, most)), reverse=True)
    samples = ((now - 50.0, first), (now - 10.0, second)) if first > second else ((now - 10.0, first),)
    return Window(samples, now - 90.0, now - 5.0)


@dataclass
class _Draw:
    """What may be seen, drawn from one source of chance."""

    rng: random.Random
    workers: int
    generations: int
    ordered: bool
    known: bool
    quiet: bool

    def fleet(self) -> Fleet:
        rng = self.rng
        minimum = rng.randint(0, 3)
        return Fleet(
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
        services = SERVICES[: self.generations]
        revisions = rng.choice(((7, 8), (8, 7), (7, 7)))
        generations = {
            service: self._generation(service, revision) for service, revision in zip(services, revisions, strict=False)
        }
        queued, running = (rng.randint(0, 3), 0) if self.quiet else (rng.randint(0, 60), rng.randint(0, 40))
        if rng.random() < 0.3:
            queued = running = 0
        controls, schedule = None, None
        if self.ordered:
            controls = _controls(rng)
            schedule = Schedule(rng.randint(0, 8), "weekdays from 6") if rng.random() < 0.2 else None
        seen = world(generations, queued=queued, running=running, controls=controls, schedule=schedule)
        if self.known:
            return seen
        messages = BrokerCount(rng.randint(0, 60), rng.randint(0, 40))
        brokers: list[Reading[BrokerCount]] = [
            *(seen.broker, seen.broker, seen.broker, seen.broker),
            *(Known(messages, 0.0), Stale(messages, 5.0), Unknown("down")),
        ]
        count = DatabaseCount(queued, running)
        databases: list[Reading[DatabaseCount] | None] = [
            *(seen.database, seen.database, seen.database, seen.database),
            *(Stale(count, 7.0), Unknown("down"), None),
        ]
        return replace(seen, broker=rng.choice(brokers), database=rng.choice(databases))

    def _generation(self, service: str, revision: int) -> Generation:
        rng = self.rng
        words = QUIET_WORDS if self.quiet else rng.choice((WORDS, CALM_WORDS, QUIET_WORDS))
        workers = rng.choices(words, k=rng.randint(0, self.workers))
        old = [i for i in range(len(workers)) if rng.random() < 0.3] if rng.random() < 0.15 else []
        odd = 0 if self.quiet else rng.choice((0, 0, 0, -2, -1, 1, 2, 4))
        desired = max(0, len(workers) + odd)
        seen = generation(workers, service=service, desired=desired, revision=revision, old=old)
        if self.known or rng.random() < 0.75:
            return seen
        hidden: dict[str, Any] = {rng.choice(("service", "tasks", "protected")): SILENT}
        return replace(seen, **hidden)


def _controls(rng: random.Random) -> Reading[Controls]:
    if rng.random() < 0.5:
        return Known(Controls(), 0.0)
    ordered = Controls(
        minimum=rng.choice((None, None, rng.randint(0, 6))),
        maximum=rng.choice((None, None, rng.randint(0, 9))),
        fixed=rng.choice((None, None, None, rng.randint(0, 6))),
        pause=rng.choice(PAUSES),
        dry_run=rng.random() < 0.15,
        by="somebody",
    )
    return rng.choice((Known(ordered, 0.0), Known(ordered, 0.0), Stale(ordered, 40.0), Unknown("never read")))
