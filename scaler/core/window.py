# SPDX-License-Identifier: Apache-2.0
"""The largest need of the last seconds: a fleet shrinks to that and no further.

The samples form the usual monotone queue: a new sample removes every older one that is not larger, so the maximum is
the first and the queue stays short. Beside them stands since when knowledge is uninterrupted: after a restart, or
after a gap longer than a few ticks, a whole window must be seen again before anything may shrink.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NeedWindow:
    """Samples of (time, workers needed), oldest and largest first, and the span of uninterrupted knowledge."""

    samples: tuple[tuple[float, int], ...] = ()
    since: float | None = None
    last: float | None = None

    def note(self, now: float, needed: int, *, known: bool, length_s: float, gap_s: float) -> NeedWindow:
        """Return the window with one more sample; one that is not `known` restrains, but is no knowledge."""
        kept = [sample for sample in self.samples if now - length_s <= sample[0] <= now]
        while kept and kept[-1][1] <= needed:
            kept.pop()
        kept.append((now, needed))
        if not known:
            return NeedWindow(tuple(kept), self.since, self.last)
        # A clock that went back (`now < last`) is a gap too: what was seen cannot be placed in time any more.
        unbroken = self.since is not None and self.last is not None and 0 <= now - self.last <= gap_s
        return NeedWindow(tuple(kept), self.since if unbroken else now, now)

    def full(self, now: float, length_s: float) -> bool:
        """Whether knowledge has been uninterrupted for the whole window."""
        return self.since is not None and self.last == now and now - self.since >= length_s

    def covered_s(self, now: float) -> float:
        """Seconds of uninterrupted knowledge up to `now`."""
        return 0.0 if self.since is None else max(0.0, now - self.since)

    @property
    def maximum(self) -> int:
        """The largest sample, 0 when there is none."""
        return self.samples[0][1] if self.samples else 0
