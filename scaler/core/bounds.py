# SPDX-License-Identifier: Apache-2.0
"""Which bounds are in force: the fleet's own, the schedule's minimum, and what a person ordered.

A person's order is the more specific word, so it replaces the others; where the minimum ends up above the maximum the
maximum counts, for it is what limits the bill.
"""

from __future__ import annotations

from dataclasses import dataclass

from scaler.core.explain import Trail, count
from scaler.core.model import Controls, Fleet, Reading, Schedule, Unknown

SILENCE_S = 60.0
"""A scaler that has never read its controls writes nothing for this long: a pause may have been ordered."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds in force and what is forbidden."""

    minimum: int
    maximum: int
    fixed: bool = False
    """The size was ordered: no demand has to be known to go there."""
    pause_in: bool = False
    pause_out: bool = False
    recall: bool = False
    """Workers in drain are called back, since nobody is to go."""
    dry_run: bool = False
    words: tuple[tuple[str, str], ...] = ()
    """Where the bounds come from: step and text."""
    pause_words: str = ""


def in_force(
    fleet: Fleet, controls: Reading[Controls], schedule: Schedule | None, unknown_since: float | None, now: float
) -> tuple[Limits, float | None]:
    """Return the bounds in force, and since when the controls could not be read at all."""
    if isinstance(controls, Unknown):
        since = now if unknown_since is None else min(unknown_since, now)
        limits = _limits(fleet, Controls(), schedule)
        early = now - since < SILENCE_S
        what = "nothing is written yet" if early else "the fleet may grow, not shrink"
        words = f"what a person ordered could not be read ({controls.reason}): {what}"
        return Limits(
            limits.minimum, limits.maximum, pause_in=True, pause_out=early, words=limits.words, pause_words=words
        ), since
    return _limits(fleet, controls.value, schedule), None


def bound(limits: Limits, wanted: int, serving: int, *, may_shrink: bool, trail: Trail) -> int:
    """Return `wanted` within the bounds; a fleet above its maximum is not lowered on guesses."""
    for step, text in limits.words:
        trail.add(step, text)
    if wanted < limits.minimum:
        trail.add("bounds", f"the minimum is {limits.minimum}, {limits.minimum - wanted} more than needed")
        return limits.minimum
    top = limits.maximum if may_shrink else max(limits.maximum, min(wanted, serving))
    if wanted > top:
        held = f"; {top} are held, for not everything is known" if top > limits.maximum else ""
        trail.add("bounds", f"the maximum is {limits.maximum}: {count(wanted - limits.maximum, 'worker')} short{held}")
        return top
    return wanted


def _limits(fleet: Fleet, controls: Controls, schedule: Schedule | None) -> Limits:
    words = []
    who, why = controls.by or "somebody", f" ({controls.why})" if controls.why else ""
    minimum, maximum = fleet.minimum, fleet.maximum
    if schedule is not None and schedule.minimum > minimum:
        minimum = schedule.minimum
        words.append(("schedule", f"the schedule asks for at least {minimum} ({schedule.words})"))
    if controls.minimum is not None:
        minimum = controls.minimum
        words.append(("orders", f"{who} ordered at least {minimum}{why}"))
    if controls.maximum is not None:
        maximum = controls.maximum
        words.append(("orders", f"{who} ordered at most {maximum}{why}"))
    if controls.fixed is not None:
        minimum = maximum = controls.fixed
        words.append(("orders", f"{who} ordered exactly {controls.fixed}{why}"))
    elif minimum > maximum:
        words.append(("bounds", f"the minimum of {minimum} is above the maximum of {maximum}, which counts"))
        minimum = maximum
    pause_in, pause_out = controls.pause in ("in", "both"), controls.pause in ("out", "both")
    ways = {"in": "no worker is let go", "out": "no worker is started", "both": "no worker is started or let go"}
    return Limits(
        minimum,
        maximum,
        fixed=controls.fixed is not None,
        pause_in=pause_in,
        pause_out=pause_out,
        recall=pause_in,
        dry_run=controls.dry_run,
        words=tuple(words),
        pause_words=f"{who} paused it{why}: {ways[controls.pause]}" if controls.pause != "none" else "",
    )
