# SPDX-License-Identifier: Apache-2.0
"""Faults of Airflow's plan: the fleet follows its queue, as without look-ahead, and no task is lost."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from scaler.adapters import airflow_plan
from scaler.core.forecast.plan import AirflowPlan
from scaler.core.model import LookAheadPolicy
from simulation.fault_injection import FaultRates
from tests.support.fault_scenario import CONFIG, FLEET, FaultScenario, run_scenario
from tests.support.plan_rows import PlanRows

AHEAD = replace(CONFIG, fleets=(replace(FLEET, look_ahead=LookAheadPolicy(launch_s=15.0)),))


async def follows_the_queue(scenario: FaultScenario) -> None:
    """The plan is unknown: tasks raise the fleet, their end lowers it after the window, and none is lost."""
    await scenario.ticks(3)
    assert "look-ahead: Forecast unknown" in scenario.why
    scenario.send([60.0] * 8)
    await scenario.becomes(lambda: scenario.total >= 4, 12.0, "the queue was to raise the fleet")
    await scenario.becomes(lambda: len(scenario.busy) == 4, 60.0, "the tasks were to run")
    await scenario.stays(lambda: scenario.total >= 4, 30.0, "a known demand was to be served")
    assert "look-ahead: Forecast unknown" in scenario.why
    await scenario.rests()


def test_a_plan_raises_and_lowers_the_fleet() -> None:
    """The counterpart of the faults: with a plan that is right the look-ahead decides."""

    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=60.0)
        assert "look-ahead: " in scenario.why
        assert "Forecast unknown" not in scenario.why
        await scenario.rests()

    run_scenario(steps, config=AHEAD)


@pytest.mark.parametrize(
    "rates",
    [
        pytest.param(FaultRates(slow=1.0, latency_s=(2.5, 9.0)), id="slow"),
        pytest.param(FaultRates(silent=1.0), id="silent"),
    ],
)
@pytest.mark.fault("plan slow", "It is unknown for that tick, and no other source waits for it: the queue decides")
def test_plan_slow(rates: FaultRates) -> None:
    async def steps(scenario: FaultScenario) -> None:
        scenario.faults.rates["plan"] = rates
        await follows_the_queue(scenario)

    run_scenario(steps, config=AHEAD)


@pytest.mark.fault("plan unknown", "The queue decides, as in a fleet without look-ahead")
def test_plan_unknown() -> None:
    async def steps(scenario: FaultScenario) -> None:
        scenario.faults.rates["plan"] = FaultRates(fails=1.0)
        await follows_the_queue(scenario)

    run_scenario(steps, config=AHEAD)


@pytest.mark.fault("plan huge", "Above a limit of what is read it is unknown, never incomplete: the queue decides")
def test_plan_huge() -> None:
    async def steps(scenario: FaultScenario) -> None:
        rows = PlanRows()
        rows.rows["OPEN"] = [()] * (airflow_plan.MAX_OPEN + 1)
        scenario.plan = rows.reader(scenario.clock.monotonic)
        scenario.start_scaler()
        await follows_the_queue(scenario)

    run_scenario(steps, config=AHEAD, begin=False)


def nothing(true: AirflowPlan) -> AirflowPlan:
    return replace(true, runs=(), present=0, waiting_since=None)


def idle(true: AirflowPlan) -> AirflowPlan:
    return replace(true, runs=())


def too_much(true: AirflowPlan) -> AirflowPlan:
    return replace(true, runs=true.runs * 100)


@pytest.mark.parametrize("answer", [nothing, idle, too_much])
@pytest.mark.fault(
    "plan wrong",
    "A plan without a task that the database counts: it needs a worker as long as it is there. A task that the plan "
    "does not expect and that waits longer than a launch gets a worker. Too many are bounded by `max`. Busy workers "
    "only drain",
)
def test_plan_wrong(answer: Callable[[AirflowPlan], AirflowPlan]) -> None:
    async def steps(scenario: FaultScenario) -> None:
        scenario.plan.answer = answer  # type: ignore[attr-defined]
        numbers = scenario.send([60.0] * 8)
        await scenario.becomes(lambda: set(numbers) <= scenario.ledger.done, 400.0, "each task was to run")
        assert scenario.total <= 6
        scenario.plan.answer = lambda true: true  # type: ignore[attr-defined]
        await scenario.rests()

    run_scenario(steps, config=AHEAD)
