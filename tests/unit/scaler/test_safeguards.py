# SPDX-License-Identifier: Apache-2.0
"""Single conditions that protect workers or capacity; without one of them, every other test would still pass."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from scaler.adapters.clock import ScalerClock
from scaler.adapters.override_store import SsmOverrides
from scaler.core.decide import decide
from scaler.core.model import AgentState, BrokerCount, Known, MetricPolicy, Observation, Service, Task
from scaler.core.state import Decision, FleetState
from scaler.runtime.agent_concurrency import AgentPlaces, LimitedWorkers
from tests.support.scaler_builders import (
    FLEET,
    SILENT,
    arn,
    observe,
    observe_services,
    only_service,
    service_observation,
    state_after_window,
    with_changes,
)

FROM_ZERO = replace(FLEET, minimum=0)


def decide_often(observation: Observation) -> list[Decision]:
    """Decide on the same observation for some ticks after a full scale-in window."""
    state = state_after_window(observation, FROM_ZERO)
    decisions = []
    for tick in range(4):
        decision, state = decide(FROM_ZERO, observation, state, 60.0 + tick * FLEET.interval_s)
        decisions.append(decision)
    return decisions


def test_one_source_alone_does_not_bring_a_fleet_to_zero() -> None:
    # Plain Celery has no database, and one agent does not answer: only the broker reports zero.
    observation = replace(observe(["idle", "booting"], broker=Known(BrokerCount(0, 0), 0.0)), database=None)
    assert [decision.drains for decision in decide_often(observation)] == [()] * 4


def test_delayed_messages_keep_one_worker() -> None:
    # The database reports zero. The broker would be the second source, but for its delayed message.
    observation = observe(["idle", "silent"], broker=Known(BrokerCount(0, 0, delayed=1), 0.0))
    assert [decision.drains for decision in decide_often(observation)] == [()] * 4


def test_a_fleet_goes_to_zero_when_database_and_broker_report_zero() -> None:
    observation = observe(["idle", "silent"], broker=Known(BrokerCount(0, 0), 0.0))
    assert [len(decision.drains) for decision in decide_often(observation)] == [0, 1, 1, 1]


def test_running_tasks_count_as_demand_although_their_messages_are_acknowledged() -> None:
    # Early acknowledgement: five tasks run, and the broker has no message in flight.
    broker = Known(BrokerCount(visible=3, in_flight=0), 0.0)
    decision, _ = decide(FLEET, replace(observe(["full"], broker=broker), database=None), FleetState(), 0.0)
    assert decision.demand is not None
    assert (decision.demand.running, decision.demand.slots) == (5, 8)
    assert decision.desired == 2


@pytest.mark.parametrize("airflow", [True, False], ids=["with a database", "plain Celery"])
def test_an_incomplete_count_raises_a_fleet_and_never_lowers_it(airflow: bool) -> None:
    def seen(visible: int) -> Observation:
        broker = Known(BrokerCount(visible, 0, incomplete="20001 messages are in flight"), 0.0)
        observation = observe(["full"] * 2 if visible else ["idle"] * 3, broker=broker)
        return observation if airflow else replace(observation, database=None)

    assert decide(FLEET, seen(500), FleetState(), 0.0)[0].desired == FLEET.maximum
    for decision in decide_often(seen(0)):
        assert (decision.desired, decision.drains) == (3, ())


def test_a_worker_that_holds_tasks_until_their_time_is_busy() -> None:
    """It is drained last, although its messages are acknowledged."""
    holds = Known(AgentState("consuming", 0, 0, 5, protected=True, scheduled=2), 0.0)
    seen = observe(["idle", "idle", "idle"])
    agents = {**only_service(seen).agents, arn(0): holds}
    seen = with_changes(seen, agents=agents)
    decision, _ = decide(FLEET, seen, state_after_window(seen), 60.0)
    assert set(decision.drains) == {arn(1), arn(2)}
    assert (decision.workers.busy, decision.workers.consuming_idle) == (1, 2)


@pytest.mark.parametrize("hidden", ["tasks", "service and tasks"])
def test_workers_in_an_unread_list_may_be_busy(hidden: str) -> None:
    """Tasks that are acknowledged at their start are in no count: three waiting ones find no free worker."""
    broker = Known(BrokerCount(3, 0), 0.0)
    services = {
        "new": service_observation(["full"] * 2, service="new", revision=3),
        "old": service_observation(["full"] * 4, service="old", revision=2),
    }
    seen = replace(observe_services(services, broker=broker), database=None)
    _, state = decide(FLEET, seen, FleetState(), 0.0)
    unread = {"tasks": SILENT, "protected": SILENT, "agents": {}} | (
        {"service": SILENT} if hidden == "service and tasks" else {}
    )
    decision, state = decide(FLEET, with_changes(seen, "old", **unread), state, 5.0)
    assert decision.needed == 7
    assert state.window.samples[-1] == (5.0, 3), "what is only assumed does not keep a fleet"


@pytest.mark.parametrize(("value", "kept"), [(0.0, 1), (7.0, 2), (40.0, 8)])
def test_a_metric_keeps_a_fleet_beside_workers_that_do_not_answer(value: float, kept: int) -> None:
    fleet = replace(FLEET, demand_metric=MetricPolicy("Backlog", 1.0))
    seen = replace(observe(["one", "silent", "silent"], broker=Known(BrokerCount(0, 1), 0.0)), database=None)
    _, state = decide(fleet, replace(seen, demand_metric=Known(value, 0.0)), FleetState(), 0.0)
    assert state.window.samples[-1] == (0.0, kept)


def test_idle_workers_are_not_kept_in_the_place_of_workers_that_do_not_answer() -> None:
    """Plain Celery: three silent workers may be busy, but three idle ones beside them serve nothing."""
    seen = replace(observe(["silent"] * 3 + ["idle"] * 3, broker=Known(BrokerCount(0, 0), 0.0)), database=None)
    decision, _ = decide(FLEET, seen, state_after_window(seen), 60.0)
    assert (len(decision.drains), decision.desired) == (2, 6)
    waiting = replace(seen, broker=Known(BrokerCount(20, 0), 0.0))
    assert decide(FLEET, waiting, state_after_window(seen), 60.0)[0].desired == 7


def test_an_agreement_on_zero_ends_with_a_task_while_a_source_is_unknown() -> None:
    state = replace(state_after_window(observe(["idle"]), FROM_ZERO), zero_ticks=1)
    for word, ticks in (("idle", 1), ("one", 0)):
        seen = replace(observe([word], database=SILENT), broker=SILENT)
        assert decide(FROM_ZERO, seen, state, 60.0)[1].zero_ticks == ticks


def test_an_incomplete_count_does_not_restart_the_time_of_a_disagreement() -> None:
    """In-flight messages of a killed worker may not hold a fleet longer because some counts are incomplete."""
    state = FleetState()
    above, below = BrokerCount(9, 0), BrokerCount(0, 0)
    for now, count in enumerate([above, replace(below, incomplete="too many"), above, below]):
        decision, state = decide(FLEET, observe(["idle"], broker=Known(count, 0.0)), state, 40.0 * now)
        assert decision.demand is not None
        assert decision.demand.slots == (9 if now == 0 else 0)
        assert state.broker_above_since == (None if now == 3 else 0.0)


def test_a_task_that_only_the_service_counts_as_pending_delays_a_reduction() -> None:
    observation = observe(["one", "released"], running=1)
    decision, _ = decide(FLEET, observation, state_after_window(observation), 60.0)
    assert (decision.kind, decision.desired) == ("shrink", 1)
    pending = with_changes(observation, service=Known(replace(_service(observation), pending=1), 0.0))
    decision, _ = decide(FLEET, pending, state_after_window(pending), 60.0)
    assert (decision.reduces, decision.desired) == (False, 2)


@pytest.mark.parametrize(("end", "lowered_at"), [("full", 95), (None, 60)], ids=["succeeds", "fails"])
def test_a_start_that_succeeds_restarts_the_launch_deadline(end: str | None, lowered_at: int) -> None:
    """The deadline is 300 s, 60 ticks. A task starts at tick 30; at tick 35 it consumes, or is gone."""
    state, lowered = FleetState(), []
    for tick in range(98):
        second = ["pending"] if 30 <= tick < 35 else [end] if end and tick >= 35 else []
        seen = observe(["full", *second], desired=6, running=5 * (2 if end and tick >= 35 else 1))
        decision, state = decide(FLEET, seen, state, tick * FLEET.interval_s)
        lowered += [tick] if decision.reduces else []
    assert lowered[0] == lowered_at


def _service(observation: Observation) -> Service:
    (service,) = observation.services.values()
    assert isinstance(service.service, Known)
    return service.service.value


class BlockedWorkers:
    """Agents that answer only after `answer` is set."""

    def __init__(self) -> None:
        self.requests = 0
        self.answer = asyncio.Event()

    async def state(self, task: Task) -> AgentState:
        self.requests += 1
        await self.answer.wait()
        return AgentState("consuming", 0, 0, 5, protected=True)

    async def drain(self, task: Task, lease_s: float) -> AgentState:
        return await self.state(task)

    async def resume(self, task: Task) -> AgentState:
        return await self.state(task)


async def run_until_blocked() -> None:
    """Give every other task of the loop the time to reach its next wait."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_fleet_has_100_requests_to_its_workers_at_the_same_time() -> None:
    workers = BlockedWorkers()
    limited = LimitedWorkers(workers, ScalerClock(), 5.0, AgentPlaces())
    requests = [
        asyncio.ensure_future(limited.state(Task(f"task/{number}", "RUNNING", "RUNNING"))) for number in range(120)
    ]
    await run_until_blocked()
    assert workers.requests == 100
    workers.answer.set()
    await asyncio.gather(*requests)
    assert workers.requests == 120


class BlockedSsm:
    """SSM that answers only after `answer` is set; it has no parameter."""

    def __init__(self) -> None:
        self.calls = 0
        self.answer = asyncio.Event()

    async def get_parameters(self, *, Names: list[str], WithDecryption: bool) -> Mapping[str, Any]:  # noqa: N803 - as boto3 calls it
        self.calls += 1
        await self.answer.wait()
        return {"Parameters": [], "InvalidParameters": Names}


@pytest.mark.parametrize(("fleets", "calls"), [(10, 1), (20, 2), (100, 4)])
async def test_overrides_are_read_with_four_calls_at_the_same_time(fleets: int, calls: int) -> None:
    ssm = BlockedSsm()
    reading = asyncio.ensure_future(
        SsmOverrides(ssm, "/openmwaa/test/scaler/", deadline_s=20.0).read([f"fleet-{i}" for i in range(fleets)])
    )
    await run_until_blocked()
    assert ssm.calls == calls
    ssm.answer.set()
    assert len(await reading) == fleets
