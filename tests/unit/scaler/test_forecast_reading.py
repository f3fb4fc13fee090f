# SPDX-License-Identifier: Apache-2.0
"""The reading of the forecast: from the plan, the workers that drain, and the launches that were seen."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from scaler.core.forecast.plan import ActiveTask, AirflowPlan, DagShape, RunInProgress
from scaler.core.look_ahead import USE_S
from scaler.core.model import FleetPolicy, Known, LookAheadPolicy, Task, Unknown
from scaler.core.state import FleetState
from scaler.errors import SourceError
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.observe import Observer, Ports
from tests.support.fake_environment import FakeEnvironment

FLEET = FleetPolicy("default", ("default",), 5, 1, 5, scale_in_window_s=30.0)
AHEAD = replace(FLEET, look_ahead=LookAheadPolicy())
ONE_TASK = DagShape("d", upstream=(0,), downstream=((),), instances=(1.0,), durations=(None,))


class FakePlan:
    """A task on each of the workers named."""

    def __init__(self, *workers: str) -> None:
        self.runs = tuple(
            RunInProgress(worker, ONE_TASK, 0, (ActiveTask(0, 0.0, running=True, worker=worker),)) for worker in workers
        )

    async def plan(self, queues: frozenset[str], *, headroom: bool = False) -> AirflowPlan:
        assert queues == {"default"}
        return AirflowPlan(self.runs, (), {}, present=len(self.runs), waiting_since=None)


def ports() -> FakeEnvironment:
    environment = FakeEnvironment(1, latency_s=0.05)
    environment.advance(1.0)
    return environment


def ports_of(environment: FakeEnvironment, plan: Any) -> Ports:
    return Ports(environment, environment, environment.agents, environment, environment, plan=plan)


async def hang(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


async def fail(*_: Any, **__: Any) -> Any:
    raise SourceError("database", "is down")


def planned(environment: FakeEnvironment, plan: Any, fleet: FleetPolicy = AHEAD) -> Observer:
    return Observer(fleet, ["worker-default"], {"default": "url"}, ports_of(environment, plan))


async def test_the_forecast_counts_no_task_on_a_worker_that_drains() -> None:
    environment = ports()
    (worker,) = environment.workers.values()
    plan = FakePlan(worker.arn.rpartition("/")[2], "another")
    observation, errors = await planned(environment, plan).observe(3.0, 15.0, 60.0)
    assert isinstance(observation.forecast, Known)
    assert (observation.forecast.value.slots[0], observation.forecast.value.present) == (2.0, 2)
    assert observation.forecast.at == observation.forecast.value.at
    await environment.agents.drain(Task(worker.arn, "RUNNING"), 60.0)
    observation, errors = await planned(environment, plan).observe(3.0, 15.0, 60.0)
    assert isinstance(observation.forecast, Known)
    assert (observation.forecast.value.slots[0], observation.forecast.value.present) == (1.0, 2)
    assert not errors


@pytest.mark.parametrize("broken", [hang, fail], ids=["silent", "down"])
async def test_a_broken_plan_is_an_unknown_forecast_and_all_else_is_known(
    broken: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, plan = ports(), FakePlan()
    observer = planned(environment, plan)
    await observer.observe(3.0, 15.0, 60.0)
    monkeypatch.setattr(plan, "plan", broken)
    observation, (error,) = await observer.observe(0.2, 15.0, 60.0)
    assert isinstance(observation.forecast, Unknown), "an old forecast is never used"
    assert isinstance(observation.database, Known)
    assert isinstance(observation.broker, Known)
    assert error.reason == observation.forecast.reason


async def test_without_look_ahead_no_plan_is_read() -> None:
    plan = FakePlan()
    for observer in (planned(ports(), plan, FLEET), planned(ports(), None)):
        observation, errors = await observer.observe(3.0, 15.0)
        assert (observation.forecast, errors) == (None, ())


async def test_the_forecast_reaches_as_far_as_the_launches_that_were_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ports()
    observer = planned(environment, FakePlan())
    loop = FleetLoop(AHEAD, observer, ports_of(environment, FakePlan()), ())
    reaches = []
    for seen in ((), (20.0, 30.0, 400.0)):
        monkeypatch.setattr(loop, "_state", FleetState(launch_latencies=seen))
        forecast = (await loop.tick()).tick.observation.forecast
        assert isinstance(forecast, Known)
        reaches.append(len(forecast.value.slots) * forecast.value.step_s)
    assert reaches == [60.0 + 5.0 + USE_S, 30.0 + 5.0 + USE_S]


async def test_a_forecast_that_takes_too_long_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.runtime.observe.FORECAST_SHARE", 0.0)
    observation, errors = await planned(ports(), FakePlan("worker")).observe(3.0, 15.0, 60.0)
    assert observation.forecast == Unknown("the forecast was not ready in 0 s")
    assert errors == ()


async def test_a_plan_that_breaks_the_forecast_leaves_the_present_demand() -> None:
    """A task that its DAG does not have: the tick goes on, with the reason."""
    environment, broken = ports(), FakePlan("worker")
    broken.runs = (replace(broken.runs[0], active=(ActiveTask(7, 0.0, running=True),)),)
    observation, errors = await planned(environment, broken).observe(3.0, 15.0, 60.0)
    assert isinstance(observation.forecast, Unknown)
    assert "the forecast failed: IndexError" in observation.forecast.reason
    assert isinstance(observation.database, Known)
    assert errors == ()
