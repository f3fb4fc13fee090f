# SPDX-License-Identifier: Apache-2.0
"""What fails now: one `Weather` for the whole simulated world, changed while it runs.

Each source (`ecs`, `broker`, `database`, `agent`, `protection`) has its own probabilities; 1.0 is an outage.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import Enum, auto

SOURCES = ("ecs", "broker", "database", "agent", "protection", "controls")


class Fate(Enum):
    """What becomes of one call."""

    FINE = auto()
    FAILS = auto()
    """It is refused and nothing happens: throttled, 5xx, connection refused."""
    SILENT = auto()
    """A black hole: nothing happens and no answer comes."""
    LATE = auto()
    """The caller gives up; some seconds later it happens all the same."""
    UNHEARD = auto()
    """It happens at once and the answer is lost."""


@dataclass
class Odds:
    """Probabilities of what befalls a call of one source."""

    fails: float = 0.0
    silent: float = 0.0
    late: float = 0.0
    unheard: float = 0.0
    slow: float = 0.5
    """The share of calls that take time at all; the others answer at once."""
    latency_s: tuple[float, float] = (0.01, 0.15)
    late_s: tuple[float, float] = (2.0, 4.0)
    reason: str = "fails on demand"
    throttled: bool = False
    """Whether a call that fails says that it came too often."""

    def draw(self, rng: random.Random) -> Fate:
        """Decide one call."""
        if not (self.fails or self.silent or self.late or self.unheard):
            return Fate.FINE
        at = rng.random()
        for fate, share in (
            (Fate.FAILS, self.fails),
            (Fate.SILENT, self.silent),
            (Fate.LATE, self.late),
            (Fate.UNHEARD, self.unheard),
        ):
            if at < share:
                return fate
            at -= share
        return Fate.FINE


@dataclass
class Weather:
    """The odds of every source, and of the scaler's own end."""

    odds: dict[str, Odds] = field(default_factory=lambda: {source: Odds() for source in SOURCES})
    kill_scaler: float = 0.0
    """At each call, before and after it happens."""

    def of(self, source: str) -> Odds:
        """Return a source's odds, to be read or changed."""
        return self.odds[source]

    def clear(self, source: str) -> None:
        """Let a source work again."""
        self.odds[source] = Odds()
