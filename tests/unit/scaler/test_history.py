# SPDX-License-Identifier: Apache-2.0
"""Written lines, kept decisions and their limits."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scaler.reporting.decision_log import KEPT_AT_LEAST, KEPT_IN_ALL
from scaler.reporting.history import BUCKET_S, SERIES, Timeline, change_key
from tests.support.scaler_page import FakeScaler, fake_scaler, line, step, workers

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def ticks(
    scaler: FakeScaler, count: int, make: Callable[[int], dict[str, Any]], every_s: float = 5.0
) -> list[dict[str, Any]]:
    """Decide again and again; return what was written."""
    scaler.now = START
    for number in range(count):
        scaler.decide(make(number), ago_s=-number * every_s)
    return [json.loads(text) for text in scaler.out.getvalue().splitlines()]


def test_an_unchanged_fleet_writes_a_line_a_minute() -> None:
    scaler = fake_scaler()

    def aging(number: int) -> dict[str, Any]:
        return step("window", f"1 of 2 workers needed, all sources known for {number} of 60 s: keep 2", kept=2)

    written = ticks(scaler, 120, lambda n: line(explanation=[aging(n)], readings={"database": n / 10}))
    assert len(written) == 10, "ten minutes, a line a minute"
    (entry,) = scaler.log.decisions(50)
    assert isinstance(entry, dict)
    assert (entry["ticks"], entry["since"], entry["at"]) == (
        120,
        "2026-01-31T12:00:00.000Z",
        "2026-01-31T12:09:55.000Z",
    )
    assert entry["explanation"] == [aging(119)], "the entry is the last of the equal decisions"


def test_changing_task_counts_alone_do_not_write_a_line_in_every_tick() -> None:
    same: dict[str, Any] = {"needed": 7, "target": 7, "desired": 7, "desired_before": 7}

    def busy(number: int) -> dict[str, Any]:
        states = workers(busy=5 + number % 2, consuming_idle=2 - number % 2)
        return line(queued=10 + number % 5, running=20, workers=states, **same)

    assert len(ticks(fake_scaler(), 120, busy)) == 10


def error(reason: str) -> dict[str, str]:
    return {"source": "ecs", "kind": "DeadlineError", "text": f"ecs: {reason}"}


CHANGES = [
    pytest.param({"desired": 8}, id="desired"),
    pytest.param({"needed": 8}, id="needed"),
    pytest.param({"kind": "drain"}, id="kind"),
    pytest.param({"drain": ["arn:1"]}, id="drain"),
    pytest.param({"max": 30}, id="bounds"),
    pytest.param({"overrides": {"pause": "in", "by": "ada"}}, id="overrides"),
    pytest.param({"overrides_state": "unknown"}, id="controls unknown"),
    pytest.param({"errors": [error("no answer within 2.0 s")]}, id="errors"),
    pytest.param({"readings": {"database": None}}, id="a source became unknown"),
    pytest.param({"current": "worker-default-b"}, id="generation"),
    pytest.param({"workers": workers(starting=1, busy=7)}, id="workers"),
    pytest.param(
        {"demand": {"queued": 28, "running": 5, "slots": 33, "source": "database", "stale": True}}, id="stale source"
    ),
    pytest.param({"update_service": {"sent": True, "desired": 7}}, id="write"),
    pytest.param({"services": {"worker-default-a": {"revision": 8}}}, id="revision"),
    pytest.param(
        {"demand": {"queued": 28, "running": 5, "slots": 33, "source": "broker", "stale": False}}, id="source"
    ),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_written_at_once(change: dict[str, Any]) -> None:
    scaler = fake_scaler()
    written = ticks(scaler, 2, lambda n: line() | (change if n else {}))
    assert len(written) == 2
    assert len(scaler.log.decisions(50)) == 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"readings": {"database": 3.5, "broker": 0.1}}, id="age of a reading"),
        pytest.param(
            {"demand": {"queued": 27, "running": 5, "slots": 32, "source": "database", "stale": False}},
            id="one task fewer",
        ),
        pytest.param({"slots": {"total": 35, "free": 3}}, id="free slots"),
    ],
)
def test_values_without_effect_are_no_change(change: dict[str, Any]) -> None:
    scaler = line(readings={"database": 0.1, "broker": 0.1})
    assert change_key(scaler) == change_key(scaler | change)


def test_errors_of_one_kind_are_no_change() -> None:
    lines = [line(errors=[error(f"no answer within {seconds} s")]) for seconds in (2.0, 1.9)]
    assert change_key(lines[0]) == change_key(lines[1])


def test_a_clock_that_went_back_does_not_stop_the_log() -> None:
    scaler = fake_scaler()
    scaler.now = START
    scaler.decide(line())
    scaler.decide(line(), ago_s=3600)
    assert len(scaler.out.getvalue().splitlines()) == 2


def test_a_busy_fleet_does_not_displace_a_quiet_one() -> None:
    scaler = fake_scaler()
    scaler.decide(line("quiet", desired=4))
    ticks(scaler, 2000, lambda n: line("noisy", desired=n))
    (entry,) = scaler.log.decisions(10, fleet="quiet")
    assert isinstance(entry, dict)
    assert entry["desired"] == 4


def test_many_fleets_share_the_limit() -> None:
    scaler = fake_scaler()
    fleets = KEPT_IN_ALL // KEPT_AT_LEAST * 2
    for fleet in range(fleets):
        scaler.decide(line(f"fleet-{fleet}"))
    ticks(scaler, 300, lambda n: line("fleet-1", desired=n))
    assert len(scaler.log.decisions(1000, fleet="fleet-1")) == KEPT_AT_LEAST


def test_decisions_by_time_and_changes_only() -> None:
    scaler = fake_scaler()
    ticks(scaler, 10, lambda n: line(desired=n // 5, desired_before=n // 5 if n % 5 else 0, needed=n), every_s=60)

    def at(**arguments: Any) -> list[str]:
        return [str(entry["at"])[11:16] for entry in scaler.log.decisions(50, **arguments) if isinstance(entry, dict)]

    minutes = [f"12:0{minute}" for minute in range(10)]
    assert at() == minutes
    assert at(since="2026-01-31T12:03:00.000Z") == minutes[4:]
    assert at(before="2026-01-31T12:03:00.000Z") == minutes[:3]
    assert at(changes=True) == ["12:05"]
    assert at(fleet="another") == []


def test_decisions_of_all_fleets_are_in_order_of_time() -> None:
    scaler = fake_scaler()
    scaler.now = START
    for second in range(6):
        scaler.decide(line(f"fleet-{second % 2}", desired=second), ago_s=-second)
    desired = [entry["desired"] for entry in scaler.log.decisions(4) if isinstance(entry, dict)]
    assert desired == [2, 3, 4, 5]


# --- the series of the plot


def test_a_point_has_the_peak_demand_and_the_last_count() -> None:
    series = Timeline()
    for second, (slots, desired) in enumerate([(5, 1), (60, 12), (10, 12), (5, 3)]):
        demand = {"queued": slots, "running": 0, "slots": slots}
        series.add(START + timedelta(seconds=second), line(desired=desired) | {"demand": demand, "needed": slots // 5})
    (point,) = series.points()
    assert isinstance(point, list)
    scaler = dict(zip(SERIES, point, strict=True))
    assert (scaler["at"], scaler["slots"], scaler["needed"], scaler["desired"]) == (int(START.timestamp()), 60, 12, 3)


def test_the_series_is_bounded_and_unknown_is_none() -> None:
    series = Timeline(points=10)
    for number in range(100):
        scaler: dict[str, Any] = {"demand": None, "needed": None, "running": None}
        series.add(START + timedelta(seconds=number * BUCKET_S), line() | scaler)
    points = series.points()
    assert len(points) == 10
    last = points[-1]
    assert isinstance(last, list)
    assert last[1:4] == [None, None, None]
    assert series.points(since=int(START.timestamp()) + 98 * BUCKET_S) == points[-2:]


def test_a_clock_that_went_back_changes_only_the_last_point() -> None:
    series = Timeline()
    series.add(START, line())
    series.add(START - timedelta(hours=1), line(desired=9))
    assert len(series.points()) == 1


def test_the_series_has_a_gap_while_draining_is_unknown() -> None:
    timeline = Timeline()
    for number, states in enumerate((workers(draining=2, released=1), dict.fromkeys(workers()), workers())):
        timeline.add(START + timedelta(seconds=number * BUCKET_S), line(workers=states))
    assert [row[SERIES.index("draining")] for row in timeline.points() if isinstance(row, list)] == [3, None, 0]
