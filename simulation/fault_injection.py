# SPDX-License-Identifier: Apache-2.0
"""What fails now: one `FaultInjector` for the whole simulated world, changed while it runs.

Each source (`ecs`, `broker`, `database`, `agent`, `protection`) has its own probabilities; 1.0 is an outage.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import Enum, auto

SOURCES = ("ecs", "broker", "database", "agent", "protection", "overrides")


class CallOutcome(Enum):
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
class FaultRates:
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

    def draw(self, rng: random.Random) -> CallOutcome:
        """Decide one call."""
        if not (self.fails or self.silent or self.late or self.unheard):
            return CallOutcome.FINE
        at = rng.random()
        for outcome, share in (
            (CallOutcome.FAILS, self.fails),
            (CallOutcome.SILENT, self.silent),
            (CallOutcome.LATE, self.late),
            (CallOutcome.UNHEARD, self.unheard),
        ):
            if at < share:
                return outcome
            at -= share
        return CallOutcome.FINE


@dataclass
class FaultInjector:
    """The rates of every source, and of the scaler's own end."""

    rates: dict[str, FaultRates] = field(default_factory=lambda: {source: FaultRates() for source in SOURCES})
    kill_scaler: float = 0.0
    """At each call, before and after it happens."""

    def of(self, source: str) -> FaultRates:
        """Return a source's rates, to be read or changed."""
        return self.rates[source]

    def clear(self, source: str) -> None:
        """Let a source work again."""
        self.rates[source] = FaultRates()
