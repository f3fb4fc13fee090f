# SPDX-License-Identifier: Apache-2.0
"""Decisions of the log at a time, with pages, gaps, other lines, deadlines and refusals."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from openmwaa.operate.decisions import DecisionsLog
from openmwaa.operate.errors import NotRunningError, PermissionMissingError, UnreachableError
from openmwaa.operate.explanation import FleetExplanation, explain
from scaler.ports import rfc3339
from tests.support.environments import LEAST
from tests.support.fake_cloudwatch_logs import FakeCloudWatchLogs, NotFoundError
from tests.support.scaler_page import line

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def decided(ago_s: float, desired: int = 3, fleet: str = "default", **more: Any) -> dict[str, Any]:
    counts = {"desired": desired, "desired_before": more.pop("before", desired)}
    return line(fleet) | counts | more | {"at": rfc3339(NOW - timedelta(seconds=ago_s))}


def history() -> list[dict[str, Any]]:
    """3 -> 7 an hour ago, 7 -> 5 half an hour ago, a line a minute between them."""
    lines = [decided(ago, 3 if ago > 3600 else 7 if ago > 1800 else 5) for ago in range(7200, 0, -60)]
    lines.append(decided(3600, 7, before=3, kind="grow", reason="grew"))
    lines.append(decided(1800, 5, before=7, kind="shrink", reason="shrank"))
    return sorted(lines, key=lambda entry: str(entry["at"]))


def log(logs: FakeCloudWatchLogs, **more: Any) -> DecisionsLog:
    environment = Environment.model_validate({**LEAST, "region": "eu-central-1"})
    return DecisionsLog(Connection(environment, Path("example.yaml")), logs, **more)


def explained(logs: FakeCloudWatchLogs, ago_s: float, *fleets: str) -> list[FleetExplanation]:
    return explain(log(logs), fleets or ("default",), NOW - timedelta(seconds=ago_s), NOW)


def test_the_decision_in_force_and_the_changes_before_and_after() -> None:
    (found,) = explained(FakeCloudWatchLogs(history()), 2700)
    assert found.decision is not None
    assert found.before is not None
    assert found.after is not None
    assert (found.decision["desired"], found.before["reason"], found.after["reason"]) == (7, "grew", "shrank")
    assert found.summary[0].startswith("7 workers desired")
    assert found.unread == ()


def test_a_change_long_before_is_found() -> None:
    lines = [decided(20 * 3600, 3, before=1, kind="grow", reason="long ago"), decided(30), decided(5)]
    (found,) = explained(FakeCloudWatchLogs(lines), 0)
    assert found.before is not None
    assert found.before["reason"] == "long ago"
    assert found.after is None


def every_minute(first_ago_s: float, last_ago_s: float = 0) -> list[dict[str, Any]]:
    return [decided(ago) for ago in range(int(first_ago_s), int(last_ago_s), -60)]


@pytest.mark.parametrize(
    ("lines", "known_s"),
    [
        (every_minute(86400), 86400),
        (every_minute(7200), 7200),
        ([*every_minute(7200, 3600), *every_minute(1800)], 1800),
        ([decided(20)], 20),
    ],
    ids=["whole-day", "log-begins", "gap", "one-line"],
)
def test_no_change_is_stated_for_the_time_that_the_log_shows(lines: list[dict[str, Any]], known_s: float) -> None:
    (found,) = explained(FakeCloudWatchLogs(lines, page=2000), 0)
    assert found.before is None
    assert found.no_change_since == NOW - timedelta(seconds=known_s)


def test_no_change_after_is_stated_until_the_log_ends() -> None:
    (found,) = explained(FakeCloudWatchLogs(every_minute(7200, 3000), page=2000), 3600)
    assert found.after is None
    assert found.no_change_until == NOW - timedelta(seconds=3060)


def test_an_old_decision_is_not_in_force() -> None:
    lines = [decided(3 * 3600, 4), decided(1800, 6)]
    (found,) = explained(FakeCloudWatchLogs(lines), 3600)
    assert found.decision is None
    assert found.summary == ()
    assert (found.before or {})["desired"] == 4
    assert (found.after or {})["desired"] == 6


def test_failed_ticks_are_listed_and_are_no_decisions() -> None:
    failed = {"event": "tick_failed", "fleet": "default", "error": "ValueError: x", "at": rfc3339(NOW)}
    (found,) = explained(FakeCloudWatchLogs([decided(30, 4), failed]), 0)
    assert (found.decision or {})["desired"] == 4
    assert [failure["error"] for failure in found.failures] == ["ValueError: x"]


def test_other_lines_are_ignored() -> None:
    logs = FakeCloudWatchLogs([decided(30, 4), decided(20, 9, fleet="another")])
    logs.lines.append({"event": "started", "at": rfc3339(NOW)})
    found = explained(logs, 0)
    assert (found[0].decision or {})["desired"] == 4


def test_decisions_of_another_version_are_skipped_and_named() -> None:
    logs = FakeCloudWatchLogs([decided(30, 4), decided(20, 9, version=99)])
    (found,) = explained(logs, 0)
    assert (found.decision or {})["desired"] == 4
    assert found.unread == ("Decisions of version 99 in the log were skipped: this program reads version 1.",)


def test_all_fleets_take_one_search() -> None:
    logs = FakeCloudWatchLogs([decided(30, 4, fleet="a"), decided(20, 9, fleet="b")], page=10)
    found = explained(logs, 0, "a", "b", "c")
    assert [(fleet.decision or {}).get("desired") for fleet in found] == [4, 9, None]
    assert len(logs.calls) == 2, "one search of two pages"


def test_the_request_to_aws() -> None:
    logs = FakeCloudWatchLogs([decided(30)])
    explained(logs, 0)
    call = logs.calls[0]
    assert call["logGroupName"] == "airflow-example-Scaler"
    assert call["startTime"] == (NOW - timedelta(minutes=3)).timestamp() * 1000
    assert call["filterPattern"] == '{ ($.event = "decision" || $.event = "tick_failed") && (($.fleet = "default")) }'
    assert any('($.kind != "hold")' in call["filterPattern"] for call in logs.calls)
    explain(log(logs), [f"fleet-{number}" for number in range(200)], NOW, NOW)
    assert len(logs.calls[-1]["filterPattern"]) < 1024, "CloudWatch takes no longer pattern"


def test_a_deadline_skips_the_changes_before_and_after() -> None:
    at = iter(range(100))
    (found,) = explain(log(FakeCloudWatchLogs(history()), clock=lambda: next(at), deadline_at=6), ["default"], NOW, NOW)
    assert found.decision is not None
    assert "did not finish" in found.unread[0]
    with pytest.raises(UnreachableError, match="Choose another time"):
        explain(log(FakeCloudWatchLogs(history()), clock=lambda: 1, deadline_at=1), ["default"], NOW, NOW)


def refusal(code: str, kind: type[ClientError] = ClientError) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return kind(response, "FilterLogEvents")


def test_a_missing_log_group_names_the_command() -> None:
    logs = FakeCloudWatchLogs([])
    logs.fails = refusal("ResourceNotFoundException", NotFoundError)
    with pytest.raises(NotRunningError, match=r"no log group airflow-example-Scaler in eu-central-1.*terraform apply"):
        explained(logs, 0)


def test_a_missing_permission_is_named() -> None:
    logs = FakeCloudWatchLogs([])
    logs.fails = refusal("AccessDeniedException")
    with pytest.raises(PermissionMissingError, match="logs:FilterLogEvents on the log group airflow-example-Scaler"):
        explained(logs, 0)
