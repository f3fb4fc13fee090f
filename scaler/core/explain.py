# SPDX-License-Identifier: Apache-2.0
"""How a decision explains itself: one line a step, in the order in which the steps were taken."""

from __future__ import annotations

from collections.abc import Collection

from scaler.core.state import Demand, Kind


class Trail:
    """The lines of one decision; the only thing that changes while a decision is made, and it is never read back."""

    def __init__(self, lines: list[str] | None = None, subject: str = "") -> None:
        self._lines: list[str] = [] if lines is None else lines
        self._subject = f"{subject}: " if subject else ""

    def add(self, step: str, text: str) -> None:
        """Append a line."""
        self._lines.append(f"{step}: {self._subject}{text}")

    def of(self, subject: str) -> Trail:
        """Return the same trail for lines that are about one service."""
        return Trail(self._lines, subject)

    def lines(self) -> tuple[str, ...]:
        """Return the lines so far."""
        return tuple(self._lines)


def count(number: int, noun: str) -> str:
    """Return "1 worker", "2 workers"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def names(arns: Collection[str]) -> str:
    """Return the short ids of tasks, at most five of them."""
    short = sorted(arn.rsplit("/", 1)[-1][:12] for arn in arns)
    return ", ".join(short[:5]) + (f" and {len(short) - 5} more" if len(short) > len(short[:5]) else "")


def need(demand: Demand | None, needed: int | None, wanted: int, minimum: int, maximum: int) -> str:
    """Return what is wanted, and why it is not simply what the demand needs."""
    if demand is None or needed is None:
        told = "Nobody knows the demand"
    elif demand.slots == 0:
        told = "No task slot is wanted"
    else:
        is_, takes = ("is", "takes") if demand.slots == 1 else ("are", "take")
        told = f"{count(demand.slots, 'task slot')} {is_} wanted, which {takes} {count(needed, 'worker')}"
    if wanted == needed:
        return told
    if minimum == maximum == wanted:
        return f"{told}; the size is {count(wanted, 'worker')}"
    if needed is not None and wanted == maximum < needed:
        return f"{told}; the maximum is {wanted}"
    if needed is not None and wanted == minimum > needed:
        return f"{told}; the minimum is {wanted}"
    return f"{told}; {count(wanted, 'worker')} {'is' if wanted == 1 else 'are'} to serve"


def sentence(kind: Kind, told: str, before: int, after: int, *, chosen: int, called: int, draining: int) -> str:
    """Return why, in one sentence; `told` is what `need` said."""
    match kind:
        case "protect":
            return f"ECS must not refuse protection to a worker that works or is about to: desired {before} -> {after}."
        case "grow":
            return f"{told}: desired {before} -> {after}."
        case "shrink":
            return f"{told}, and who is too many has let go: desired {before} -> {after}."
        case "drain":
            return f"{told}: drains {count(chosen, 'worker')}, desired stays {after} until they let go."
        case "resume":
            return f"{told}: calls {count(called, 'worker')} back from drain."
    return f"{told}: desired stays {after}{f', {draining} in drain' if draining else ''}."
