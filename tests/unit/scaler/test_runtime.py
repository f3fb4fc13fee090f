# SPDX-License-Identifier: Apache-2.0
"""The loop around the core: readings, the last doubt before a reduction, reports, and one fleet's failure."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from scaler.core.model import (
    AgentState,
    BrokerCount,
    DatabaseCount,
    Deployment,
    FleetPolicy,
    Known,
    Overrides,
    Phase,
    Service,
    Stale,
    Task,
    Unknown,
)
from scaler.errors import SourceError, ThrottledError
from scaler.reporting.decision_log import DecisionLog
from scaler.reporting.prometheus_metrics import PrometheusMetrics
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.observe import Observer, Ports, SharedDatabase
from scaler.runtime.overrides import SharedOverrides
from scaler.runtime.supervisor import FleetSupervisor
from tests.support.fake_environment import FakeEnvironment
from tests.support.scaler_builders import only_service

FLEET = FleetPolicy("default", ("default",), 5, 1, 5, scale_in_window_s=30.0)
ROLLING = Service(
    2, 2, 0, (Deployment("PRIMARY", "worker:2", "IN_PROGRESS"), Deployment("ACTIVE", "worker:1", "COMPLETED"))
)


class FakePorts(FakeEnvironment):
    """The fake environment, whose parts a test can replace."""

    def environment(self, **replaced: Any) -> Ports:
        parts: dict[str, Any] = {
            "clock": self,
            "cluster": self,
            "workers": self.agents,
            "broker": self,
            "database": self,
        }
        return Ports(**(parts | replaced))

    def fleet_loop(self, *listeners: Any, **replaced: Any) -> FleetLoop:
        environment = self.environment(**replaced)
        observer = Observer(FLEET, ["worker-default"], {"default": "url"}, environment)
        return FleetLoop(FLEET, observer, environment, listeners)


async def hang(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


async def fail(*_: Any, **__: Any) -> Any:
    raise SourceError("fake", "is down")


def ports(seed: int = 1) -> FakePorts:
    environment = FakePorts(seed, latency_s=0.05)
    environment.advance(1.0)
    return environment


# --- readings


async def test_every_reading_is_known_if_all_sources_answer() -> None:
    environment = ports()
    observation, errors = await Observer(
        FLEET, ["worker-default"], {"default": "url"}, environment.environment()
    ).observe(3.0, 15.0)
    seen = only_service(observation)
    readings = [seen.service, seen.tasks, seen.protected, *seen.agents.values()]
    assert all(isinstance(reading, Known) for reading in [*readings, observation.broker, observation.database])
    assert not errors


@pytest.mark.parametrize("broken", [hang, fail], ids=["silent", "down"])
@pytest.mark.parametrize("source", ["service", "tasks", "protected", "state", "depth", "counts"])
async def test_a_broken_source_is_unknown_and_the_others_are_not(
    source: str, broken: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = ports()
    monkeypatch.setattr(environment.agents if source == "state" else environment, source, broken)
    observation, errors = await Observer(
        FLEET, ["worker-default"], {"default": "url"}, environment.environment()
    ).observe(0.2, 15.0)
    seen = only_service(observation)
    unknown = {
        "service": isinstance(seen.service, Unknown),
        "tasks": isinstance(seen.tasks, Unknown),
        "protected": isinstance(seen.protected, Unknown),
        "state": any(isinstance(agent, Unknown) for agent in seen.agents.values()),
        "depth": isinstance(observation.broker, Unknown),
        "counts": isinstance(observation.database, Unknown),
    }
    # Without tasks there is no request for protection.
    expected = {source} | ({"protected"} if source == "tasks" else set())
    assert {name for name, is_unknown in unknown.items() if is_unknown} == expected
    assert len(errors) == 1


async def test_demand_is_stale_for_three_ticks_and_then_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ports()
    observer = Observer(FLEET, ["worker-default"], {"default": "url"}, environment.environment())
    await observer.observe(3.0, 15.0)
    monkeypatch.setattr(environment, "counts", fail)
    kinds = []
    for _ in range(4):
        environment.advance(5.0)
        observation, _ = await observer.observe(3.0, 15.0)
        kinds.append(type(observation.database))
    assert kinds == [Stale, Stale, Unknown, Unknown]


@pytest.mark.parametrize("source", ["broker", "overrides"])
async def test_a_throttled_source_is_left_out_for_one_tick(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, reads = ports(), []

    async def throttles(*_: Any) -> Any:
        reads.append(environment.now)
        raise ThrottledError(source, "Rate exceeded")

    overrides = SimpleNamespace(of=throttles) if source == "overrides" else None
    if source == "broker":
        monkeypatch.setattr(environment, "depth", throttles)
    observer = Observer(FLEET, ["worker-default"], {"default": "url"}, environment.environment(overrides=overrides))
    paces, errors = [], []
    for _ in range(4):
        paces.append(observer.intervals)
        _, failed = await observer.observe(3.0, 15.0)
        errors.append(len(failed))
        environment.advance(5.0)
    assert len(reads) == 2
    assert errors == [1, 0, 1, 0]
    assert paces == ([1, 2, 2, 2] if source == "broker" else [1, 1, 1, 1])


@pytest.mark.parametrize(("intervals", "gap_s", "lease_s"), [(1, 15.0, 30.0), (4, 50.0, 60.0)])
async def test_the_gap_and_the_lease_follow_the_pace(
    intervals: int, gap_s: float, lease_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = ports()
    leases: list[float] = []
    drains = environment.agents.drain

    async def drain(task: Task, lease_s: float) -> AgentState:
        leases.append(lease_s)
        return await drains(task, lease_s)

    loop = await shrinking(environment)
    monkeypatch.setattr(environment.agents, "drain", drain)
    report = await loop.tick(intervals)
    assert report.tick.fleet.knowledge_gap_s == gap_s
    assert set(leases) == {lease_s}


async def test_a_demand_from_the_future_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ports()
    observer = Observer(FLEET, ["worker-default"], {"default": "url"}, environment.environment())
    environment.now = 1000.0
    await observer.observe(3.0, 15.0)
    for source in ("counts", "depth"):
        monkeypatch.setattr(environment, source, fail)
    environment.now = 990.0
    observation, _ = await observer.observe(3.0, 15.0)
    assert isinstance(observation.database, Unknown)
    assert isinstance(observation.broker, Unknown)


async def test_all_fleets_of_a_tick_share_one_query() -> None:
    environment, calls = ports(), []

    class Counting:
        async def counts(self) -> Mapping[str, DatabaseCount]:
            calls.append(environment.now)
            await asyncio.sleep(0)
            return {"default": DatabaseCount(1, 2)}

        async def running_on(self, host: str) -> int:
            calls.append(environment.now)
            return 3

    shared = SharedDatabase(Counting(), environment, max_age_s=2.5)
    assert [await counts for counts in [shared.counts() for _ in range(5)]] == [{"default": DatabaseCount(1, 2)}] * 5
    assert len(calls) == 1
    environment.advance(3.0)
    await shared.counts()
    assert len(calls) == 2


async def test_the_demand_is_the_sum_of_all_queues() -> None:
    environment = ports()

    class Queues:
        async def depth(self, queue_url: str) -> BrokerCount:
            return {"a": BrokerCount(1, 2, 0), "b": BrokerCount(10, 20, 5)}[queue_url]

        async def counts(self) -> Mapping[str, DatabaseCount]:
            return {"a": DatabaseCount(1, 2), "b": DatabaseCount(10, 20), "other": DatabaseCount(99, 99)}

    fleet = FleetPolicy("two", ("a", "b", "never used"), 5, 1, 5)
    queues = Queues()
    observer = Observer(
        fleet, ["worker-default"], {"a": "a", "b": "b"}, environment.environment(broker=queues, database=queues)
    )
    observation, _ = await observer.observe(3.0, 15.0)
    assert isinstance(observation.broker, Known)
    assert isinstance(observation.database, Known)
    assert observation.broker.value == BrokerCount(11, 22, 5)
    assert observation.database.value == DatabaseCount(11, 22)


async def test_the_tasks_of_an_empty_service_are_read_only_after_it_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = FakePorts(1, latency_s=0.05, services=("a", "b"))
    observer = Observer(FLEET, ["a", "b"], {"default": "url"}, environment.environment())
    calls: list[str] = []
    real = environment.tasks

    async def counting(service: str) -> tuple[Task, ...]:
        calls.append(service)
        return await real(service)

    monkeypatch.setattr(environment, "tasks", counting)
    for _ in range(3):
        observation, _ = await observer.observe(3.0, 15.0)
        assert observation.services["b"].tasks == Known((), observation.services["b"].tasks.at)  # type: ignore[union-attr]
    assert calls.count("b") == 1, "the first time it was not known to be empty"
    assert calls.count("a") == 3
    environment.services["b"].desired = 1
    environment.advance(60.0)
    observation, _ = await observer.observe(3.0, 15.0)
    tasks = observation.services["b"].tasks
    assert isinstance(tasks, Known)
    assert len(tasks.value) == 1


async def test_an_override_stays_in_force_while_ssm_does_not_answer() -> None:
    environment = ports()
    answers: list[Overrides | SourceError] = [SourceError("overrides", "denied"), Overrides(maximum=2)]

    class Ssm:
        async def read(self, fleets: Sequence[str]) -> Mapping[str, Overrides | SourceError]:
            return {fleet: answers.pop(0) if answers else SourceError("overrides", "down") for fleet in fleets}

    shared = SharedOverrides(Ssm(), ["default"], environment, max_age_s=1.0)
    observer = Observer(FLEET, ["worker-default"], {"default": "url"}, environment.environment(overrides=shared))
    seen = []
    for _ in range(4):
        observation, _ = await observer.observe(3.0, 15.0)
        seen.append(observation.overrides)
        environment.advance(600.0)
    assert [type(reading) for reading in seen] == [Unknown, Known, Stale, Stale]
    assert all(reading.value.maximum == 2 for reading in seen[1:] if not isinstance(reading, Unknown))


async def test_a_loop_inherits_the_state_of_an_earlier_loop() -> None:
    environment = ports()
    before, after = environment.fleet_loop(), environment.fleet_loop()
    for _ in range(8):
        await before.tick()
        environment.advance(5.0)
    after.inherit_state(before)
    report = await after.tick()
    assert report.tick.before.window.known_s(environment.now) > 30.0, "a changed setting cost the fleet its window"


async def test_both_services_are_written_and_growth_does_not_wait_for_the_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = FakePorts(1, latency_s=0.05, services=("a", "b"))
    environment.services["a"].desired = 2
    environment.advance(60.0)
    observer = Observer(FLEET, ["a", "b"], {"default": "url"}, environment.environment())
    loop = FleetLoop(FLEET, observer, environment.environment(), ())
    order: list[str] = []
    writes, drains = environment.set_desired, environment.agents.drain

    async def set_desired(service: str, desired: int) -> None:
        order.append(f"{service}={desired}")
        await writes(service, desired)

    async def drain(task: Task, lease_s: float) -> AgentState:
        order.append("drain")
        return await drains(task, lease_s)

    monkeypatch.setattr(environment, "set_desired", set_desired)
    monkeypatch.setattr(environment.agents, "drain", drain)
    for tick in range(60):
        if tick == 8:
            environment.services["b"].revision = 2
        report = await loop.tick()
        environment.advance(max(0.1, 5.0 - report.duration_s))
    assert (environment.services["a"].desired, environment.services["b"].desired) == (0, 1)
    assert order.index("b=1") < order.index("a=0")


async def test_a_dry_run_sends_nothing_to_ecs_and_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that would grow, drain, resume and reduce: each is decided, and no port gets a write."""
    environment, sent, texts = ports(), list[str](), set[str]()

    def forbidden(name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*_: Any, **__: Any) -> Any:
            sent.append(name)

        return call

    (worker,) = environment.workers.values()
    for port, name in ((environment, "set_desired"), (environment, "stop")):
        monkeypatch.setattr(port, name, forbidden(name))
    for name in ("drain", "resume"):
        monkeypatch.setattr(environment.agents, name, forbidden(name))
    fleet = replace(FLEET, dry_run=True)
    observer = Observer(fleet, ["worker-default"], {"default": "url"}, environment.environment())
    loop = FleetLoop(fleet, observer, environment.environment(), ())
    for tick in range(120):
        if tick == 10:
            environment.queue.extend([1.0] * 60)
        if tick == 30:
            environment.desired = 3
        if tick == 60:  # as a scaler that is no dry run would
            worker.drain_until, worker.released = environment.now + 60.0, True
            environment.queue.extend([60.0] * 15)
        report = await loop.tick()
        texts |= {step.text for step in report.tick.decision.explanation}
        environment.advance(max(0.1, 5.0 - report.duration_s))
    for words in ("Would set desired", "Would drain", "Would resume 1 draining worker"):
        assert any(text.startswith(words) for text in texts), words
    assert sent == []


# --- the last doubt before a reduction


async def shrinking(environment: FakePorts) -> FleetLoop:
    """Return a loop whose next tick reduces from 2 to 1."""
    environment.desired = 2
    environment.advance(60.0)
    loop = environment.fleet_loop()
    for _ in range(60):
        report = await loop.tick()
        if any(worker.phase == "released" for worker in environment.workers.values()):
            return loop
        environment.advance(max(0.1, 5.0 - report.duration_s))
    raise AssertionError("no worker was drained")


async def test_reduces_after_all_released_workers_confirmed() -> None:
    environment = ports()
    report = await (await shrinking(environment)).tick()
    assert report.tick.decision.reduces
    assert report.write is not None
    assert report.write.answered_at is not None
    assert environment.desired == 1


async def test_does_not_reduce_when_a_released_worker_does_not_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ports()
    loop = await shrinking(environment)

    def answers(phase: Phase, running: int, reserved: int) -> Callable[..., Awaitable[AgentState]]:
        async def drain(task: Task, lease_s: float) -> AgentState:
            return AgentState(phase, running, reserved, 5, protected=phase == "consuming")

        return drain

    for answer in (fail, answers("consuming", 0, 0), answers("released", 1, 1), answers("released", 0, 1)):
        monkeypatch.setattr(environment.agents, "drain", answer)
        report = await loop.tick()
        assert report.tick.decision.reduces
        assert report.write is not None
        assert "did not confirm" in (report.write.left_out or "")
    assert environment.desired == 2


@pytest.mark.parametrize(
    ("again", "words"),
    [
        pytest.param(Service(5, 2, 0), "desired changed to 5", id="another client wrote"),
        pytest.param(SourceError("ecs", "down"), "could not be read again", id="the service is silent"),
        pytest.param(ROLLING, "a deployment started", id="a deployment started"),
    ],
)
async def test_does_not_reduce_when_the_service_changed(
    again: Service | SourceError, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = ports()
    loop = await shrinking(environment)
    real, looks = environment.service, []

    async def second_look(name: str) -> Service:
        looks.append(name)
        if len(looks) == 1:
            return await real(name)
        if isinstance(again, SourceError):
            raise again
        return again

    monkeypatch.setattr(environment, "service", second_look)
    report = await loop.tick()
    assert report.write is not None
    assert words in (report.write.left_out or "")
    assert environment.desired == 2


@pytest.mark.parametrize("failure", [None, SourceError("ecs", "MISSING")], ids=["protected", "unreadable"])
async def test_does_not_reduce_when_another_scaler_has_resumed_the_released_worker(
    failure: SourceError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count is the same as before, and the worker confirmed its release in this tick."""
    environment = ports()
    loop = await shrinking(environment)
    real, looks = environment.protected, []

    async def second_look(arns: Sequence[str], *, for_s: float = 0.0) -> frozenset[str]:
        looks.append(arns)
        if len(looks) == 1:
            return await real(arns, for_s=for_s)
        if failure:
            raise failure
        return frozenset(arns)

    monkeypatch.setattr(environment, "protected", second_look)
    report = await loop.tick()
    (released,) = report.tick.decision.released
    assert looks[1] == (released,)
    assert report.write is not None
    assert ("could not be read again" if failure else f"{released} is protected again") in (report.write.left_out or "")
    assert environment.desired == 2


async def test_growth_does_not_wait_for_workers_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ports()
    environment.queue.extend([10.0] * 12)
    monkeypatch.setattr(environment.agents, "state", fail)
    report = await environment.fleet_loop().tick()
    assert report.write is not None
    assert environment.desired == 3
    assert [str(error) for error in report.errors] == ["fake: is down"]


async def test_a_write_that_fails_is_reported_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ports()
    environment.queue.extend([10.0] * 12)
    loop = environment.fleet_loop()
    with monkeypatch.context() as patch:
        patch.setattr(environment, "set_desired", fail)
        report = await loop.tick()
        assert report.write is not None
        assert str(report.write.error) == "fake: is down"
    await loop.tick()
    assert environment.desired == 3


# --- reports


async def reported(
    environment: FakePorts, ticks: int = 1
) -> tuple[list[dict[str, Any]], DecisionLog, PrometheusMetrics]:
    out, metrics = io.StringIO(), PrometheusMetrics()
    log = DecisionLog("test", out, environment.wall, kept=3)
    loop = environment.fleet_loop(log, metrics)
    for _ in range(ticks):
        await loop.tick()
    return [json.loads(line) for line in out.getvalue().splitlines()], log, metrics


async def test_one_line_a_decision() -> None:
    environment = ports()
    environment.queue.extend([10.0] * 12)
    (line,), log, _ = await reported(environment)
    assert line["event"] == "decision"
    assert (line["environment"], line["fleet"]) == ("test", "default")
    assert (line["desired_before"], line["desired"]) == (1, 3)
    assert line["demand"]["queued"] + line["demand"]["running"] == 12
    assert line["update_service"]["sent"] is True
    assert line["update_service"]["answered_at"].endswith("Z")
    assert line["explanation"][0]["name"] == "demand"
    assert line["reason"] == "Desired 1 -> 3: 12 slots needed / 5 per worker = 3."
    assert log.decisions(10)[0]["desired"] == 3  # type: ignore[index, call-overload]


async def test_the_view_of_a_fleet() -> None:
    _, log, _ = await reported(ports())
    (view,) = log.fleets()
    assert isinstance(view, dict)
    assert view["workers"] == {
        "starting": 0, "stuck": 0, "consuming_idle": 1, "busy": 0, "draining": 0, "released": 0, "unknown": 0,
    }  # fmt: skip
    assert isinstance(view["slots"], dict)
    assert (view["slots"]["total"], view["slots"]["free"]) == (5, 5)


async def test_metrics_show_readings_and_never_zero_for_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ports()
    _, _, metrics = await reported(environment)
    text = metrics.text().decode()
    for line in (
        'openmwaa_scaler_desired_workers{fleet="default"} 1.0',
        'openmwaa_scaler_workers{fleet="default",state="consuming_idle"} 1.0',
        'openmwaa_scaler_demand_slots{fleet="default",state="queued"} 0.0',
        'openmwaa_scaler_decisions_total{fleet="default",kind="hold"} 1.0',
    ):
        assert line in text
    for name in ("service", "counts", "depth"):
        monkeypatch.setattr(environment, name, fail)
    _, _, metrics = await reported(environment)
    text = metrics.text().decode()
    for line in (
        'openmwaa_scaler_desired_workers{fleet="default"} NaN',
        'openmwaa_scaler_demand_slots{fleet="default",state="queued"} NaN',
        'openmwaa_scaler_reading_age_seconds{fleet="default",source="database"} NaN',
        'openmwaa_scaler_errors_total{fleet="default",kind="SourceError",source="fake"} 3.0',
    ):
        assert line in text


# --- the supervisor


class Turning:
    """A loop that runs the given function and counts."""

    def __init__(self, name: str, body: Callable[[], Awaitable[Any]]) -> None:
        self.fleet = FleetPolicy(name, (name,), 1, 1, 1, interval_s=0.01)
        self.body, self.ticks, self.failures = body, 0, []  # type: ignore[var-annotated]
        self.ticked = asyncio.Event()

    async def tick(self, intervals: int) -> Any:
        self.ticks += 1
        if self.ticks >= 3:
            self.ticked.set()
        await self.body()
        return SimpleNamespace(errors=(), tick=SimpleNamespace(decision=SimpleNamespace(kind="hold")))

    def failed(self, error: BaseException) -> None:
        self.failures.append(error)


async def test_one_fleets_failure_does_not_stop_the_others() -> None:
    async def defect() -> None:
        raise ZeroDivisionError("a defect")

    async def fine() -> None:
        return None

    poisonous, silent, good = Turning("poisonous", defect), Turning("silent", hang), Turning("good", fine)
    supervisor = FleetSupervisor([poisonous, silent, good], ports())  # type: ignore[list-item]
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(20):
        await asyncio.gather(*(loop.ticked.wait() for loop in (poisonous, silent, good)))
    assert isinstance(poisonous.failures[0], ZeroDivisionError)
    assert isinstance(silent.failures[0], TimeoutError)
    assert set(supervisor.failing()) == {"poisonous", "silent"}
    assert supervisor.problem() is None, "a fleet that fails does turn"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_fleet_without_ticks_is_a_problem() -> None:
    environment = ports()
    supervisor = FleetSupervisor([Turning("stuck", hang)], environment)  # type: ignore[list-item]
    assert supervisor.problem() is None
    environment.advance(100.0)
    assert "fleet stuck has not ticked for 100 s" in (supervisor.problem() or "")
