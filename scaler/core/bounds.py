# SPDX-License-Identifier: Apache-2.0
"""Which bounds are in force: the fleet's own, the schedule's minimum, and what a person ordered.

A person's order is the more specific word, so it replaces the others; where the minimum ends up above the maximum the
maximum counts, for it is what limits the bill.
"""

from __future__ import annotations

from dataclasses import dataclass

from scaler.core.explain import Explanation, count
from scaler.core.model import Overrides, Fleet, Reading, Schedule, Unknown
from scaler.core.state import ExplanationStep, Value

SILENCE_S = 60.0
"""A scaler that has never read its overrides writes nothing for this long: a pause may have been ordered."""


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
    steps: tuple[ExplanationStep, ...] = ()
    """The origin of the bounds."""
    pause: ExplanationStep | None = None


def in_force(
    fleet: Fleet, overrides: Reading[Overrides], schedule: Schedule | None, unknown_since: float | None, now: float
) -> tuple[Limits, float | None]:
    """Return the bounds in force, and since when the overrides could not be read at all."""
    if isinstance(overrides, Unknown):
        since = now if unknown_since is None else min(unknown_since, now)
        limits = _limits(fleet, Overrides(), schedule)
        early = now - since < SILENCE_S
        allowed = "no writes yet" if early else "scale-out only"
        pause = ExplanationStep(
            "pause",
            f"Overrides unreadable ({overrides.reason}): {allowed}",
            {"scale_in": False, "scale_out": not early, "reason": overrides.reason},
        )
        return Limits(
            limits.minimum, limits.maximum, pause_in=True, pause_out=early, steps=limits.steps, pause=pause
        ), since
    return _limits(fleet, overrides.value, schedule), None


def bound(limits: Limits, target: int, serving: int, *, may_shrink: bool, explanation: Explanation) -> int:
    """Return `target` within the bounds; a fleet above its maximum is not lowered on guesses."""
    for step in limits.steps:
        explanation.append(step)
    if target < limits.minimum:
        more = limits.minimum - target
        explanation.add(
            "bounds", f"Raised to minimum {limits.minimum}: {more} more than needed", minimum=limits.minimum
        )
        return limits.minimum
    top = limits.maximum if may_shrink else max(limits.maximum, min(target, serving))
    if target > top:
        short = target - limits.maximum
        held = f"; {top} kept because not every source is known" if top > limits.maximum else ""
        text = f"Limited by maximum {limits.maximum}: {count(short, 'worker')} short{held}"
        explanation.add("bounds", text, maximum=limits.maximum, short=short)
        return top
    return target


def _limits(fleet: Fleet, overrides: Overrides, schedule: Schedule | None) -> Limits:
    steps = []
    origin = f"Override by {overrides.by or 'unknown'}"
    reason = f" ({overrides.why})" if overrides.why else ""

    def override(text: str, **values: Value) -> ExplanationStep:
        return ExplanationStep("override", f"{origin}: {text}{reason}", {**values, "by": overrides.by})

    minimum, maximum = fleet.minimum, fleet.maximum
    if schedule is not None and schedule.minimum > minimum:
        minimum = schedule.minimum
        text = f"Schedule: minimum {minimum} ({schedule.words})"
        steps.append(ExplanationStep("schedule", text, {"minimum": minimum}))
    if overrides.minimum is not None:
        minimum = overrides.minimum
        steps.append(override(f"minimum {minimum}", minimum=minimum))
    if overrides.maximum is not None:
        maximum = overrides.maximum
        steps.append(override(f"maximum {maximum}", maximum=maximum))
    if overrides.fixed is not None:
        minimum = maximum = overrides.fixed
        steps.append(override(f"fixed at {overrides.fixed}", fixed=overrides.fixed))
    elif minimum > maximum:
        text = f"Minimum {minimum} is above maximum {maximum}: the maximum applies"
        steps.append(ExplanationStep("bounds", text, {"minimum": minimum, "maximum": maximum}))
        minimum = maximum
    pause_in, pause_out = overrides.pause in ("in", "both"), overrides.pause in ("out", "both")
    pause = None
    if overrides.pause != "none":
        what = {"in": "scale-in paused", "out": "scale-out paused", "both": "scaling paused"}[overrides.pause]
        text = f"{origin}: {what}{reason}"
        pause = ExplanationStep(
            "pause", text, {"scale_in": not pause_in, "scale_out": not pause_out, "by": overrides.by}
        )
    return Limits(
        minimum,
        maximum,
        fixed=overrides.fixed is not None,
        pause_in=pause_in,
        pause_out=pause_out,
        recall=pause_in,
        dry_run=overrides.dry_run,
        steps=tuple(steps),
        pause=pause,
    )
