# SPDX-License-Identifier: Apache-2.0
"""The judge: what was sent, what was done, and who was stopped with what in hand.

It reads the simulated world alone and believes neither agents nor scaler. What an injected fault explains (a worker
killed with SIGKILL, a Spot interruption, a deleted service) is counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

KEPT = 20


@dataclass
class RunLedger:
    """Everything one run is judged by."""

    sent: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    explained: set[int] = field(default_factory=set)
    """Tasks that an injected fault took; they count as lost for nobody."""
    interrupted: set[int] = field(default_factory=set)
    """Tasks that ran when their worker was ended, without a fault that explains it."""
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    """The first broken invariants in words; `counts["broken"]` has all."""

    @property
    def lost(self) -> set[int]:
        """Tasks that were sent, never finished, and that no injected fault explains."""
        return self.sent - self.done - self.explained

    def breaks(self, at: float, what: str) -> None:
        """Note a broken invariant."""
        self.counts["broken"] += 1
        if len(self.broken) < KEPT:
            self.broken.append(f"at {at:.2f} s: {what}")

    def ended(self, running: Iterable[int], held: Iterable[int], *, explained: bool) -> None:
        """A worker ended with these tasks running and these messages in hand."""
        running = set(running) - self.done
        if explained:
            self.explained |= running | (set(held) - self.done)
            self.counts["tasks_taken_by_faults"] += len(running)
        else:
            self.interrupted |= running - self.explained
