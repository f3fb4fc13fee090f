# SPDX-License-Identifier: Apache-2.0
"""Lost, duplicated and interrupted tasks are counted from the journal only; the summary is computed from samples."""

import ast
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from openmwaa.local import task_journal
from openmwaa.local.demo import summary
from openmwaa.local.demo.run import Burst, dag_source
from openmwaa.local.demo.table import DemoSnapshot, FleetView, FleetWorkers, history_line, line, render
from openmwaa.local.services.airflow_api import TaskInstance

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def write(path: Path, *lines: tuple[str, str, int]) -> Path:
    entries = [{"event": event, "task": task, "try": number, "at": 0.0, "worker": "w"} for event, task, number in lines]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


CASES = {
    "no fault": ([("start", "a", 1), ("end", "a", 1)], [], [], []),
    "never started": ([], ["a"], [], []),
    "started and was killed": ([("start", "a", 1)], ["a"], [], ["a#1"]),
    "killed, then retried to its end": ([("start", "a", 1), ("start", "a", 2), ("end", "a", 2)], [], [], ["a#1"]),
    "ran twice": ([("start", "a", 1), ("end", "a", 1), ("start", "a", 2), ("end", "a", 2)], [], ["a"], []),
    "the same try twice, one killed": ([("start", "a", 1), ("start", "a", 1), ("end", "a", 1)], [], [], ["a#1"]),
}


@pytest.mark.parametrize(("lines", "lost", "duplicated", "interrupted"), CASES.values(), ids=CASES.keys())
def test_journal_counts(
    tmp_path: Path, lines: list[tuple[str, str, int]], lost: list[str], duplicated: list[str], interrupted: list[str]
) -> None:
    read = task_journal.read(write(tmp_path / "journal", *lines), ["a"])
    assert (list(read.lost), list(read.duplicated), list(read.interrupted)) == (lost, duplicated, interrupted)


def test_without_a_journal_file_every_task_is_lost(tmp_path: Path) -> None:
    assert task_journal.read(tmp_path / "none", ["a", "b"]).lost == ("a", "b")


def test_an_incomplete_last_line_is_ignored(tmp_path: Path) -> None:
    path = write(tmp_path / "journal", ("start", "a", 1))
    path.write_text(path.read_text() + '{"event": "end", "task"')
    assert task_journal.read(path, ["a"]).interrupted == ("a#1",)


def task(
    index: int, *, queued_s: float, wait_s: float = 1, state: str = "success", try_number: int = 1
) -> TaskInstance:
    queued = NOON + timedelta(seconds=queued_s)
    started = queued + timedelta(seconds=wait_s)
    return TaskInstance("work", index, state, try_number, queued, started)


def test_reaction_counts_from_the_first_task_beyond_the_free_slots() -> None:
    tasks = [task(index, queued_s=index) for index in range(10)]
    began = summary.backlog_start(tasks, free_slots=5)
    assert began == NOON + timedelta(seconds=5), "five tasks have a slot; the sixth, queued at 5 s, is the backlog"
    scale_outs = [NOON + timedelta(seconds=at) for at in (2, 8.5, 11)]
    assert summary.reaction_s(began, scale_outs) == 3.5, "an UpdateService before the backlog does not count"


def test_without_backlog_or_answer_the_result_is_unknown_not_zero() -> None:
    assert summary.backlog_start([task(0, queued_s=0)], free_slots=5) is None
    assert summary.reaction_s(None, [NOON]) is None
    assert summary.reaction_s(NOON, []) is None
    assert summary.percentiles([]) is None


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=50))
def test_percentiles_are_within_the_samples(seconds: list[float]) -> None:
    result = summary.percentiles(seconds)
    assert result is not None
    assert min(seconds) - 0.01 <= result.p50 <= result.p95 <= max(seconds) + 0.01


FLAWS = {
    "nothing": ({}, True),
    "a failed task": ({"state": "failed"}, False),
    "a retried task": ({"try_number": 2}, False),
}


@pytest.mark.parametrize(("change", "flawless"), FLAWS.values(), ids=FLAWS.keys())
def test_a_flaw_is_counted(tmp_path: Path, change: dict[str, object], *, flawless: bool) -> None:
    journal = task_journal.read(
        write(tmp_path / "journal", ("start", "work[0]", 1), ("end", "work[0]", 1)), ["work[0]"]
    )
    tasks = [task(0, queued_s=0, **change)]  # type: ignore[arg-type]
    result = summary.summarise(
        bursts=[summary.EndedBurst("manual", tasks, journal, 1)],
        workers=[1, 4, 1],
        free_slots=5,
        scale_outs=[],
        up_s=1,
        total_s=2,
    )
    assert result.is_flawless is flawless
    assert (result.workers_min, result.workers_peak, result.workers_end) == (1, 4, 1)


def test_each_burst_has_its_waits_and_the_faults_of_all_are_summed(tmp_path: Path) -> None:
    ended = task_journal.read(write(tmp_path / "ended", ("start", "work[0]", 1), ("end", "work[0]", 1)), ["work[0]"])
    lost = task_journal.read(tmp_path / "none", ["work[0]"])
    first = [task(index, queued_s=index, wait_s=wait_s) for index, wait_s in enumerate((10, 20, 60))]
    second = [task(0, queued_s=90, wait_s=2), replace(task(1, queued_s=90), started_at=None)]
    result = summary.summarise(
        bursts=[summary.EndedBurst("manual", first, ended, 1), summary.EndedBurst("scheduled", second, lost, 4)],
        workers=[1],
        free_slots=1,
        scale_outs=[NOON + timedelta(seconds=3), NOON + timedelta(seconds=80)],
        up_s=1,
        total_s=2,
    )
    assert result.bursts == (
        summary.BurstResult("manual", 1, summary.QueueWaits(mean=30, p95=56, max=60)),
        summary.BurstResult("scheduled", 4, summary.QueueWaits(mean=2, p95=2, max=2)),
    )
    assert (result.tasks_succeeded, result.tasks_lost) == (5, 1)
    assert result.backlog_to_update_service_s == 2, "the backlog of the first burst counts"


DUE = datetime(2026, 1, 1, 12, 0, 1, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("scheduled", "constants"),
    [
        pytest.param((), {"DUE": "", "JOURNAL": ""}, id="by hand"),
        pytest.param((DUE, Path("/j")), {"DUE": "2026-01-01T12:00:01.500000+00:00", "JOURNAL": "/j"}, id="scheduled"),
    ],
)
def test_the_dag_has_the_constants_of_the_burst(scheduled: tuple[Any, ...], constants: dict[str, str]) -> None:
    tree = ast.parse(dag_source(Burst(tasks=7, seconds=1.5), *scheduled))
    found = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert found == {"DAG_ID": "openmwaa_burst_7x1.5", "TASKS": 7, "SECONDS": 1.5, **constants}


def test_the_table_and_the_line_show_the_fleet_and_a_question_mark_for_unknown() -> None:
    document = {
        "fleet": "default",
        "desired": None,
        "min": 1,
        "max": 5,
        "workers": {"starting": 1, "busy": 2, "consuming_idle": 3, "draining": 4, "released": 5, "unknown": 6},
        "demand": {"queued": None, "running": 7},
        "slots": {"total": 25, "free": 3},
        "reason": "Hold: the database is unknown.",
    }
    fleet = FleetView.of(document)
    assert fleet.workers == FleetWorkers(starting=1, busy=2, idle=3, draining=9, unknown=6)
    view = DemoSnapshot(12.0, "burst running", 3, 60, (fleet,), (1, 2, 3))
    text = line(view)
    for part in ("? queued", "7 running", "3 of 60", "9 draining", "Hold: the database is unknown."):
        assert part in text, f"{part!r} is missing in {text!r}"
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(view))
    drawn = console.export_text()
    for part in ("21 → ?", "(1 to 5)", "3 of 25", "reason: Hold", "3 of 60"):
        assert part in drawn, f"{part!r} is missing in the table:\n{drawn}"


def test_unknown_workers_are_not_drawn_as_zero() -> None:
    states = ("starting", "busy", "consuming_idle", "draining", "released", "unknown")
    document = {"fleet": "default", "desired": 3, "min": 1, "max": 5, "reason": "Hold: the tasks are unknown."}
    fleet = FleetView.of(document | {"workers": dict.fromkeys(states)})
    assert fleet.workers is None
    view = DemoSnapshot(12.0, "burst running", 3, 60, (fleet,), (1, 2, 3))
    assert "workers ? → 3 (states unknown)" in line(view)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(view))
    assert "? → 3" in console.export_text()


@given(st.lists(st.integers(0, 500), max_size=500))
def test_the_history_line_has_at_most_the_width_of_the_terminal(history: list[int]) -> None:
    assert len(history_line(history, width=60)) <= 60
