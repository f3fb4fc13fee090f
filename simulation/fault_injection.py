# SPDX-License-Identifier: Apache-2.0
"""The current faults: one `FaultInjector` for the whole simulation, changed while it runs.

Each source (`ecs`, `broker`, `database`, `agent`, `protection`, `plan`) has its own probabilities; 1.0 is an outage.
"""

import random
from dataclasses import dataclass, field
from enum import Enum, auto

SOURCES = ("ecs", "broker", "database", "agent", "protection", "overrides", "plan")


class CallOutcome(Enum):
    """The outcome of one call."""

    FINE = auto()
    FAILS = auto()
    """It fails without effect: throttled, 5xx, connection refused."""
    SILENT = auto()
    """No effect and no answer."""
    LATE = auto()
    """The caller's deadline passes, and the effect comes some seconds later."""
    ANSWER_LOST = auto()
    """The effect comes at once, and the answer is lost."""


@dataclass
class FaultRates:
    """The probabilities of the faults of one source."""

    fails: float = 0.0
    silent: float = 0.0
    late: float = 0.0
    answer_lost: float = 0.0
    slow: float = 0.5
    """The share of calls that take time; the others answer at once."""
    latency_s: tuple[float, float] = (0.01, 0.15)
    late_s: tuple[float, float] = (2.0, 4.0)
    reason: str = "fails on demand"
    throttled: bool = False
    """Whether a failed call reports throttling; the client sends a throttled call once more."""

    def draw(self, rng: random.Random) -> CallOutcome:
        """Draw the outcome of one call."""
        if not (self.fails or self.silent or self.late or self.answer_lost):
            return CallOutcome.FINE
        at = rng.random()
        for outcome, share in (
            (CallOutcome.FAILS, self.fails),
            (CallOutcome.SILENT, self.silent),
            (CallOutcome.LATE, self.late),
            (CallOutcome.ANSWER_LOST, self.answer_lost),
        ):
            if at < share:
                return outcome
            at -= share
        return CallOutcome.FINE


@dataclass
class FaultInjector:
    """The fault rates of every source, and the rate of the scaler's own end."""

    rates: dict[str, FaultRates] = field(default_factory=lambda: {source: FaultRates() for source in SOURCES})
    kill_scaler: float = 0.0
    """Probability at each call, before and after its effect."""

    def of(self, source: str) -> FaultRates:
        """Return a source's rates, to read or to change."""
        return self.rates[source]

    def clear(self, source: str) -> None:
        """Remove all faults of a source."""
        self.rates[source] = FaultRates()
