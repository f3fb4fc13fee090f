# SPDX-License-Identifier: Apache-2.0
"""The bounds in force: the fleet's own, the schedule's minimum, and manual overrides.

Manual overrides take precedence. If the minimum is above the maximum, the maximum applies, because it limits the cost.
"""

from dataclasses import dataclass, replace

from scaler.core.explain import Explanation, count
from scaler.core.model import FleetPolicy, Overrides, Reading, Schedule, Unknown
from scaler.core.state import ExplanationStep, Value

FIRST_READ_S = 60.0
"""A scaler that has never read the overrides makes no write for this time, because an override may be a pause."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds in force, and the forbidden changes."""

    minimum: int
    maximum: int
    fixed: bool = False
    """An override sets the size; the demand is not needed."""
    pause_in: bool = False
    pause_out: bool = False
    resume_all: bool = False
    """Draining workers are resumed, because scale-in is paused."""
    dry_run: bool = False
    steps: tuple[ExplanationStep, ...] = ()
    """The origin of the bounds."""
    pause: ExplanationStep | None = None


def in_force(
    fleet: FleetPolicy,
    overrides: Reading[Overrides],
    schedule: Schedule | None,
    unknown_since: float | None,
    now: float,
) -> tuple[Limits, float | None]:
    """Return the bounds in force, and since when the overrides have been unknown."""
    if not isinstance(overrides, Unknown):
        return _limits(fleet, overrides.value, schedule), None
    since = now if unknown_since is None else min(unknown_since, now)
    limits = _limits(fleet, Overrides(), schedule)
    early = now - since < FIRST_READ_S
    allowed = "no writes yet" if early else "scale-out only"
    pause = ExplanationStep(
        "pause",
        f"Overrides unreadable ({overrides.reason}): {allowed}",
        {"scale_in": False, "scale_out": not early, "reason": overrides.reason},
    )
    return replace(limits, pause_in=True, pause_out=early, pause=pause), since


def bound(limits: Limits, target: int, serving: int, *, may_shrink: bool, explanation: Explanation) -> int:
    """Return `target` within the bounds; a fleet above its maximum is not lowered on unknown readings."""
    for step in limits.steps:
        explanation.append(step)
    if target < limits.minimum:
        text = f"Raised to minimum {limits.minimum}: {limits.minimum - target} more than needed"
        explanation.add("bounds", text, minimum=limits.minimum)
        return limits.minimum
    top = limits.maximum if may_shrink else max(limits.maximum, min(target, serving))
    if target > top:
        short = target - limits.maximum
        kept = f"; {top} kept because not every source is known" if top > limits.maximum else ""
        text = f"Limited by maximum {limits.maximum}: {count(short, 'worker')} short{kept}"
        explanation.add("bounds", text, maximum=limits.maximum, short=short)
        return top
    return target


def _limits(fleet: FleetPolicy, overrides: Overrides, schedule: Schedule | None) -> Limits:
    steps = []
    origin = f"Override by {overrides.by or 'unknown'}"
    reason = f" ({overrides.reason})" if overrides.reason else ""

    def override(text: str, **values: Value) -> ExplanationStep:
        return ExplanationStep("override", f"{origin}: {text}{reason}", {**values, "by": overrides.by})

    minimum, maximum = fleet.minimum, fleet.maximum
    if schedule is not None and schedule.minimum > minimum:
        minimum = schedule.minimum
        text = f"Schedule: minimum {minimum} ({schedule.description})"
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
        values: dict[str, Value] = {"scale_in": not pause_in, "scale_out": not pause_out, "by": overrides.by}
        pause = ExplanationStep("pause", f"{origin}: {what}{reason}", values)
    return Limits(
        minimum,
        maximum,
        fixed=overrides.fixed is not None,
        pause_in=pause_in,
        pause_out=pause_out,
        resume_all=pause_in,
        dry_run=fleet.dry_run or overrides.dry_run,
        steps=tuple(steps),
        pause=pause,
    )
