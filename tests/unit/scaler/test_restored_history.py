# SPDX-License-Identifier: Apache-2.0
"""The history from before a restart, read from the scaler's own log, and what is said when it cannot be read."""

import io
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scaler.errors import SourceError
from scaler.ports import rfc3339
from scaler.reporting.decision_log import DecisionLog
from scaler.reporting.history import SERIES
from scaler.reporting.restored_history import ATTEMPTS, DEADLINE_S, RestoredHistory
from tests.support.scaler_page import line

NOW = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
AT_MAXIMUM = 20


@dataclass
class Clock:
    passed_s: float = 0.0
    longer: float = 1.0
    """How much longer than requested a sleep takes."""

    def monotonic(self) -> float:
        return self.passed_s

    def wall(self) -> datetime:
        return NOW + timedelta(seconds=self.passed_s)

    async def sleep(self, seconds: float) -> None:
        self.passed_s += seconds * self.longer


@dataclass
class Log:
    """A log with pages of 25 lines."""

    messages: Sequence[tuple[datetime, str]]
    refusals: list[bool] = field(default_factory=list)
    asked: list[tuple[datetime, datetime]] = field(default_factory=list)

    async def decisions(self, start: datetime, end: datetime) -> AsyncIterator[Sequence[str]]:
        self.asked.append((start, end))
        within = [message for at, message in self.messages if start <= at <= end]
        for first in range(0, max(1, len(within)), 25):
            if self.refusals and self.refusals.pop(0):
                raise SourceError("logs", "AccessDeniedException: logs:FilterLogEvents")
            yield within[first : first + 25]


@dataclass
class Scaler:
    """A scaler that has just started."""

    clock: Clock = field(default_factory=Clock)
    log: DecisionLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = DecisionLog("analytics", io.StringIO(), self.clock.wall)
        self.log.prices = {"default": 0.05}

    async def restore(self, source: Log) -> None:
        await RestoredHistory(self.log, source, self.clock, lambda: ["default"], self.clock.sleep).run()

    def decide(self, **more: Any) -> None:
        at = self.clock.wall()
        self.log.decided(at, line(at=at, **more), {"interval_s": 5.0})

    def points(self) -> list[dict[str, Any]]:
        rows = [row for row in self.log.timeline("default") if isinstance(row, list)]
        return [dict(zip(SERIES, row, strict=True)) for row in rows]

    def today(self) -> dict[str, Any]:
        (fleet,) = self.log.fleets("default")
        assert isinstance(fleet, dict)
        assert isinstance(fleet["today"], dict)
        return fleet["today"]


def written(at: datetime, **more: Any) -> tuple[datetime, str]:
    """A line, which reaches the log half a second after its decision."""
    return at + timedelta(seconds=0.5), json.dumps(line(at=at, **more))


def hours_of(hours: float, every_s: int = 60, **more: Any) -> list[tuple[datetime, str]]:
    """The lines of an unchanged fleet until now."""
    count = int(hours * 3600 / every_s)
    return [written(NOW - timedelta(seconds=every_s * ago), **more) for ago in range(count, 0, -1)]


async def test_a_restart_keeps_six_hours_of_points_and_the_changes() -> None:
    changed = NOW - timedelta(hours=3)
    log = hours_of(8, desired=4)
    log.append(written(changed + timedelta(seconds=20), desired=9, desired_before=4, kind="grow"))
    scaler = Scaler()
    scaler.decide(desired=4)
    await scaler.restore(Log(sorted(log)))
    points = scaler.points()
    assert points[0]["at"] <= (NOW - timedelta(hours=6) + timedelta(minutes=2)).timestamp()
    assert points == sorted(points, key=lambda point: point["at"])
    assert max(later["at"] - point["at"] for point, later in itertools.pairwise(points)) <= 60
    assert {point["desired"] for point in points} == {4, 9}
    (change,) = scaler.log.decisions(50, changes=True)
    assert isinstance(change, dict)
    assert (change["desired_before"], change["desired"], change["at"]) == (
        4,
        9,
        rfc3339(changed + timedelta(seconds=20)),
    )
    assert scaler.log.history == {"since": rfc3339(NOW.replace(hour=0, second=0)), "state": "read", "problem": None}


async def test_the_newest_hours_are_read_first() -> None:
    source = Log(hours_of(1))
    await Scaler().restore(source)
    starts = [start for start, _ in source.asked]
    assert starts == sorted(starts, reverse=True)
    assert starts[-1] == NOW.replace(hour=0, second=0), "the present day, which is longer than six hours"


async def test_a_decision_during_the_reading_stays_the_newest() -> None:
    scaler = Scaler()
    scaler.decide(desired=5, desired_before=4)
    await scaler.restore(Log([*hours_of(1, desired=4), written(NOW, desired=5, desired_before=4)]))
    scaler.clock.passed_s = 30
    scaler.decide(desired=6, desired_before=5)
    assert [point["desired"] for point in scaler.points()][-3:] == [4, 5, 6]
    entries = [entry for entry in scaler.log.decisions(50, changes=True) if isinstance(entry, dict)]
    assert [entry["desired"] for entry in entries] == [5, 6], "a line of this process is not read again"


async def test_a_fleet_without_a_decision_since_the_start_is_not_shown() -> None:
    scaler = Scaler()
    await scaler.restore(Log(hours_of(1)))
    assert (scaler.log.names(), scaler.log.fleets()) == ([], [])
    scaler.decide()
    assert len(scaler.points()) >= 60


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("Traceback (most recent call last):", id="text"),
        pytest.param('{"event": "decision", "version', id="cut"),
        pytest.param("[]", id="list"),
        pytest.param('{"event": "started"}', id="other event"),
        pytest.param(json.dumps(line("another")), id="fleet that is gone"),
        pytest.param(json.dumps(line() | {"version": 999}), id="other version"),
        pytest.param(json.dumps(line() | {"at": "yesterday"}), id="time"),
    ],
)
async def test_other_lines_are_left_out(message: str) -> None:
    scaler = Scaler()
    await scaler.restore(Log([(NOW - timedelta(minutes=5), message)]))
    scaler.decide()
    assert len(scaler.points()) == 1
    assert scaler.log.history["state"] == "read"


async def test_a_short_failure_is_repeated() -> None:
    scaler = Scaler()
    scaler.decide()
    await scaler.restore(Log(hours_of(6), refusals=[True] * (ATTEMPTS - 1)))
    assert scaler.log.history["state"] == "read"
    assert len(scaler.points()) >= 6 * 60


async def test_a_log_that_cannot_be_read_is_named_and_nothing_stops() -> None:
    scaler = Scaler()
    scaler.decide()
    await scaler.restore(Log(hours_of(6), refusals=[False] * 7 + [True] * 100))
    history = scaler.log.history
    assert history["state"] == "failed"
    assert "logs:FilterLogEvents" in str(history["problem"])
    assert rfc3339(NOW - timedelta(hours=6)) < str(history["since"]) < rfc3339(NOW), "it begins with what was read"
    assert scaler.points()[0]["at"] >= datetime.fromisoformat(str(history["since"])).timestamp() - 60


async def test_a_log_that_is_too_long_for_the_deadline_gives_its_newest_hours() -> None:
    scaler = Scaler()
    scaler.decide()
    scaler.clock.longer = DEADLINE_S / 20
    await scaler.restore(Log(hours_of(8, every_s=5)))
    assert scaler.log.history["state"] == "failed"
    assert "not finished within 300 s" in str(scaler.log.history["problem"])
    assert rfc3339(NOW - timedelta(hours=6)) < str(scaler.log.history["since"]) <= rfc3339(NOW - timedelta(hours=1))


# --- the cost of the day


async def test_the_day_costs_its_worker_hours_beside_those_of_a_full_fleet() -> None:
    scaler = Scaler()
    await scaler.restore(Log(hours_of(14, running_workers=4, desired=4)))
    scaler.decide(running_workers=4, desired=4)
    assert scaler.today() == {
        "known_minutes": 720,
        "minutes": 720,
        "worker_hours": 48.0,
        "worker_hours_at_maximum": 12.0 * AT_MAXIMUM,
        "usd": pytest.approx(48 * 0.05),
        "usd_at_maximum": pytest.approx(12 * AT_MAXIMUM * 0.05),
        "worker_hour_usd": 0.05,
    }


async def test_a_time_without_lines_is_left_out_of_the_cost() -> None:
    scaler = Scaler()
    log = [message for message in hours_of(12, running_workers=4, desired=4) if not 3 <= message[0].hour < 6]
    await scaler.restore(Log(log))
    scaler.decide(running_workers=4, desired=4)
    today = scaler.today()
    assert today["known_minutes"] == pytest.approx(9 * 60, abs=3)
    assert today["worker_hours"] == pytest.approx(36, abs=0.2)
    assert today["worker_hours_at_maximum"] == pytest.approx(9 * AT_MAXIMUM, abs=1)


@pytest.mark.parametrize("unknown", [{"running": None}, {"bounds": None}], ids=["workers", "maximum"])
async def test_an_unknown_number_is_not_zero(unknown: dict[str, Any]) -> None:
    scaler = Scaler()
    lines = [(at, json.dumps(json.loads(message) | unknown)) for at, message in hours_of(5)]
    await scaler.restore(Log(lines))
    scaler.decide()
    assert scaler.today()["known_minutes"] == 0
    assert (scaler.today()["worker_hours"], scaler.today()["usd"], scaler.today()["usd_at_maximum"]) == (None,) * 3


async def test_without_a_price_there_are_hours_and_no_cost() -> None:
    scaler = Scaler()
    scaler.log.prices = {}
    await scaler.restore(Log(hours_of(2)))
    scaler.decide()
    assert scaler.today()["worker_hours"] > 0
    assert (scaler.today()["usd"], scaler.today()["usd_at_maximum"], scaler.today()["worker_hour_usd"]) == (None,) * 3


async def test_the_lines_of_a_slow_fleet_are_no_gaps() -> None:
    scaler = Scaler()
    await scaler.restore(Log(hours_of(12, every_s=300)))
    at = scaler.clock.wall()
    scaler.log.decided(at, line(at=at), {"interval_s": 300.0})
    assert scaler.today()["known_minutes"] >= 715


async def test_midnight_begins_a_new_day() -> None:
    scaler = Scaler()
    scaler.decide()
    scaler.clock.passed_s = 13 * 3600
    assert scaler.today()["known_minutes"] == 0
    scaler.decide()
    scaler.clock.passed_s += 60
    scaler.decide()
    assert (scaler.today()["minutes"], scaler.today()["known_minutes"]) == (61, 1)
