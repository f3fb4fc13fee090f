# SPDX-License-Identifier: Apache-2.0
"""The sentences that answer "why are there so many workers?", one case a reason."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.core.state import Kind
from scaler.reporting.decision_line import decision_line
from scaler.reporting.explanation import answer, outlook, slots_per_worker
from scaler.runtime.tick_result import Report
from tests.support.scaler_page import line, workers
from tests.unit.scaler.test_runtime import ports

ORDERS = {"min": None, "max": None, "fixed": None, "pause": "none", "dry_run": False, "by": "ada", "at": "", "why": ""}
LINES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "as many as needed": (
        line(),
        (
            "7 workers desired and running.",
            "33 task slots wanted: 28 queued + 5 running (says Airflow's database).",
            "A worker has 5 slots, so that takes 7 workers.",
        ),
    ),
    "maximum": (
        line(queued=120, running=0),
        ("takes 24 workers.", "The maximum is 20, so there are 4 too few."),
    ),
    "minimum": (
        line(queued=0, running=0),
        ("1 worker desired and running.", "No task slot is wanted (says Airflow's database).", "The minimum is 1."),
    ),
    "window": (
        line(
            queued=0,
            running=5,
            wanted=4,
            explanation=["window: the largest need of the last 60 s is 4: wants 4 of 6"],
        ),
        ("The largest need of the last 60 s is 4: wants 4 of 6.",),
    ),
    "fixed": (line(wanted=3, min=3, max=3), ("The size is fixed at 3.",)),
    "launch budget": (
        line(queued=300, running=0, max=100, wanted=60, desired=50, explanation=["launch: 60 would be right, but 50"]),
        ("60 are wanted. 60 would be right, but 50.",),
    ),
    "a demand nobody knows": (
        line(wanted=4, explanation=["window: nobody knows the demand: holds 4 workers"])
        | {"demand": None, "needed": None},
        ("Nobody knows the demand: holds 4 workers.",),
    ),
    "drain": (
        line(queued=0, running=5, desired=4, workers=workers(busy=1, draining=3)),
        ("Only 1 wanted now; 3 more stay, because no worker is stopped before its last task has ended",),
    ),
    "on the way up": (line(running_workers=5), ("7 workers desired: 5 running, 2 on the way up.",)),
    "on the way down": (line() | {"running": 9}, ("7 workers desired: 9 running, 2 on the way down.",)),
    "unknown demand": (line() | {"demand": None}, ("unknown is never taken for nothing",)),
    "unknown service": (
        line() | {"desired": None, "running": None, "reason": "ECS is silent."},
        ("How many workers there are is unknown. ECS is silent.",),
    ),
    "pause": (
        line(controls=ORDERS | {"pause": "in", "why": "a migration"}),
        ("ada paused scale-in, so no worker is let go (“a migration”).",),
    ),
    "fixed and dry run": (
        line(controls=ORDERS | {"fixed": 3, "dry_run": True}),
        ("ada fixed the fleet at 3 and ordered a dry run, so decisions are made and not carried out.",),
    ),
    "orders unknown": (line(controls_state="unknown"), ("Orders of people cannot be read at the moment.",)),
    "a line of an older scaler": (
        {"event": "decision", "fleet": "default", "desired": 2, "running": 2, "reason": "so"},
        ("2 workers desired and running.",),
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_the_answer_says(case: str) -> None:
    told, sentences = LINES[case]
    said = " ".join(answer(told))
    for sentence in sentences:
        assert sentence in said, said


def test_the_outlook_tells_who_comes_and_who_leaves() -> None:
    said = outlook(
        line(
            workers=workers(starting=3, stuck=1, draining=2, released=1),
            wanted=8,
            explanation=["reduce: not yet: 1 task on the way up"],
            generations={"worker-default-a": {"running": 4}, "worker-default-b": {"running": 3}},
            controls=ORDERS | {"until": "2026-03-01T18:00:00Z"},
        )
    )
    assert said == (
        "On the way up: 2 workers.",
        "Not counted on, for it did not start to work in time: 1 worker.",
        "In drain: 2 workers; takes nothing new and leaves when its last task has ended.",
        "Released: 1 worker; has nothing left to do and is stopped next.",
        "Rollout: 3 workers of worker-default-b let go, each when its last task has ended.",
        "No reduction yet: 1 task on the way up.",
        "Falls to 7 workers if no more is needed for a whole scale-in window and all sources are known.",
        "What was ordered ends at 2026-03-01T18:00:00Z.",
    )
    assert outlook(line()) == ("Nothing is under way: the count changes when the demand does.",)


async def test_real_decisions_are_told_in_full() -> None:
    """The sentences are made from what the core really says: growth, full house, drain, reduction."""
    world, seen = ports(), dict[Kind, Report]()
    loop = world.fleet_loop()
    world.queue.extend([20.0] * 12)
    for _ in range(40):
        report = await loop.tick()
        seen.setdefault(report.tick.decision.kind, report)
        world.advance(5.0)
    assert {"grow", "drain", "shrink"} <= set(seen)
    for kind, report in seen.items():
        told = decision_line(report, "test")
        assert slots_per_worker(told) == 5, f"{kind}: the step does not say the slots in the words that are looked for"
        said = " ".join(answer(told))
        assert "unknown" not in said
        assert "None" not in said
    grown = " ".join(answer(decision_line(seen["grow"], "test")))
    assert "12 task slots wanted" in grown
    assert "A worker has 5 slots, so that takes 3 workers." in grown
