# SPDX-License-Identifier: Apache-2.0
"""The engine: Airflow's scheduler with its limits, the broker, and ECS with its three kinds of protection."""

from dataclasses import replace

import pytest

from simulation.engine.airflow import EngineTask, ProgressListener
from simulation.engine.day import Engine
from simulation.engine.fleet import EngineFleetSettings, State, StopProtection
from simulation.engine.policy import EngineFleetView, ScalingRule
from simulation.policies.always import Always
from simulation.workloads.model import Workload, WorkloadDag, WorkloadRun, WorkloadTask

EXACT = EngineFleetSettings(slots=2, minimum=1, maximum=1, cold_start_s=10.0, cold_start_sigma=0.0)


def task(
    number: int, seconds: float, *upstream: int, pool: str = "default_pool", queue: str = "default"
) -> WorkloadTask:
    return WorkloadTask(f"t{number}", ((seconds, 0.0),), upstream, queue=queue, pool=pool)


def workload(*dags: WorkloadDag, runs: list[WorkloadRun], horizon_s: float = 1000.0, **more: object) -> Workload:
    found = Workload("test", horizon_s, 0.0, {dag.dag_id: dag for dag in dags}, tuple(runs))
    return replace(found, **more)  # type: ignore[arg-type]


def run(dag_id: str = "dag", start_s: float | None = 0.0, **more: object) -> WorkloadRun:
    return replace(WorkloadRun(dag_id, "manual", start_s), **more)  # type: ignore[arg-type]


def dag(*tasks: WorkloadTask, dag_id: str = "dag", **more: object) -> WorkloadDag:
    return replace(WorkloadDag(dag_id, (tasks,)), **more)  # type: ignore[arg-type]


class Journal(Always, ProgressListener):
    """The maximum of workers, and the start and end of each task."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []

    @property
    def listener(self) -> ProgressListener:
        return self

    def task_started(self, instance: EngineTask, now: float) -> None:
        self.lines.append((now, f"{instance.task.task_id} starts"))

    def task_ended(self, instance: EngineTask, now: float) -> None:
        self.lines.append((now, f"{instance.task.task_id} ends"))


def journal(of: Workload, settings: EngineFleetSettings = EXACT) -> list[tuple[float, str]]:
    policy = Journal()
    Engine(of, policy, (settings,)).run()
    return policy.lines


def starts(of: Workload, settings: EngineFleetSettings = EXACT) -> list[float]:
    return [at for at, line in journal(of, settings) if line.endswith("starts")]


def test_a_task_starts_a_second_after_its_upstream_tasks_when_a_slot_is_free() -> None:
    chain = dag(task(0, 20.0), task(1, 5.0), task(2, 5.0, 0, 1))
    assert journal(workload(chain, runs=[run()])) == [
        *((10.0, "t0 starts"), (10.0, "t1 starts"), (15.0, "t1 ends"), (30.0, "t0 ends")),
        *((31.0, "t2 starts"), (36.0, "t2 ends")),
    ]


def test_a_third_task_waits_for_a_slot() -> None:
    assert starts(workload(dag(task(0, 20.0), task(1, 5.0), task(2, 5.0)), runs=[run()])) == [10.0, 10.0, 15.0]


WIDE = dag(task(0, 10.0), task(1, 10.0), task(2, 10.0, pool="small"), task(3, 10.0, pool="small"))
ROOMY = replace(EXACT, slots=9)


@pytest.mark.parametrize(
    ("limited", "at"),
    [
        pytest.param(workload(WIDE, runs=[run()]), [10, 10, 10, 10], id="no limit"),
        pytest.param(workload(WIDE, runs=[run()], pools={"small": 1}), [10, 10, 10, 20], id="pool"),
        pytest.param(workload(WIDE, runs=[run()], parallelism=3), [10, 10, 10, 20], id="parallelism"),
        pytest.param(
            workload(replace(WIDE, max_active_tasks=2), runs=[run()]), [10, 10, 20, 20], id="max active tasks"
        ),
        pytest.param(
            workload(dag(task(0, 30.0), max_active_runs=1), runs=[run(), run(start_s=1.0)]),
            [10, 41],
            id="max active runs",
        ),
    ],
)
def test_airflows_limits_hold_tasks_back(limited: Workload, at: list[float]) -> None:
    assert starts(limited, ROOMY) == at


def test_a_task_holds_no_slot_between_its_segments() -> None:
    sensor = dag(WorkloadTask("t0", ((2.0, 60.0), (2.0, 0.0))))
    other = dag(task(1, 50.0), dag_id="other")
    lines = journal(workload(sensor, other, runs=[run(), run("other", 5.0)]), replace(EXACT, slots=1))
    assert lines == [
        (10.0, "t0 starts"),
        (12.0, "t1 starts"),
        (62.0, "t1 ends"),
        (72.0, "t0 starts"),
        (74.0, "t0 ends"),
    ]


def test_a_mapped_task_ends_with_its_last_instance_and_an_empty_one_is_skipped() -> None:
    mapped = dag(WorkloadTask("t0", ((10.0, 0.0),), mapped=3.0), task(1, 1.0, 0))
    assert starts(workload(mapped, runs=[run(mapped={0: 3})])) == [10.0, 10.0, 20.0, 31.0]
    assert starts(workload(mapped, runs=[run(mapped={0: 0})])) == [10.0]


def test_an_asset_starts_the_next_run_of_its_consumer() -> None:
    consumer = dag(task(9, 1.0), dag_id="consumer", after=("dag", 0))
    runs = [run(), replace(run("consumer", None), kind="asset")]
    assert journal(workload(dag(task(0, 20.0)), consumer, runs=runs))[-2:] == [(31.0, "t9 starts"), (32.0, "t9 ends")]


def test_a_message_of_a_queue_without_a_fleet_is_an_error() -> None:
    other = workload(dag(task(0, 1.0, queue="gpu")), runs=[run()])
    with pytest.raises(ValueError, match="no fleet serves queue 'gpu' of dag"):
        Engine(other, Always(), (replace(EXACT, queues=("default",)),)).run()


class Steps(ScalingRule):
    """Follows a list of desired counts, one in 100 s."""

    interval_s = 100.0

    def __init__(self, protection: StopProtection, *desired: int) -> None:
        self.protection = protection
        self._desired = list(desired)

    def tick(self, view: EngineFleetView) -> None:
        if self._desired:
            view.fleet.set_desired(self._desired.pop(0), view.now)


@pytest.mark.parametrize(
    ("protection", "killed", "hours"),
    [
        # From 100 s on one worker is surplus. It is killed after the stop timeout of 120 s, and its task runs again.
        pytest.param(StopProtection.NONE, 1, (1000 + 220) / 3600, id="none: a busy worker is stopped"),
        pytest.param(StopProtection.BUSY, 0, (1000 + 410) / 3600, id="busy: it leaves after its task"),
        pytest.param(StopProtection.DRAIN, 0, (1000 + 1000) / 3600, id="drain: nothing leaves without a drain"),
    ],
)
def test_ecs_stops_what_is_not_protected(protection: StopProtection, killed: int, hours: float) -> None:
    two = workload(dag(task(0, 400.0), task(1, 400.0)), runs=[run()])
    settings = replace(EXACT, slots=1, maximum=2)
    (found,) = Engine(two, Steps(protection, 2, 1), (settings,)).run().fleets
    assert found.killed == killed
    assert found.worker_hours == pytest.approx(hours)


class Drains(Steps):
    """Drains one worker at 100 s, and resumes it at 200 s on request."""

    def __init__(self, *, resumes: bool) -> None:
        super().__init__(StopProtection.DRAIN, 2)
        self._resumes = resumes
        self.states: list[list[str]] = []

    def tick(self, view: EngineFleetView) -> None:
        super().tick(view)
        self.states.append([worker.state.name for worker in view.workers])
        if view.now == 100.0:
            view.fleet.drain([2], view.now)
        elif view.now == 200.0 and self._resumes:
            view.fleet.resume([2], view.now)
        elif view.now == 300.0:
            view.fleet.set_desired(1, view.now)


@pytest.mark.parametrize(
    ("resumes", "left"), [(False, ["CONSUMING"]), (True, ["CONSUMING", "CONSUMING"])], ids=["released", "resumed"]
)
def test_a_drained_worker_leaves_when_the_count_is_lowered_unless_it_was_resumed(
    resumes: bool, left: list[str]
) -> None:
    policy = Drains(resumes=resumes)
    Engine(workload(runs=[], horizon_s=400.0), policy, (replace(EXACT, maximum=2),)).run()
    assert policy.states[2] == [State.CONSUMING.name, State.RELEASED.name]
    assert policy.states[4] == left
