# SPDX-License-Identifier: Apache-2.0
"""The largest need of the last seconds: a fleet shrinks to it and no further.

The samples form a monotone queue: a new sample removes every older one that is not larger, so the maximum is the first
sample and the queue stays short. The window also stores since when all readings were known without a gap: after a
restart, or a gap longer than a few ticks, a full window is required again before a scale-in.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NeedWindow:
    """Samples of (time, workers needed), oldest and largest first, and the time without a gap in the readings."""

    samples: tuple[tuple[float, int], ...] = ()
    since: float | None = None
    last: float | None = None

    def note(self, now: float, needed: int, *, known: bool, length_s: float, gap_s: float) -> NeedWindow:
        """Return the window with one more sample; a sample that is not `known` limits a scale-in only."""
        kept = [sample for sample in self.samples if now - length_s <= sample[0] <= now]
        while kept and kept[-1][1] <= needed:
            kept.pop()
        kept.append((now, needed))
        if not known:
            return NeedWindow(tuple(kept), self.since, self.last)
        # A clock that went back (`now < last`) is a gap too: the age of the samples is unknown.
        unbroken = self.since is not None and self.last is not None and 0 <= now - self.last <= gap_s
        return NeedWindow(tuple(kept), self.since if unbroken else now, now)

    def full(self, now: float, length_s: float) -> bool:
        """Whether all readings were known for the whole window."""
        return self.since is not None and self.last == now and now - self.since >= length_s

    def known_s(self, now: float) -> float:
        """Seconds up to `now` in which all readings were known."""
        return 0.0 if self.since is None else max(0.0, now - self.since)

    @property
    def maximum(self) -> int:
        """The largest sample, 0 without samples."""
        return self.samples[0][1] if self.samples else 0
