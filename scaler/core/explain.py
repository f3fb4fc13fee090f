# SPDX-License-Identifier: Apache-2.0
"""How a decision explains itself: one record per step, in the order of the steps, and one sentence for the whole."""

from __future__ import annotations

from collections.abc import Collection

from scaler.core.state import Demand, ExplanationStep, Kind, Value


class Explanation:
    """The steps of one decision. Steps are only added; the decision never depends on them."""

    def __init__(self, steps: list[ExplanationStep] | None = None, service: str = "") -> None:
        self._steps: list[ExplanationStep] = [] if steps is None else steps
        self._service = service

    def add(self, name: str, text: str, **values: Value) -> None:
        """Append a step; `values` are the numbers of the text, for programs."""
        if self._service:
            text, values = f"{self._service}: {text}", {"service": self._service, **values}
        self._steps.append(ExplanationStep(name, text, values))

    def append(self, step: ExplanationStep) -> None:
        """Append a step that exists already."""
        self._steps.append(step)

    def of(self, service: str) -> Explanation:
        """Return the same explanation for steps of one service."""
        return Explanation(self._steps, service)

    def steps(self) -> tuple[ExplanationStep, ...]:
        """Return the steps so far."""
        return tuple(self._steps)


def count(number: int, noun: str) -> str:
    """Return "1 worker", "2 workers"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def names(arns: Collection[str]) -> str:
    """Return the short ids of tasks, at most five of them."""
    short = sorted(arn.rpartition("/")[2][:12] for arn in arns)
    return ", ".join(short[:5]) + (f" and {len(short) - 5} more" if len(short) > len(short[:5]) else "")


def need(
    demand: Demand | None, needed: int | None, slots_per_worker: int | None, target: int, minimum: int, maximum: int
) -> str:
    """Return the demand in numbers, and why the target differs from what the demand needs."""
    if demand is None or needed is None:
        text = "demand unknown"
    elif demand.slots == 0:
        text = "no slots needed"
    else:
        text = f"{count(demand.slots, 'slot')} needed / {slots_per_worker} per worker = {needed}"
    if target == needed:
        return text
    if minimum == maximum == target:
        return f"{text}, fixed at {target}"
    if needed is not None and target == maximum < needed:
        return f"{text}, limited by maximum {target}"
    if needed is not None and target == minimum > needed:
        return f"{text} (minimum {target})"
    return f"{text}, target {target}"


def sentence(kind: Kind, demand: str, before: int, after: int, *, chosen: int, resumed: int, draining: int) -> str:
    """Return the decision in one sentence without its full stop; `demand` is the text of `need`."""
    match kind:
        case "protect":
            return f"Desired {before} -> {after}: raised to the protected minimum"
        case "grow":
            return f"Desired {before} -> {after}: {demand}"
        case "shrink":
            return f"Desired {before} -> {after}: {demand}; {count(before - after, 'surplus worker')} drained"
        case "drain":
            return f"Desired {after} until {count(chosen, 'surplus worker')} drained: {demand}"
        case "resume":
            return f"Desired {after}: {demand}; {count(resumed, 'draining worker')} resumed"
    return f"Desired {after}: {demand}{f'; {draining} draining' if draining else ''}"
