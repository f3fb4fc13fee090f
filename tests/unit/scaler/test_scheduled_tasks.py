# SPDX-License-Identifier: Apache-2.0
"""Messages that workers hold until an ETA or a countdown, while readings fail: no demand too early, no scale-in."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from scaler.adapters.worker_agent import parse_state
from scaler.core.decide import decide
from scaler.core.model import AgentState, BrokerCount, Known, Observation, Reading
from scaler.core.state import Decision, FleetState
from tests.support.scaler_builders import FLEET, SILENT, arn, observe, with_changes

HOLDS = AgentState("consuming", 0, 50, 5, protected=True, scheduled=50)
MANY = replace(FLEET, maximum=50)
UNREAD: Mapping[str, Mapping[str, Any]] = {
    "the worker": {"agents": {arn(0): SILENT}},
    "the list of tasks": {"tasks": SILENT, "protected": SILENT, "agents": {}},
    "the service and its tasks": {"service": SILENT, "tasks": SILENT, "protected": SILENT, "agents": {}},
}

BOTH_MODES = pytest.mark.parametrize("airflow", [True, False], ids=["with a database", "plain Celery"])


def holding(workers: Sequence[str] = ("idle",), *, airflow: bool = False) -> Observation:
    """Return a fleet whose first worker holds 50 messages that are not due."""
    seen = observe(workers, broker=Known(BrokerCount(0, 50), 0.0))
    agents = {task: Known(HOLDS, 0.0) if task == arn(0) else agent for task, agent in _agents(seen).items()}
    return with_changes(seen if airflow else replace(seen, database=None), agents=agents)


def _agents(seen: Observation) -> Mapping[str, Reading[AgentState]]:
    (service,) = seen.services.values()
    return service.agents


def decisions(*ticks: tuple[float, Observation]) -> list[Decision]:
    state, found = FleetState(), []
    for now, seen in ticks:
        decision, state = decide(MANY, seen, state, now)
        found.append(decision)
    return found


@BOTH_MODES
@pytest.mark.parametrize("unread", UNREAD)
@pytest.mark.fault("agent unreachable", "Tasks with an ETA that it holds do not become demand at once")
def test_one_tick_without_an_answer_makes_no_demand_of_tasks_that_are_not_due(unread: str, *, airflow: bool) -> None:
    seen = holding(airflow=airflow)
    silent = with_changes(seen, **UNREAD[unread])
    found = decisions((0.0, seen), (5.0, silent), (10.0, silent), (15.0, seen), (20.0, silent))
    assert all(decision.needed in (0, 1) for decision in found), "one worker for its own slots, not ten"
    assert {decision.demand.not_due for decision in found if decision.demand} == {50}
    assert all(decision.demand.may_shrink for decision in found if decision.demand)


@BOTH_MODES
def test_after_the_knowledge_gap_messages_of_a_silent_worker_are_demand(*, airflow: bool) -> None:
    seen = holding(airflow=airflow)
    silent = with_changes(seen, **UNREAD["the worker"])
    found = decisions((0.0, seen), (MANY.knowledge_gap_s, silent), (MANY.knowledge_gap_s + 1.0, silent))
    assert [(decision.needed or 0) > 1 for decision in found] == [False, False, True]


def test_messages_of_a_worker_that_has_ended_are_demand() -> None:
    seen = holding()
    gone = with_changes(seen, tasks=Known((), 5.0), agents={})
    assert [decision.needed for decision in decisions((0.0, seen), (5.0, gone))] == [0, 10]


@BOTH_MODES
def test_a_last_report_neither_makes_a_reading_known_nor_counts_for_zero_workers(*, airflow: bool) -> None:
    """It changes a number. Whether the window has a gap depends on database and broker only."""
    seen, fleet = holding(airflow=airflow), replace(MANY, minimum=0)
    silent = with_changes(seen, **UNREAD["the worker"])
    unread = replace(silent, broker=SILENT)
    _, state = decide(fleet, seen, FleetState(), 0.0)
    for now in (5.0, 10.0, 15.0, 20.0):
        decision, state = decide(fleet, unread, state, now)
        assert decision.demand is None or not decision.demand.may_shrink
    _, state = decide(fleet, silent, state, 25.0)
    assert state.window.since == 25.0, "the window begins again"
    decision, _ = decide(fleet, silent, replace(state, scheduled={arn(0): (50, 20.0)}, zero_ticks=5), 30.0)
    assert decision.target != 0, "the broker has messages in flight, and an agent is unknown"


@BOTH_MODES
@pytest.mark.parametrize("held", [1, 125])
@pytest.mark.fault("agent unreachable", "Lost answers of workers that hold tasks with an ETA do not keep a fleet large")
def test_lost_answers_of_many_holders_do_not_keep_the_idle_workers(held: int, *, airflow: bool) -> None:
    """Forty workers hold tasks for an hour, and a tenth of the answers is lost: in most ticks one of them is silent."""
    rng, state = random.Random(1), FleetState()
    fleet = replace(FLEET, maximum=100)
    holds = replace(HOLDS, reserved=held, scheduled=held)
    for tick in range(1, 100):
        seen = observe(["idle"] * 60, broker=Known(BrokerCount(0, 40 * held), 0.0))
        agents = {
            task: SILENT if rng.random() < 0.1 else Known(holds, 0.0) if number < 40 else agent
            for number, (task, agent) in enumerate(sorted(_agents(seen).items()))
        }
        seen = with_changes(seen if airflow else replace(seen, database=None), agents=agents)
        decision, state = decide(fleet, seen, state, 5.0 * tick)
        if len(decision.drains) >= 20:
            break
    assert 5.0 * tick <= fleet.scale_in_window_s + 60.0


@pytest.mark.parametrize(("reported", "scheduled"), [({}, 0), ({"scheduled": 3}, 3)], ids=["an old agent", "a new one"])
def test_an_agent_of_an_earlier_release_reports_no_held_tasks(reported: dict[str, int], scheduled: int) -> None:
    """A new scaler beside old workers must not read them as unknown: no rollout would end."""
    answer: dict[str, Any] = {
        "version": 1, "task_arn": "task/1", "phase": "consuming", "running": 1, "reserved": 4, "concurrency": 5,
        "protected_until": None, "protection_refusal": None, **reported,
    }  # fmt: skip
    state = parse_state(json.dumps(answer).encode(), "task/1", datetime(2026, 1, 1, tzinfo=UTC))
    assert state == AgentState("consuming", 1, 4, 5, protected=False, scheduled=scheduled)
