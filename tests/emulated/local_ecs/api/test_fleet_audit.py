# SPDX-License-Identifier: Apache-2.0
"""The audit of the emulated tests detects each violation."""

from typing import Any

import pytest

from local_ecs.api import Entry
from openmwaa.local.task_journal import JournalEntry
from tests.support.fleet_audit import OPERATOR, Audit

GROUP = {"group": "service:worker"}
BY_SERVICE = {"code": "ServiceSchedulerInitiated", "reason": "Scaling activity initiated by"}


def started(at: float, task: str) -> list[Entry]:
    """A running and protected worker."""
    return [
        Entry(at, "TaskStarted", {**GROUP, "task": task, "address": f"127.0.0.{task}"}),
        Entry(at + 1, "TaskRunning", {**GROUP, "task": task}),
        protection(at + 2, task, enabled=True),
    ]


def protection(at: float, task: str, *, enabled: bool, refused: str | None = None) -> Entry:
    return Entry(at, "Protection", {**GROUP, "task": task, "enabled": enabled, "refused": refused})


def lowered(at: float, before: int, after: int, caller: str = "scaler") -> Entry:
    detail = {"service": "worker", "desired_before": before, "desired": after, "caller": caller}
    return Entry(at, "UpdateService", detail)


def stopping(at: float, task: str, **detail: Any) -> Entry:
    return Entry(at, "TaskStopping", {**GROUP, "task": task, **BY_SERVICE, **detail})


TWO = [*started(0, "1"), *started(0, "2")]
RELEASED = protection(10, "2", enabled=False)


def test_a_scale_in_after_a_release_is_no_violation() -> None:
    lines = [JournalEntry("start", "a", 1, 5, "127.0.0.2"), JournalEntry("end", "a", 1, 9, "127.0.0.2")]
    audit = Audit([*TWO, RELEASED, lowered(11, 2, 1), stopping(12, "2")], "worker", task_journal=lines)
    assert audit.violations == []
    assert [(scale_in.before, scale_in.after, scale_in.released) for scale_in in audit.scale_ins] == [
        (2, 1, frozenset({"2"}))
    ]
    assert (audit.stopped_by_ecs, audit.most_running) == ({"2"}, 2)


def test_a_lower_count_by_another_caller_is_no_violation() -> None:
    assert Audit([*TWO, lowered(11, 2, 1, OPERATOR)], "worker").violations == []


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([lowered(11, 2, 1)], "but 0 were released", id="none-released"),
        pytest.param([RELEASED, lowered(11, 2, 0)], "but 1 were released", id="too-low"),
        pytest.param([RELEASED, *started(10, "3")[:2], lowered(12, 3, 2)], "not released: {'3'}", id="another-is-free"),
        pytest.param([stopping(11, "2")], "which is protected", id="protected-stopped"),
        pytest.param([RELEASED, stopping(11, "2", code="UserInitiated")], "by UserInitiated", id="stopped-by-a-user"),
        pytest.param([Entry(11, "StopTask", {**GROUP, "task": "2"})], "used StopTask", id="stop-task"),
    ],
)
def test_a_violation_is_detected(entries: list[Entry], expected: str) -> None:
    (violation,) = Audit([*TWO, *entries], "worker").violations
    assert expected in violation


@pytest.mark.parametrize(
    ("event", "at"), [("start", 1.5), ("end", 10.5)], ids=["before-protection", "after-the-release"]
)
def test_work_without_protection_is_detected(event: Any, at: float) -> None:
    audit = Audit([*TWO, RELEASED], "worker", task_journal=[JournalEntry(event, "a", 1, at, "127.0.0.2")])
    assert audit.violations == [f"a: {event} on 2, which was not protected"]


def test_a_worker_of_the_other_service_does_not_count_as_released() -> None:
    old = {"group": "service:old"}
    entries = [
        Entry(0, "TaskStarted", {**old, "task": "3", "address": "127.0.0.3"}),
        Entry(1, "TaskRunning", {**old, "task": "3"}),
        Entry(2, "Protection", {**old, "task": "3", "enabled": True, "refused": None}),
        Entry(3, "Protection", {**old, "task": "3", "enabled": False, "refused": None}),
    ]
    audit = Audit([*TWO, *entries, lowered(11, 2, 1)], "worker", "old")
    assert audit.violations == ["desired 2 -> 1, but 0 were released"]
    assert audit.most_running == 3


def test_a_refusal_is_no_protection() -> None:
    entries = [*started(0, "1")[:2], protection(3, "1", enabled=True, refused="DEPLOYMENT_BLOCKED")]
    (task,) = Audit(entries, "worker").tasks.values()
    assert (task.protected, task.released, task.refusals) == (False, False, [3])
