# SPDX-License-Identifier: Apache-2.0
"""The state as the scaler reads it, field by field."""

import json
from dataclasses import replace

import pytest

from worker_agent.state_machine import Mode, Phase, Snapshot, WorkerState
from worker_agent.wire import AgentReport

ARN = "arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test/abc"
DRAINING = WorkerState(
    mode=Mode.DRAIN,
    protected_until=3700.0,
    lease_until=160.0625,
    refusal="DEPLOYMENT_BLOCKED",
    snapshot=Snapshot(1, True, 6, 5, 3, 4, 8, longest_running_s=1.5, scheduled=2),
)


def test_a_draining_worker() -> None:
    assert AgentReport(ARN, DRAINING, now=100.0, wall=1_000_000.0).to_wire() == {
        "version": 1,
        "task_arn": ARN,
        "phase": "draining",
        "gate": "closed",
        "polls_in_flight": 6,
        "reserved": 5,
        "scheduled": 2,
        "running": 3,
        "concurrency": 8,
        "longest_running_s": 1.5,
        "protected_until": "1970-01-12T14:46:40.000Z",
        "protection_refusal": "DEPLOYMENT_BLOCKED",
        "drain_lease_until": "1970-01-12T13:47:40.062Z",
    }


def test_a_worker_before_its_first_snapshot_has_no_task_and_no_slot() -> None:
    assert AgentReport("", WorkerState(), now=0.0, wall=0.0).to_wire() == {
        "version": 1,
        "task_arn": "",
        "phase": "starting",
        "gate": "closed",
        "polls_in_flight": 0,
        "reserved": 0,
        "scheduled": 0,
        "running": 0,
        "concurrency": 0,
        "longest_running_s": None,
        "protected_until": None,
        "protection_refusal": None,
        "drain_lease_until": None,
    }


@pytest.mark.parametrize(("reserved", "unacked"), [(3, 1), (1, 3)])
def test_unacknowledged_messages_count_as_reserved(reserved: int, unacked: int) -> None:
    snapshot = Snapshot(0, False, 0, reserved, 0, unacked, 4)
    assert AgentReport(ARN, WorkerState(snapshot=snapshot), now=0.0, wall=0.0).to_wire()["reserved"] == 3


def test_the_log_line_of_a_change_of_phase_has_the_previous_phase_first() -> None:
    report = AgentReport(ARN, replace(DRAINING, gate_until=50.0), now=100.0, wall=0.0)
    line = report.log_line(Phase.CONSUMING)
    expected = {"event": "worker_agent.phase", "previous": "consuming", **report.to_wire()}
    assert json.loads(line) == expected
    assert list(json.loads(line)) == list(expected)
    assert expected["gate"] == "open"
