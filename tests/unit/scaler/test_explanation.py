# SPDX-License-Identifier: Apache-2.0
"""The sentences that explain the number of workers, one case per reason, and that no code reads them back."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from scaler.core.state import Kind
from scaler.reporting.decision_line import decision_line
from scaler.reporting.explanation import next_steps, summary
from scaler.runtime.tick_result import TickResult
from tests.support.scaler_page import line, step, workers
from tests.unit.scaler.test_runtime import ports

ROOT = Path(__file__).resolve().parents[3]
OVERRIDES = {
    "min": None,
    "max": None,
    "fixed": None,
    "pause": "none",
    "dry_run": False,
    "by": "ada",
    "at": "",
    "reason": "",
}
LINES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "as many as needed": (
        line(),
        (
            "7 workers desired, 7 running.",
            "33 slots needed (28 queued + 5 running, from Airflow's database) / 5 per worker = 7 workers.",
        ),
    ),
    "maximum": (
        line(queued=120, running=0),
        ("/ 5 per worker = 24 workers.", "Limited by maximum 20: 4 workers short."),
    ),
    "minimum": (
        line(queued=0, running=0),
        ("1 worker desired, 1 running.", "No slots needed (from Airflow's database).", "Raised to minimum 1."),
    ),
    "window": (
        line(
            queued=0,
            running=5,
            target=4,
            explanation=[step("window", "1 of 6 workers needed, at most 4 needed in the last 60 s: keep 4")],
        ),
        ("1 of 6 workers needed, at most 4 needed in the last 60 s: keep 4.",),
    ),
    "fixed": (line(target=3, min=3, max=3), ("Fixed at 3.",)),
    "launch budget": (
        line(
            queued=300,
            running=0,
            max=100,
            target=60,
            desired=50,
            explanation=[step("launch", "60 workers needed, limited to 50: 50 tasks requested and not running yet")],
        ),
        ("Target 60. 60 workers needed, limited to 50: 50 tasks requested and not running yet.",),
    ),
    "an unknown demand that keeps the workers": (
        line(target=4, explanation=[step("window", "Demand unknown: keep 4 workers")])
        | {"demand": None, "needed": None},
        ("Demand unknown: keep 4 workers.",),
    ),
    "drain": (
        line(queued=0, running=5, desired=4, workers=workers(busy=1, draining=3)),
        ("Target 1. 3 more workers until their last tasks end (1 busy, 3 draining).",),
    ),
    "starting": (line(running_workers=5), ("7 workers desired, 5 running, 2 starting.",)),
    "stopping": (line() | {"running": 9}, ("7 workers desired, 9 running, 2 stopping.",)),
    "unknown demand": (line() | {"demand": None}, ("Demand unknown: no scale-in.",)),
    "unknown service": (
        line() | {"desired": None, "running": None, "reason": "ECS is silent."},
        ("Worker count unknown. ECS is silent.",),
    ),
    "pause": (
        line(overrides=OVERRIDES | {"pause": "in", "reason": "a migration"}),
        ("Override by ada: scale-in paused (a migration).",),
    ),
    "fixed and dry run": (
        line(overrides=OVERRIDES | {"fixed": 3, "dry_run": True}),
        ("Override by ada: fixed at 3, dry run without changes.",),
    ),
    "orders unknown": (line(overrides_state="unknown"), ("Overrides unreadable.",)),
    "a stale reading": (
        line() | {"demand": {"queued": 28, "running": 5, "slots": 33, "source": "database", "stale": True}},
        ("from Airflow's database, last reading)",),
    ),
    "a line with few values": (
        {"event": "decision", "fleet": "default", "desired": 2, "running": 2, "reason": "so"},
        ("2 workers desired, 2 running.",),
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_summary(case: str) -> None:
    decided, sentences = LINES[case]
    text = " ".join(summary(decided))
    for sentence in sentences:
        assert sentence in text, text


def test_next_steps_list_starting_and_stopping_workers() -> None:
    found = next_steps(
        line(
            workers=workers(starting=3, stuck=1, draining=2, released=1),
            target=8,
            explanation=[
                step("reduce", "No scale-in yet: 1 task starting", blocked=True),
                step("reduce", "1 released worker, no other worker unprotected: desired 4 -> 3", blocked=False),
                step("dry run", "Would drain 01"),
            ],
            services={"worker-default-a": {"running": 4}, "worker-default-b": {"running": 3}},
            overrides=OVERRIDES | {"until": "2026-03-01T18:00:00Z"},
        )
    )
    assert found == (
        "Starting: 2 workers.",
        "Not started in time, not counted: 1 worker.",
        "Draining: 2 workers. A draining worker takes no new task and stops after its last.",
        "Released: 1 worker, stopped next.",
        "Rollout: 3 workers of worker-default-b stop after their last tasks.",
        "Would drain 01.",
        "No scale-in yet: 1 task starting.",
        "Scale-in to 7 workers after one scale-in window with no higher need and all sources known.",
        "The override ends at 2026-03-01T18:00:00Z.",
    )
    assert next_steps(line()) == ("No change in progress.",)


async def test_real_decisions_have_complete_sentences() -> None:
    """The decisions are made by the core: scale-out, drain, scale-in."""
    world, seen = ports(), dict[Kind, TickResult]()
    loop = world.fleet_loop()
    world.queue.extend([20.0] * 12)
    for _ in range(40):
        report = await loop.tick()
        seen.setdefault(report.tick.decision.kind, report)
        world.advance(5.0)
    assert {"grow", "drain", "shrink"} <= set(seen)
    for kind, report in seen.items():
        decided = decision_line(report, "test")
        assert decided["slots_per_worker"] == 5, kind
        slots = next(step for step in report.tick.decision.explanation if step.name == "slots")
        assert slots.values["slots_per_worker"] == 5
        text = " ".join(summary(decided))
        assert "unknown" not in text
        assert "None" not in text
    grown = " ".join(summary(decision_line(seen["grow"], "test")))
    assert "12 slots needed" in grown
    assert "/ 5 per worker = 3 workers." in grown
    assert seen["grow"].tick.decision.reason.endswith("12 slots needed / 5 per worker = 3.")


# --- sentences are for people: no code reads them back

SOURCES = ("scaler", "openmwaa", "simulation")
TEXTS = {"text", "reason", "explanation", "summary", "next_steps", "source", "sentence", "step"}
READERS_OF_LINES = [
    ROOT / path
    for path in ("openmwaa/cli/explain.py", "openmwaa/operate/explanation.py", "openmwaa/operate/decisions.py")
]
READERS = {
    *("partition", "rpartition", "split", "rsplit", "splitlines", "startswith", "endswith"),
    *("removeprefix", "removesuffix", "find", "index", "match", "search", "fullmatch", "findall", "finditer", "sub"),
}


def reads_of_text(source: str, *, variables: bool = True) -> list[int]:
    """Return the lines where Python takes apart, or searches, a value named like an explanation's text."""

    def is_text(node: ast.expr) -> bool:
        match node:
            case ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
                return name in TEXTS
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
                return name in TEXTS
            case ast.Call(func=ast.Name(id="str"), args=[inner]):
                return is_text(inner)
            case ast.Name(id=name):
                return variables and name in TEXTS
        return False

    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=method), args=arguments) if method in READERS:
                parts = [value, *arguments]
            case ast.Compare(left=ast.Constant(value=str()), ops=[ast.In() | ast.NotIn()], comparators=parts):
                pass
            case _:
                continue
        if any(is_text(part) for part in parts):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    "source",
    [
        'step.text.partition(": ")',
        'line["reason"].startswith("Dry run")',
        're.search(r"(\\d+) per worker", step["text"])',
        'str(line.get("reason", "")).split(";")',
        '"stale" in demand.source',
        'reason.removeprefix("Dry run")',
        'str(step).partition(":")',
    ],
)
def test_the_check_finds_code_that_reads_a_sentence(source: str) -> None:
    assert reads_of_text(source) == [1]


def test_no_code_reads_a_sentence() -> None:
    files = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    assert {ROOT / "scaler/reporting/explanation.py", *READERS_OF_LINES} <= set(files)
    found = []
    for path in files:
        # Elsewhere a variable of such a name has another text: a time, an option, a reason given by ECS.
        variables = path.is_relative_to(ROOT / "scaler") or path in READERS_OF_LINES
        numbers = reads_of_text(path.read_text(encoding="utf-8"), variables=variables)
        found += [f"{path}:{number}" for number in numbers]
    assert found == []
    page = (ROOT / "scaler/reporting/page.js").read_text(encoding="utf-8")
    reads = re.findall(
        r"\b(?:text|reason|explanation|summary)\b\)?\.(?:split|match|includes|startsWith|search|slice)\(.*", page
    )
    assert reads == []
