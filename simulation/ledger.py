# SPDX-License-Identifier: Apache-2.0
"""The record of a run: tasks sent, tasks done, and the tasks of every worker that was stopped.

It reads the simulated environment only, never the reports of agents or scaler. Losses that an injected fault explains
(SIGKILL, a Spot interruption, a deleted service) are counted separately.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

KEPT = 20


@dataclass
class RunLedger:
    """All counts of one run."""

    sent: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    explained: set[int] = field(default_factory=set)
    """Tasks that an injected fault ended; they do not count as lost."""
    interrupted: set[int] = field(default_factory=set)
    """Tasks that ran when their worker was ended, without a fault that explains it."""
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    """Descriptions of the first broken invariants; `counts["broken"]` is the number of all."""

    @property
    def lost(self) -> set[int]:
        """Tasks that were sent, never finished, and that no injected fault explains."""
        return self.sent - self.done - self.explained

    def breaks(self, at: float, what: str) -> None:
        """Record a broken invariant."""
        self.counts["broken"] += 1
        if len(self.broken) < KEPT:
            self.broken.append(f"at {at:.2f} s: {what}")

    def ended(self, running: Iterable[int], held: Iterable[int], *, explained: bool) -> None:
        """Record the end of a worker with its running tasks and its unfinished messages."""
        running = set(running) - self.done
        if explained:
            self.explained |= running | (set(held) - self.done)
            self.counts["tasks_taken_by_faults"] += len(running)
        else:
            self.interrupted |= running - self.explained
