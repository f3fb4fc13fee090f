# SPDX-License-Identifier: Apache-2.0
"""Lines about DAG files that do not import and tasks that wait: at each change, and one a minute."""

from typing import Any

import pytest

from scaler.errors import SourceError
from scaler.ports import AirflowProblems, ImportProblem, WaitingTask
from scaler.reporting.airflow_problems import EVENT, LISTED, WAITING_S, AirflowReport
from tests.support.virtual_clock import LoopClock

NONE = AirflowProblems(0, (), 0, ())
BROKEN = AirflowProblems(1, (ImportProblem("a.py", "NameError: x"),), 0, ())


def _waiting(seconds: float) -> AirflowProblems:
    return AirflowProblems(0, (), 1, (WaitingTask("d", "r", "t", -1, "default", seconds),))


class Source:
    """Airflow's database."""

    answer: AirflowProblems | Exception = NONE

    async def problems(self, waiting_s: float, limit: int) -> AirflowProblems:
        assert (waiting_s, limit) == (WAITING_S, LISTED)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Clock(LoopClock):
    """Time that a test sets."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Reports:
    """A report with a source, a clock and its lines."""

    def __init__(self) -> None:
        self.source, self.clock = Source(), Clock()
        self.lines: list[dict[str, Any]] = []
        self.report = AirflowReport(self.source, self.clock, self._event)

    def _event(self, event: str, **values: Any) -> None:
        self.lines.append({"event": event, **values})

    async def after(self, seconds: float, answer: AirflowProblems | Exception) -> list[dict[str, Any]]:
        """Return the new lines of one report."""
        self.clock.now += seconds
        self.source.answer, self.lines = answer, []
        await self.report.report()
        return self.lines


async def test_a_change_is_written_at_once_and_the_same_once_a_minute() -> None:
    reports = Reports()
    (first,) = await reports.after(0, NONE)
    assert first == {"event": EVENT, "import_errors": 0, "files": (), "waiting": 0, "tasks": ()}
    assert await reports.after(10, NONE) == []
    (broken,) = await reports.after(10, BROKEN)
    assert broken["files"] == ({"file": "a.py", "error": "NameError: x"},)
    assert await reports.after(50, BROKEN) == []
    assert len(await reports.after(10, BROKEN)) == 1


async def test_a_task_that_waits_longer_is_no_change() -> None:
    reports = Reports()
    (line,) = await reports.after(0, _waiting(301.0))
    assert line["tasks"][0]["queue"] == "default"
    assert await reports.after(10, _waiting(311.0)) == []


@pytest.mark.parametrize("error", [SourceError("database", "permission denied"), TypeError("odd")])
async def test_a_failed_read_is_a_line_without_numbers(error: Exception) -> None:
    reports = Reports()
    await reports.after(0, NONE)
    (line,) = await reports.after(10, error)
    assert line == {"event": EVENT, "error": str(error)}
    assert len(await reports.after(10, NONE)) == 1
