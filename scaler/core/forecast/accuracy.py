# SPDX-License-Identifier: Apache-2.0
"""How accurate the look-ahead is: what it predicted one launch ago beside what is seen now.

It is computed in `shadow` and in `on`, and no decision depends on it. The figures cover 12 to 24 hours: those of the
present half day, and of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import add
from typing import NamedTuple

from scaler.core.look_ahead import Capacity

KEPT_S = 12 * 3600.0
SMALLEST_SLOTS = 0.5
"""Below it no demand is expected. The means are those of the times with demand: most of a day has none."""


class Look(NamedTuple):
    """What the look-ahead requests in this tick."""

    launch: int
    """Workers to serve after `launch_s`."""
    keep: int
    """Workers to serve until then."""
    slots: float
    """The slots that are expected after `launch_s`."""
    launch_s: float


class Seen(NamedTuple):
    """The demand of this tick, and the fleet."""

    slots: int
    """Without the tasks on draining workers, as in the forecast."""
    queued: int
    running: int
    needed: int
    """Workers for this demand, between the bounds."""
    serving: int
    slots_per_worker: int


class Prediction(NamedTuple):
    """The expectation of an earlier tick."""

    due: float
    slots: float
    launch: int


class AccuracySums(NamedTuple):
    """Sums over time."""

    seconds: float = 0.0
    """The time with a forecast and a known demand."""
    comparisons: int = 0
    """Ticks with demand, predicted or seen."""
    predicted: float = 0.0
    seen: float = 0.0
    apart: float = 0.0
    """The sum of the absolute differences."""
    rises: int = 0
    """Workers that the demand needed and had not needed in the tick before."""
    lead_s: float = 0.0
    """The sum over them: how long the look-ahead had requested them, at most a launch latency each."""
    unneeded_s: float = 0.0
    """Worker-seconds that the look-ahead requested and the demand did not need."""
    saved_s: float = 0.0
    """Task-seconds that tasks waited and would not have waited with the workers that the look-ahead requested."""

    def plus(self, other: AccuracySums) -> AccuracySums:
        """Return the sum."""
        return AccuracySums(*map(add, self, other))


NO_SUMS = AccuracySums()


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The figures, and what the next tick is compared with."""

    at: float | None = None
    """The last tick."""
    needed: int = 0
    """The workers that its demand needed."""
    requested: tuple[float, ...] = ()
    """Since when the look-ahead has requested a first, a second … worker without a break."""
    pending: tuple[Prediction, ...] = ()
    compared: tuple[float, int] | None = None
    """The slots that were predicted for the last tick, and those seen; None if nothing was predicted for it."""
    present: AccuracySums = NO_SUMS
    before: AccuracySums = NO_SUMS

    @property
    def sums(self) -> AccuracySums:
        """The figures of both half days."""
        return self.before.plus(self.present)


def follow(last: Accuracy, look: Look, seen: Seen, now: float, gap_s: float) -> Accuracy:
    """Return the accuracy with one more tick; after more than `gap_s` without one, the comparison begins again."""
    unbroken = last.at is not None and 0 < now - last.at <= gap_s
    pending, prediction = last.pending, None
    while pending and pending[0].due <= now:
        prediction = pending[0] if pending[0].due >= now - gap_s else None
        pending = pending[1:]
    present, before = last.present, last.before
    if unbroken:
        present = present.plus(_tick(last, look, prediction, seen, now))
    if present.seconds >= KEPT_S:
        present, before = NO_SUMS, present
    workers = max(look.launch, look.keep)
    # The comparison begins with the fleet as it is.
    requested = (last.requested if unbroken else (max(0.0, now - look.launch_s),) * seen.serving)[:workers]
    return Accuracy(
        at=now,
        needed=seen.needed,
        requested=(*requested, *[now] * (workers - len(requested))),
        pending=(*pending, Prediction(now + look.launch_s, look.slots, look.launch)),
        compared=None if prediction is None else (prediction.slots, seen.slots),
        present=present,
        before=before,
    )


def as_requested(
    last: Accuracy, capacity: Capacity, minimum: int, launch_s: float, now: float, gap_s: float
) -> Capacity:
    """Return the capacity as if the workers that were requested had been launched.

    Without them a look-ahead in shadow would request ever more workers, for tasks that would not wait.
    """
    if last.at is None or not 0 < now - last.at <= gap_s:
        return capacity
    ages = [now - since for since in last.requested[minimum:]]
    arriving = tuple(launch_s - age for age in ages if age < launch_s)
    return replace(capacity, serving=minimum + len(ages) - len(arriving), draining=0, staying=0, arriving=arriving)


def _tick(last: Accuracy, look: Look, prediction: Prediction | None, seen: Seen, now: float) -> AccuracySums:
    """Return what one tick adds."""
    elapsed = now - (last.at or 0.0)
    compared = prediction is not None and (prediction.slots >= SMALLEST_SLOTS or seen.slots > 0)
    predicted = prediction.slots if prediction is not None and compared else 0.0
    rises = range(last.needed, seen.needed)
    # A launch that was given up since has its worker for a short time too.
    arrived = sum(1 for since in last.requested[: max(look.launch, look.keep)] if now - since >= look.launch_s)
    there = max(arrived, prediction.launch if prediction else 0)
    saved = there * seen.slots_per_worker - seen.running if there > seen.serving else 0
    return AccuracySums(
        seconds=elapsed,
        comparisons=int(compared),
        predicted=predicted,
        seen=seen.slots * compared,
        apart=abs(predicted - seen.slots) if compared else 0.0,
        rises=len(rises),
        lead_s=sum(
            min(look.launch_s, now - last.requested[worker]) for worker in rises if worker < len(last.requested)
        ),
        unneeded_s=max(0, there - seen.needed) * elapsed,
        saved_s=min(seen.queued, max(0, saved)) * elapsed,
    )
