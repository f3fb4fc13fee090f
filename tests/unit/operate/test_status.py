# SPDX-License-Identifier: Apache-2.0
"""The status of an environment: each part on its own, and what cannot be read is unknown."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openmwaa.config.environment import Environment
from openmwaa.operate import status
from openmwaa.operate.errors import NotRunningError, PermissionMissingError
from openmwaa.operate.status import Part, Status, read_status
from openmwaa.operate.waiting import WaitStatus
from openmwaa_runtime.sync_dags import report
from scaler.reporting.explanation import LINE_VERSION
from tests.support.environments import LEAST
from tests.support.fake_cloudwatch_logs import FakeCloudWatchLogs
from tests.support.fake_connection import FakeConnection

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PARTS = ("control plane", "sleep", "fleets", "rollouts", "overrides", "Airflow", "DAGs", "alarms")
TASK = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "queue": "default", "queued_s": 720.0}
ASLEEP = Part(notes=("asleep",), data={"asleep": True})
UNKNOWN = Part(unknown="no answer")
AIRFLOW = {"event": "airflow", "import_errors": 0, "files": [], "waiting": 0, "tasks": []}


def _at(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def _connection(*lines: dict[str, Any], **fields: Any) -> FakeConnection:
    logs = FakeCloudWatchLogs(lines)
    return FakeConnection(
        Environment.model_validate({**LEAST, **fields}), Path("e.yaml"), fake=logs, services=("logs", "cloudwatch")
    )


def _parts(**changed: Part) -> Status:
    return Status({name: changed.get(name.replace(" ", "_"), Part()) for name in PARTS})


@pytest.mark.parametrize(
    ("parts", "state"),
    [
        ({}, "healthy"),
        ({"alarms": Part(("an alarm",))}, "trouble"),
        ({"DAGs": UNKNOWN}, "unknown"),
        ({"DAGs": UNKNOWN, "alarms": Part(("an alarm",))}, "trouble"),
        (
            {"sleep": ASLEEP, "control_plane": Part(("0 of 1",)), "Airflow": Part(unknown="x")},
            "asleep",
        ),
        ({"sleep": ASLEEP, "alarms": Part(("an alarm",))}, "trouble"),
        ({"control_plane": Part(unknown="no cluster", absent=True)}, "not running"),
        ({"fleets": Part(unknown="no log group", absent=True)}, "unknown"),
    ],
)
def test_the_state_is_the_worst_of_its_parts(parts: dict[str, Part], state: str) -> None:
    assert _parts(**parts).state == state


def _raises(error: Exception) -> Callable[[], Part]:
    def read() -> Part:
        raise error

    return read


def test_each_part_is_read_on_its_own_within_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    services = [{"service": "scaler", "running": 1, "desired": 2}]
    for name in ("control_plane_status", "awake_status", "rollout_status"):
        monkeypatch.setattr(status, name, lambda _: WaitStatus(awaited=("one",), data={"control_plane": services}))
    for name in ("_fleets", "_overrides", "_airflow", "_dags"):
        monkeypatch.setattr(status, name, lambda *_: Part())
    monkeypatch.setattr(status, "_alarms", lambda *_: Part(notes=("a note",)))
    ends = threading.Event()
    more: dict[str, Callable[[], Part]] = {
        "late": lambda: Part(notes=(str(ends.wait(60)),)),
        "refused": _raises(PermissionMissingError("Allow ssm:GetParameters")),
        "absent": _raises(NotRunningError("no cluster")),
        "broken": _raises(ValueError("odd")),
    }
    found = read_status(_connection(), more, deadline_s=0.5).parts
    ends.set()
    assert found["late"].unknown == "no answer within 0.5 s"
    assert found["refused"].unknown == "Allow ssm:GetParameters"
    assert (found["absent"].unknown, found["absent"].absent) == ("no cluster", True)
    assert found["broken"].unknown == "ValueError: odd"
    assert found["alarms"].notes == ("a note",)
    assert (found["control plane"].troubles, found["control plane"].notes) == (("one",), ("scaler 1/2",))
    assert (found["rollouts"].troubles, found["rollouts"].notes) == ((), ("one",)), "a rollout is no trouble"


def test_import_errors_and_waiting_tasks_come_from_the_scalers_last_line() -> None:
    files = [{"file": "a.py", "error": "NameError: x"}]
    old = {**AIRFLOW, "at": _at(60), "import_errors": 9, "files": files * 9}
    new = {**AIRFLOW, "at": _at(5), "import_errors": 1, "files": files, "waiting": 7}
    new["tasks"] = [TASK, {**TASK, "map_index": 3, "queue": "old"}]
    found = status._airflow(_connection(old, new), NOW)
    assert found.troubles == (
        "a.py does not import: NameError: x",
        "d.t of r is queued for 12 min in default (fleet default)",
        "d.t[3] of r is queued for 12 min in old (no fleet of the file serves it)",
        "and 5 more",
    )


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "no report of the scaler within 3 min"),
        ([{**AIRFLOW, "at": _at(600)}], "no report of the scaler within 3 min"),
        ([{"event": "airflow", "at": _at(5), "error": "database: refused"}], "database: refused"),
        ([{**AIRFLOW, "at": _at(60)}, {"event": "airflow", "at": _at(5), "error": "late"}], "late"),
    ],
    ids=["no line", "an old line", "unknown to the scaler", "unknown since then"],
)
def test_what_the_scaler_does_not_know_is_unknown(lines: list[dict[str, Any]], reason: str) -> None:
    assert status._airflow(_connection(*lines), NOW) == Part(unknown=reason)


def test_no_import_error_and_no_waiting_task_is_no_trouble() -> None:
    assert status._airflow(_connection({**AIRFLOW, "at": _at(5)}), NOW).troubles == ()


def _left_out(seconds: float, *keys: str) -> dict[str, Any]:
    objects = [{"key": key, "reason": "AccessDenied"} for key in keys]
    return {"at": _at(seconds), report.LEFT_OUT: len(keys), "objects": objects}


def _failure(seconds: float) -> dict[str, Any]:
    timestamp = (NOW - timedelta(seconds=seconds)).timestamp() * 1000
    return {"at": _at(seconds), report.FAILURES: 3, "error": "no answer", "_aws": {"Timestamp": timestamp}}


def _current(seconds: float, files: int, commit: str | None = None) -> dict[str, Any]:
    line = json.loads(report.current_line(files, commit, (NOW - timedelta(seconds=seconds)).timestamp()))
    return {**line, "at": _at(seconds)}


@pytest.mark.parametrize(
    ("lines", "troubles"),
    [
        ([_left_out(60, "a.py")], ("a.py is left out: AccessDenied",)),
        ([_left_out(60, "a.py"), _left_out(5), _current(5, 3)], ()),
        ([_failure(60)], ("3 syncs in a row failed: no answer",)),
        ([_failure(150), _current(5, 3)], ()),
    ],
    ids=["left out", "left out before", "failing", "failed before"],
)
def test_syncs_that_fail_and_objects_left_out_are_trouble(lines: list[dict[str, Any]], troubles: tuple[str]) -> None:
    assert status._dags(_connection(*lines), NOW).troubles == troubles


@pytest.mark.parametrize("lines", [[], [_current(600, 3)], [_failure(150)]], ids=["no line", "old", "failed before"])
def test_without_a_report_of_the_syncers_the_dags_are_unknown(lines: list[dict[str, Any]]) -> None:
    assert status._dags(_connection(*lines), NOW) == Part(unknown="no report of a syncer within 3 min")


def test_the_last_sync_and_the_commit_in_use_are_shown() -> None:
    found = status._dags(_connection(_current(60, 3, "old"), _current(5, 4, "4be1c0ffee")), NOW)
    assert found.troubles == ()
    assert found.notes == (
        "DAGProcessing: 4 files of commit 4be1c0ffee, in step 5 s ago",
        "Worker: 4 files of commit 4be1c0ffee, in step 5 s ago",
    )
    assert found.data["Worker"] == {"checked_at": NOW.timestamp() - 5, "files": 4, "commit": "4be1c0ffee"}
    assert status.CURRENT == report.CURRENT
    assert status._dags(_connection(_current(5, 4)), NOW).notes[0] == "DAGProcessing: 4 files, in step 5 s ago"


def _decision(**values: Any) -> dict[str, Any]:
    return {"event": "decision", "version": LINE_VERSION, "fleet": "default", "at": _at(5), "desired": 2, **values}


@pytest.mark.parametrize(
    ("lines", "troubles"),
    [
        ([_decision()], ()),
        ([], ("default: no decision within 3 min",)),
        (
            [{"event": "tick_failed", "fleet": "default", "at": _at(9), "error": "odd"}],
            ("default: no decision within 3 min; the last error: odd",),
        ),
        ([_decision(desired=None, reason="ECS is unknown.")], ("default: ECS is unknown.",)),
        ([_decision(errors=[{"text": "no answer"}])], ("default: no answer",)),
        ([_decision(workers={"stuck": 2})], ("default: 2 workers did not start in time",)),
        (
            [_decision(demand={"without_message": 35})],
            ("default: the broker has no message of 35 queued tasks; the scheduler queues them again",),
        ),
    ],
    ids=["decided", "no line", "failed", "blind", "an error", "late workers", "lost messages"],
)
def test_a_fleet_without_a_decision_or_with_late_workers_is_trouble(
    lines: list[dict[str, Any]], troubles: tuple[str]
) -> None:
    assert status._fleets(_connection(*lines), NOW).troubles == troubles


class Alarms:
    """CloudWatch with one alarm."""

    fails = False

    def get_paginator(self, operation: str) -> "Alarms":
        assert operation == "describe_alarms"
        return self

    def paginate(self, **request: str) -> list[dict[str, Any]]:
        assert request == {"AlarmNamePrefix": "openmwaa-example/", "StateValue": "ALARM"}
        if self.fails:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeAlarms")
        return [{"MetricAlarms": [{"AlarmName": "openmwaa-example/x", "AlarmDescription": "why"}]}]


def test_alarms_are_those_of_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, alarms = _connection(), Alarms()
    object.__setattr__(connection, "fake", alarms)
    assert status._alarms(connection).troubles == ("openmwaa-example/x: why",)
    monkeypatch.setattr(alarms, "fails", True)
    with pytest.raises(PermissionMissingError, match="Allow cloudwatch:DescribeAlarms"):
        status._alarms(connection)
    off = _connection(monitoring={"alarms": False})
    assert status._alarms(off) == Part(notes=("none are created",))
