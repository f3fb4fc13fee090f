# SPDX-License-Identifier: Apache-2.0
"""The demand of the scaler's log becomes tasks that take the slots which the log shows."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.reporting.explanation import LINE_VERSION
from simulation.workloads.decisions import decisions_workload
from simulation.workloads.document import WorkloadError
from simulation.workloads.model import Workload
from simulation.workloads.source import load_workloads

START = datetime(2026, 11, 30, tzinfo=UTC)


def line(at_s: float, queued: int, running: int, fleet: str = "default", **more: object) -> str:
    at = (START + timedelta(seconds=at_s)).isoformat()
    demand = {"queued": queued, "running": running, "slots": queued + running, "source": "database"}
    document = {"event": "decision", "version": LINE_VERSION, "at": at, "fleet": fleet, "demand": demand}
    return json.dumps(document | more)


def read(*lines: str) -> Workload:
    workload = decisions_workload("\n".join(lines).encode(), "log")
    assert workload is not None
    return workload


def test_tasks_come_start_and_end_in_order() -> None:
    workload = read(
        line(0, 0, 0),
        line(10, 3, 0),
        line(20, 1, 2),
        "a line of another program: {",
        '{"event": "started"}',
        line(30, 0, 2),
        "2026-11-30T00:01:00Z scaler | " + line(60, 0, 0),
        line(45, 0, 1, fleet="heavy"),
        line(50, 0, 0, fleet="heavy"),
        line(90, 0, 0, demand=None),
    )
    assert (workload.start, workload.horizon_s, workload.measure_from_s) == (START, 90.0, 30.0)
    assert [(run.dag_id, run.kind, run.start_s, run.run_times_s) for run in workload.runs] == [
        ("default", "manual", 10.0, (10.0,)),
        ("default", "manual", 10.0, (40.0,)),
        ("default", "manual", 10.0, (30.0,)),
        ("heavy", "manual", 45.0, (5.0,)),
    ]
    assert workload.dags["heavy"].versions[0][0].queue == "heavy"


STEPS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1)


@given(STEPS)
def test_the_time_in_slots_is_that_of_the_log(steps: list[tuple[int, int, int, int]]) -> None:
    at, queued, running, slot_s = 0, 0, 0, 0
    lines = [line(0, 0, 0)]
    for seconds, come, start, end in steps:
        at, slot_s = at + seconds, slot_s + running * seconds
        ends = min(end, running)
        starts = min(start, queued)
        # A task that comes while another one ends is not seen.
        comes = 0 if ends else come
        queued, running = queued + comes - starts, running + starts - ends
        lines.append(line(at, queued, running))
    if any(come and not end for _, come, _, end in steps) and (queued or running or slot_s):
        runs = read(*lines).runs
        assert sum(sum(run.run_times_s or ()) for run in runs) == slot_s


def test_a_command_takes_the_log_as_a_workload(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    log.write_text("\n".join((line(0, 1, 0), line(5, 0, 1), line(65, 0, 0))))
    (workload,) = load_workloads([str(log)], seed=1)
    assert (workload.name, len(workload.runs)) == ("decisions", 1)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        pytest.param([line(0, 1, 0), line(5, 0, 1, version=2)], "line 2: version", id="other version"),
        pytest.param([line(0, -1, 0)], "line 1: demand.queued", id="negative"),
        pytest.param([line(0, 0, 0), line(60, 0, 0)], "no demand between two decisions", id="no demand"),
        pytest.param([line(0, 1, 0)], "no demand between two decisions", id="one decision"),
    ],
)
def test_a_log_that_cannot_be_used_is_an_error(lines: list[str], text: str) -> None:
    with pytest.raises(WorkloadError, match=text):
        read(*lines)
