# SPDX-License-Identifier: Apache-2.0
"""The loop of sleep in virtual time: nights, seven days, faults, restarts and messages, against a model of AWS."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

import pytest

from scaler.config.overrides import OverrideDocumentError
from scaler.config.sleep import SleepDocument, SleepSettings, memory_text, parse, parse_memory
from scaler.core.model import BrokerCount, Service
from scaler.core.sleep import SleepCommand, SleepMemory, SleepRequest, SleepState
from scaler.errors import AbsentError, SourceError
from scaler.runtime.sleep_loop import LATE_S, PERIOD_S, REPAIR_S, SleepLoop, SleepStatus
from simulation.loop import run

T = TypeVar("T")
MONDAY = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR, DAY = 3600.0, 86_400.0
PLAIN = SleepSettings(
    id="first",
    command="/openmwaa/x/sleep",
    memory="/openmwaa/x/sleep-memory",
    services={"control-plane": 2},
    database="openmwaa-x",
)
NIGHTS = PLAIN.model_copy(update={"sleep_at": "0 20 * * 1-5", "wake_at": "0 7 * * 1-5"})
STOPS_S, STARTS_S, HEALTHY_S = 300.0, 240.0, 90.0
AWS_STARTS_AFTER_S = 7 * DAY


@dataclass
class World:
    """AWS, and fleets that follow the overrides of the loop as the real ones do."""

    settings: SleepSettings = PLAIN
    period_s: float = PERIOD_S
    saved: SleepCommand | None = None
    memory: str | None = None
    workers: int = 3
    busy_until_s: float = 0.0
    """When the last task of a worker ends."""
    control_plane: int = 2
    desired_at: float = -HOUR
    database_status: str = "available"
    changes_at: float = 0.0
    messages: int = 0
    healthy_tasks: int | None = None
    """If set, so many tasks of the control plane are healthy at most."""
    gone: bool = False
    """Whether the service of the workers does not exist."""
    alarms: bool = True
    late: bool = False
    broken: set[str] = field(default_factory=set)
    """Operations that fail."""
    rng: random.Random | None = None
    """If set, one call in five fails."""
    started: int = 0
    """Starts of the database by AWS itself."""
    stopped: list[float] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    loop: SleepLoop = field(init=False)
    process: asyncio.Task[None] | None = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.cancel()

    def restart(self) -> None:
        """Kill the process, and start a new one, without any state."""
        self.kill()
        self.loop = SleepLoop(
            self.settings,
            self,
            self,  # type: ignore[arg-type]  # of the cluster only two methods
            self,
            self,
            lambda event, **values: self.log.append(f"{event} {values}"),
            self._on_change,
            workers=lambda: ["worker-default-a"],
            queues=lambda: ["default"],
            hold_s=15.0,
            period_s=self.period_s,
        )
        self.process = asyncio.get_running_loop().create_task(self.loop.run())

    def _on_change(self, _: SleepStatus) -> None:
        """The status is read in `_move`."""

    # --- time

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> datetime:
        return MONDAY + timedelta(seconds=self.monotonic())

    def _move(self) -> None:
        """Let fleets and the database reach their state of now."""
        now, held = self.monotonic(), self.loop.status.overrides
        if held is not None and held.fixed == 0:
            if now >= self.busy_until_s:
                self.workers = 0
        elif held is None and self.workers == 0 and self.control_plane:
            self.workers = 1
        if self.database_status in ("stopping", "starting") and now >= self.changes_at:
            self.database_status = "stopped" if self.database_status == "stopping" else "available"
            self.changes_at = now + AWS_STARTS_AFTER_S
        if self.database_status == "stopped" and now >= self.changes_at:
            self.started += 1
            self.database_status, self.changes_at = "starting", now + STARTS_S
        if self.workers and self.database_status != "available":
            self.wrong.append(f"{now:.0f} s: {self.workers} workers while the database is {self.database_status}")
        if self.workers and not self.control_plane and now < self.busy_until_s:
            self.wrong.append(f"{now:.0f} s: {self.workers} workers without a control plane")
        if self.control_plane and self.database_status != "available":
            self.wrong.append(f"{now:.0f} s: a control plane while the database is {self.database_status}")

    async def _call(self, operation: str) -> None:
        await asyncio.sleep(0.2)
        self._move()
        if operation in self.broken or (self.rng is not None and self.rng.random() < 0.2):
            raise SourceError(operation, "refused")

    # --- the ports

    async def read(self) -> tuple[SleepCommand | None, SleepMemory | None]:
        await self._call("ssm")
        return self.saved, self.memory and parse_memory(self.memory)  # type: ignore[return-value]  # no empty text

    async def write(self, memory: SleepMemory) -> None:
        await self._call("put")
        self.memory = memory_text(memory)

    async def healthy(self, _: str) -> int:
        await self._call("health")
        healthy = self.control_plane if self.monotonic() - self.desired_at >= HEALTHY_S else 0
        return healthy if self.healthy_tasks is None else min(healthy, self.healthy_tasks)

    async def database(self) -> str:
        await self._call("rds")
        return self.database_status

    async def set_database(self, step: Literal["stop", "start"]) -> None:
        await self._call("rds")
        if self.database_status != {"stop": "available", "start": "stopped"}[step]:
            raise SourceError("rds", "InvalidDBInstanceState")
        if step == "stop":
            self.stopped.append(self.monotonic())
        self.database_status = {"stop": "stopping", "start": "starting"}[step]
        self.changes_at = self.monotonic() + (STOPS_S if step == "stop" else STARTS_S)

    async def set_alarms(self, *, enabled: bool, late: bool = False) -> None:
        await self._call("alarms")
        self.alarms, self.late = enabled, late

    async def service(self, name: str) -> Service:
        await self._call("ecs")
        if self.gone and name != "control-plane":
            raise AbsentError("ecs", "MISSING")
        count = self.control_plane if name == "control-plane" else self.workers
        return Service(count, count, 0, ())

    async def set_desired(self, service: str, desired: int) -> None:
        await self._call("ecs")
        assert service == "control-plane"
        self.control_plane, self.desired_at = desired, self.monotonic()

    async def depth(self, _: str) -> BrokerCount:
        await self._call("sqs")
        return BrokerCount(self.messages, 0, 0)

    # --- a user

    def command(self, state: SleepState, *, hold_s: float | None = None) -> None:
        hold = None if hold_s is None else self.wall() + timedelta(seconds=hold_s)
        self.saved = SleepCommand(SleepRequest(state, self.wall(), by="a user"), hold)

    @property
    def recorded(self) -> SleepMemory:
        found = parse_memory(self.memory or "")
        assert found is not None
        return found

    async def falls_asleep(self) -> None:
        await self.becomes("awake", 60)
        self.command("asleep")
        await self.becomes("asleep", HOUR)

    @property
    def phase(self) -> str:
        return self.loop.status.phase

    async def becomes(self, phase: str, within_s: float, why: str = "") -> float:
        began = self.monotonic()
        while self.phase != phase:
            assert self.monotonic() - began <= within_s, f"{self.loop.status} after {within_s:g} s {why}"
            await asyncio.sleep(1)
        return self.monotonic() - began


def live(steps: Callable[[World], Awaitable[T]], **values: Any) -> T:
    """Run the steps beside the loop; fail if a worker ever lacked its control plane or database."""

    async def main() -> T:
        world = World(**values)
        world.restart()
        result = await steps(world)
        assert world.process is not None
        assert not world.process.done(), "the loop has ended"
        world.process.cancel()
        assert not world.wrong, world.wrong[:3]
        return result

    return run(main())


def test_a_command_puts_it_to_sleep_and_another_wakes_it() -> None:
    async def steps(world: World) -> None:
        await world.becomes("awake", 60)
        world.busy_until_s = world.monotonic() + 2 * HOUR
        world.command("asleep")
        await world.becomes("draining", 60)
        await asyncio.sleep(HOUR)
        assert (world.workers, world.control_plane, world.alarms) == (3, 2, True), "a task was running"
        await world.becomes("asleep", 2 * HOUR)
        assert (world.workers, world.control_plane, world.database_status) == (0, 0, "stopped")
        assert not world.alarms
        assert not world.loop.status.reads_database
        world.command("awake")
        await world.becomes("awake", STARTS_S + HEALTHY_S + 120)
        await asyncio.sleep(60)
        assert (world.control_plane, world.database_status, world.alarms) == (2, "available", True)
        assert world.workers

    live(steps)


def test_it_sleeps_each_night_and_over_the_weekend() -> None:
    async def steps(world: World) -> None:
        await asyncio.sleep(HOUR / 2)
        for _ in range(7 * 24):
            now = world.wall()
            office = now.weekday() < 5 and 7 <= now.hour < 20
            assert world.phase == ("awake" if office else "asleep"), f"{now:%A %H:%M}"
            await asyncio.sleep(HOUR)

    live(steps, settings=NIGHTS, period_s=120.0)


def test_a_database_that_aws_starts_after_seven_days_is_stopped_within_an_hour() -> None:
    async def steps(world: World) -> None:
        await world.becomes("awake", 60)
        world.command("asleep")
        await world.becomes("asleep", HOUR)
        for week in (1, 2):
            await asyncio.sleep(AWS_STARTS_AFTER_S + STARTS_S)
            await world.becomes("asleep", HOUR, "the database was to be stopped again")
            assert (world.started, len(world.stopped)) == (week, week + 1)
        assert world.control_plane == 0

    live(steps, period_s=300.0)


@pytest.mark.parametrize("after_s", [20, 60, 200, 330, 400, 700, 760, 800, 1000])
def test_a_restart_of_the_scaler_at_any_moment_changes_nothing(after_s: float) -> None:
    async def steps(world: World) -> None:
        await world.becomes("awake", 60)
        world.command("asleep")
        asyncio.get_running_loop().call_later(700, world.command, "awake")
        await asyncio.sleep(after_s)
        world.restart()
        await asyncio.sleep(max(0.0, 700 - after_s) + 60)
        await world.becomes("awake", 1800)
        await asyncio.sleep(PERIOD_S)
        assert (world.control_plane, world.database_status, world.alarms) == (2, "available", True)

    live(steps, busy_until_s=100.0)


@pytest.mark.parametrize("seed", range(8))
def test_with_failing_calls_it_falls_asleep_and_wakes(seed: int) -> None:
    async def steps(world: World) -> None:
        await world.becomes("awake", HOUR)
        for _ in range(3):
            world.command("asleep")
            await world.becomes("asleep", 2 * HOUR)
            world.command("awake")
            await world.becomes("awake", 2 * HOUR)

    live(steps, rng=random.Random(seed))


@pytest.mark.parametrize("operation", ["ssm", "put", "ecs", "rds", "health"])
def test_an_outage_while_asleep_wakes_nothing(operation: str) -> None:
    async def steps(world: World) -> None:
        await world.falls_asleep()
        world.broken.add(operation)
        await asyncio.sleep(DAY)
        assert (world.control_plane, world.workers, world.database_status) == (0, 0, "stopped")
        assert not world.loop.status.reads_database, "Aurora would not pause"
        world.broken.clear()
        await world.becomes("asleep", 60)
        world.command("awake")
        await world.becomes("awake", HOUR)

    live(steps, period_s=30.0)


@pytest.mark.parametrize("operation", ["ssm", "ecs", "rds", "health", "alarms"])
def test_an_outage_while_awake_drains_nothing(operation: str) -> None:
    async def steps(world: World) -> None:
        await world.becomes("awake", 60)
        world.broken.add(operation)
        await asyncio.sleep(DAY / 2)  # before the schedule
        assert world.loop.status.overrides is None
        assert (world.control_plane, world.workers) == (2, 3)

    live(steps, settings=NIGHTS.model_copy(update={"sleep_at": "0 0 1 1 *"}))


def test_before_the_record_is_read_no_fleet_changes() -> None:
    async def steps(world: World) -> None:
        world.broken.add("ssm")
        await asyncio.sleep(HOUR)
        held = world.loop.status.overrides
        assert held is not None
        assert (held.pause, held.fixed) == ("both", None)
        assert any("sleep_failed" in line for line in world.log)
        world.broken.clear()
        await world.becomes("awake", 60)

    live(steps)


def test_a_start_that_aws_refuses_is_repeated_and_counted() -> None:
    async def steps(world: World) -> None:
        await world.falls_asleep()
        world.broken.add("rds")
        world.command("awake")
        await asyncio.sleep(2 * HOUR)
        assert world.loop.waking_s() == 0, "the first question begins the count"
        await asyncio.sleep(2 * HOUR)
        assert world.loop.waking_s() == pytest.approx(2 * HOUR, abs=PERIOD_S)
        world.broken.clear()
        await world.becomes("awake", HOUR)
        assert world.loop.waking_s() == 0

    live(steps)


def test_a_new_schedule_has_no_effect_on_the_time_before() -> None:
    async def steps(world: World) -> None:
        await asyncio.sleep(HOUR)
        assert world.phase == "awake", "it is noon, and the last `sleep_at` was this morning"
        await asyncio.sleep(DAY - HOUR)
        assert world.phase == "asleep"

    live(steps, settings=PLAIN.model_copy(update={"sleep_at": "0 10 * * *"}), period_s=60.0)


def test_a_change_of_one_time_does_not_lose_the_other() -> None:
    async def steps(world: World) -> None:
        await asyncio.sleep(18 * HOUR + 0.9 * HOUR)  # 06:54
        assert world.phase == "asleep"
        world.kill()
        await asyncio.sleep(0.2 * HOUR)  # 07:06
        world.settings = NIGHTS.model_copy(update={"sleep_at": "0 21 * * 1-5"})
        world.restart()
        await world.becomes("awake", HOUR)

    live(steps, settings=NIGHTS, period_s=60.0)


@pytest.mark.parametrize("created_again", [True, False], ids=["created again", "the same"])
def test_what_was_recorded_for_an_earlier_environment_has_no_effect(created_again: bool) -> None:
    async def steps(world: World) -> None:
        await world.falls_asleep()
        world.kill()
        world.control_plane, world.database_status = 2, "available"  # as created by Terraform
        if created_again:
            world.settings = PLAIN.model_copy(update={"id": "second"})
        world.restart()
        await asyncio.sleep(HOUR)
        assert (world.phase == "awake") == created_again

    live(steps)


def test_the_clock_wakes_it_while_the_parameters_cannot_be_read_or_written() -> None:
    async def steps(world: World) -> None:
        await asyncio.sleep(12 * HOUR)
        assert world.phase == "asleep"
        world.broken |= {"ssm", "put"}
        await asyncio.sleep(8 * HOUR)  # 08:00
        assert world.phase == "awake"
        assert any("sleep_failed" in line for line in world.log)

    live(steps, settings=NIGHTS, period_s=60.0)


def test_without_a_record_that_it_is_down_nothing_stops() -> None:
    async def steps(world: World) -> None:
        await world.becomes("awake", 60)
        world.broken.add("put")
        world.command("asleep")
        await asyncio.sleep(HOUR)
        assert (world.control_plane, world.database_status) == (2, "available"), "a new process could not wake it"
        world.broken.clear()
        await world.becomes("asleep", HOUR)
        assert world.recorded.down

    live(steps)


def test_during_a_hold_the_schedule_has_no_effect() -> None:
    async def steps(world: World) -> None:
        await world.becomes("awake", 60)
        world.command("awake", hold_s=9 * HOUR)  # until 21:00
        await asyncio.sleep(8.9 * HOUR)
        assert world.phase == "awake"
        await asyncio.sleep(HOUR)
        assert world.phase == "asleep"

    live(steps, settings=NIGHTS)


def test_one_service_without_tasks_does_not_stop_the_fleets_of_a_scaler_that_starts() -> None:
    async def steps(world: World) -> None:
        await world.becomes("awake", 60)
        world.control_plane = 0  # by hand
        world.restart()
        await asyncio.sleep(HOUR)
        assert (world.phase, world.workers, world.control_plane) == ("awake", 3, 0)

    live(steps)


@pytest.mark.parametrize("healthy", [0, 1])
def test_a_control_plane_that_is_not_healthy_does_not_hold_the_fleets_for_ever(healthy: int) -> None:
    async def steps(world: World) -> None:
        await world.falls_asleep()
        world.healthy_tasks = healthy
        world.command("awake")
        took = await world.becomes("awake", HOUR)
        assert (took > 900) == (healthy == 0), "one healthy task is enough"

    live(steps)


def test_notifications_that_an_apply_disables_after_the_wake_are_enabled_again() -> None:
    async def steps(world: World) -> None:
        await world.falls_asleep()
        world.command("awake")
        await world.becomes("awake", HOUR)
        await asyncio.sleep(PERIOD_S + 1)
        assert (world.alarms, world.late) == (True, False)
        await asyncio.sleep(LATE_S)
        assert world.late, "alarms that are still in alarm"
        world.alarms = False  # by an apply with a plan from the sleep
        await asyncio.sleep(PERIOD_S + 1)
        assert world.alarms
        await asyncio.sleep(REPAIR_S)
        world.alarms = False  # by a person
        world.restart()
        await asyncio.sleep(HOUR)
        assert not world.alarms

    live(steps)


def test_a_fleet_whose_service_does_not_exist_has_no_workers() -> None:
    async def steps(world: World) -> None:
        await world.becomes("awake", 60)
        world.gone = True
        world.command("asleep")
        await world.becomes("asleep", HOUR)

    live(steps, workers=0)


def test_a_defect_of_an_answer_does_not_end_the_scaler() -> None:
    async def steps(world: World) -> None:
        await world.becomes("awake", 60)
        healthy = world.read

        async def broken() -> Any:
            raise ZeroDivisionError("a parser's own error")

        world.read = broken  # type: ignore[method-assign]
        await asyncio.sleep(HOUR)
        world.read = healthy  # type: ignore[method-assign]
        world.command("asleep")
        await world.becomes("asleep", HOUR)
        assert any("ZeroDivisionError" in line for line in world.log)

    live(steps)


def test_a_command_is_effective_until_the_next_time_of_the_schedule() -> None:
    async def steps(world: World) -> None:
        await asyncio.sleep(10 * HOUR)  # 22:00
        assert world.phase == "asleep"
        world.command("awake")
        await asyncio.sleep(20 * HOUR)  # 18:00
        assert world.phase == "awake"
        await asyncio.sleep(3 * HOUR)
        assert world.phase == "asleep"
        assert world.recorded.request.by == "schedule"

    live(steps, settings=NIGHTS)


@pytest.mark.parametrize("wakes", [True, False], ids=["wake_on_message", "by default not"])
def test_a_message_wakes_it_if_the_file_allows_it(wakes: bool) -> None:
    async def steps(world: World) -> None:
        world.messages = 7
        await world.falls_asleep()
        await asyncio.sleep(HOUR)
        assert world.phase == "asleep", "7 tasks were queued before"
        world.restart()
        await world.becomes("asleep", HOUR)
        await asyncio.sleep(HOUR)
        world.messages = 5  # two expire
        await asyncio.sleep(HOUR)
        world.messages = 6
        await asyncio.sleep(HOUR)
        assert (world.phase == "awake") == wakes

    live(steps, settings=PLAIN.model_copy(update={"wake_on_message": wakes}))


def test_more_schedulers_in_the_file_are_started_while_awake() -> None:
    async def steps(world: World) -> None:
        assert world.control_plane == 2
        await world.becomes("awake", 60)
        await asyncio.sleep(PERIOD_S)
        assert world.control_plane == 3

    live(steps, settings=PLAIN.model_copy(update={"services": {"control-plane": 3}}))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", '{"version": 1}', '{"version": 1, "state": "tired", "at": "2026-06-01T12:00:00Z"}'),
        *('{"version": 1, "state": "asleep", "at": "noon"}', '{"version": 2, "state": "asleep", "at": "2026-06-01"}'),
        '{"version": 1, "state": "asleep", "at": "2026-06-01T12:00:00Z", "more": 1}',
    ],
)
def test_a_record_is_valid_as_a_whole(text: str) -> None:
    with pytest.raises(OverrideDocumentError):
        parse(text)


def test_a_command_has_the_time_of_its_write() -> None:
    document = SleepDocument(state="asleep", at="2030-01-01T00:00:00Z", by="arn:aws:iam::1:user/x", reason="Nacht")
    assert parse(document.to_text()).to_core(MONDAY) == SleepCommand(
        SleepRequest("asleep", MONDAY, "arn:aws:iam::1:user/x", "Nacht")
    ), "the clock of a user may be wrong"


def test_the_record_is_the_same_after_it_was_stored() -> None:
    memory = SleepMemory(
        "first", MONDAY, SleepRequest("asleep", MONDAY, "schedule"), True, True, {"asleep": ("x", MONDAY)}, 3, MONDAY
    )
    assert parse_memory(memory_text(memory)) == memory
    assert parse_memory(memory_text(replace(memory, messages=None, message_at=None))) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "first"}'])
def test_a_record_that_is_not_valid_is_none(text: str) -> None:
    assert parse_memory(text) is None
