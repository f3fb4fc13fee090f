# SPDX-License-Identifier: Apache-2.0
"""The plan that the rows of Airflow's database make, the limits of a reading, and what it costs."""

import json
import zlib
from typing import Any

import pytest

from scaler.adapters import airflow_plan
from scaler.core.forecast.plan import AirflowPlan, Arrivals
from scaler.errors import BadAnswerError, SourceError
from tests.support.plan_rows import AT, PlanRows

DEFAULT = frozenset({"default"})
NOW = 5000.0
CHAIN = {"a": ["b"], "b": ["c"], "c": []}


async def plan_of(rows: PlanRows, queues: frozenset[str] = DEFAULT) -> AirflowPlan:
    return await rows.reader(lambda: NOW).plan(queues, headroom=bool(rows.rows["ARRIVALS"]))


def active(plan: AirflowPlan) -> list[tuple[int, float, bool, str | None]]:
    return [(task.task, task.since, task.running, task.worker) for run in plan.runs for task in run.active]


@pytest.fixture
def rows() -> PlanRows:
    found = PlanRows()
    found.dag("chain", CHAIN)
    return found


@pytest.mark.parametrize(
    ("state", "ago_s", "expected"),
    [
        pytest.param("running", 30.0, (1, NOW - 30, True, "w1"), id="running: since its start"),
        pytest.param("restarting", 30.0, (1, NOW - 30, True, "w1"), id="restarting: it has its slot"),
        pytest.param("queued", 300.0, (1, NOW - 300, False, None), id="queued: however long"),
        pytest.param("scheduled", 3.0, (1, NOW - 2, False, None), id="scheduled: a second later"),
        pytest.param("scheduled", 11.0, None, id="scheduled and held back by a limit"),
        pytest.param("deferred", 1.0, None, id="deferred: no slot"),
        pytest.param("up_for_reschedule", 1.0, None, id="up_for_reschedule: no slot"),
        pytest.param("up_for_retry", 1.0, None, id="up_for_retry: no slot"),
    ],
)
async def test_the_state_of_a_task_shows_whether_it_holds_a_slot(
    rows: PlanRows, state: str, ago_s: float, expected: Any
) -> None:
    rows.run(1, "chain", ended=[("a", [10.0])])
    rows.open(1, "b", state, ago_s, host="w1")
    plan = await plan_of(rows)
    assert active(plan) == ([expected] if expected else [])
    assert plan.runs[0].ended == 1
    assert plan.present == (state in ("running", "restarting", "queued"))
    assert plan.waiting_since == (NOW - 300 if state == "queued" else None)


async def test_a_task_that_the_scheduler_has_not_seen_yet_is_expected_at_once(rows: PlanRows) -> None:
    rows.run(1, "chain", ago_s=3.0)
    assert active(await plan_of(rows)) == [(0, NOW - 2, False, None)]
    rows.rows["RUNS"].clear()
    rows.run(1, "chain", ago_s=11.0)
    assert active(await plan_of(rows)) == [], "a limit holds it back"


async def test_mapped_tasks_count_by_their_past_mean_until_they_are_expanded() -> None:
    rows = PlanRows()
    rows.dag("fan", {"m": ["group"], "group": []}, m={"_is_mapped": True}, group={"_needs_expansion": True})
    rows.rows["PAST"] += [("fan", "m", [5.0, 5.0], 3.6), ("fan", "group", [5.0], 2.0)]
    rows.run(1, "fan", ago_s=1.0)
    plan = await plan_of(rows)
    assert plan.shapes["fan"].instances == (3.6, 2.0)
    assert len(active(plan)) == 4
    rows.open(1, "m", "running")
    assert len(active(await plan_of(rows))) == 1, "it is expanded"


async def test_past_runs_show_how_many_tasks_of_the_fleet_ran(rows: PlanRows) -> None:
    rows.rows["RAN"] += [("chain", 7, "default", 24), ("chain", 7, "big", 3), ("chain", 6, "default", 0)]
    rows.run(1, "chain")
    reader = rows.reader(lambda: NOW)
    past = {queue: (await reader.plan(frozenset({queue}))).shapes["chain"].past_tasks for queue in ("default", "big")}
    assert past == {"default": (24, 0), "big": (3, 0)}, "a run without tasks is a run"


async def test_each_fleet_sees_the_tasks_of_its_queues() -> None:
    rows = PlanRows()
    rows.dag(
        "mixed",
        {"small": ["big"], "big": ["mapped"], "mapped": ["elsewhere"], "elsewhere": ["empty"], "empty": []},
        big={"queue": "big"},
        mapped={"_is_mapped": True, "partial_kwargs": {"queue": "big"}},
        elsewhere={"executor": "KubernetesExecutor"},
        empty={"_is_empty": True},
    )
    rows.dag("other", {"x": []}, x={"queue": "third"})
    rows.run(1, "mixed", ended=[("small", None)])
    rows.run(2, "other")
    rows.open(1, "big", "queued", queue="big")
    rows.open(2, "x", "running", queue="third")
    reader = rows.reader(lambda: NOW)
    default, big = await reader.plan(DEFAULT), await reader.plan(frozenset({"big"}))
    assert default.shapes["mixed"].instances == (1.0, 0.0, 0.0, 0.0, 0.0)
    assert big.shapes["mixed"].instances == (0.0, 1.0, 1.0, 0.0, 0.0)
    assert [len(plan.runs) for plan in (default, big)] == [1, 1], "a run that uses no slot of the fleet is left out"
    assert [plan.present for plan in (default, big)] == [0, 1]
    assert default.shapes["mixed"].durations[4] is not None, "an empty task takes no time"


async def test_the_pace_of_a_run_comes_from_its_ended_tasks(rows: PlanRows) -> None:
    rows.rows["PAST"].append(("chain", "a", [100.0, 100.0], 0.0))
    rows.run(1, "chain", ended=[("a", [200.0]), ("deleted", [1.0])])
    rows.run(2, "chain")
    slow, usual = (await plan_of(rows)).runs
    assert slow.pace > 1.5
    assert usual.pace == 1.0


async def test_runs_that_are_due_and_the_dags_that_they_start() -> None:
    rows = PlanRows()
    rows.dag("first", {"a": ["b"], "b": []}, b={"trigger_dag_id": "triggered"})
    rows.dag("triggered", {"x": []}, x={"trigger_dag_id": "{{ params.dag }}"})
    rows.dag("consumer", {"y": []})
    rows.rows["DUE"].append(("first", AT + 40))
    rows.rows["CONSUMERS"].append(("first", "a", "consumer"))
    plan = await plan_of(rows)
    assert [(run.dag_id, run.at) for run in plan.next_runs] == [("first", NOW + 40)]
    assert plan.shapes["first"].starts == {0: ("consumer",), 1: ("triggered",)}
    assert plan.shapes.keys() == {"first", "triggered", "consumer"}
    assert plan.shapes["triggered"].starts == {}, "a template is no DAG"


async def test_dags_that_people_start_at_this_time_are_read_with_their_rate(rows: PlanRows) -> None:
    """Six on the same weekday in two weeks, two of them today a week ago; a DAG that started once on another day."""
    rows.dag("by-hand", {"only": []})
    known_s = 15 * 86400.0
    rows.rows["ARRIVALS"] = [("by-hand", 7, 2, known_s), ("by-hand", 14, 4, known_s), ("chain", 1, 1, known_s)]
    plan = await plan_of(rows)
    assert plan.arrivals == (Arrivals("by-hand", 3 / 3600),)
    assert set(plan.shapes) == {"by-hand"}, "its tasks are known before it runs"


async def test_arrivals_that_cannot_be_read_cost_one_reading_and_not_the_plan(
    rows: PlanRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: Any) -> Any:
        raise SourceError("database", "no answer within 2 s")

    monkeypatch.setattr(airflow_plan, "_read_arrivals", slow)
    rows.run(1, "chain")
    reader = rows.reader(lambda: NOW)
    with pytest.raises(SourceError):
        await reader.plan(DEFAULT, headroom=True)
    plan = await reader.plan(DEFAULT, headroom=True)
    assert (len(plan.runs), plan.arrivals) == (1, ())


async def test_a_run_keeps_its_version_and_new_runs_use_the_newest() -> None:
    rows = PlanRows()
    rows.dag("d", {"old": []}, version="v1", pinned=True)
    rows.dag("d", {"new": [], "more": []}, version="v2")
    rows.run(1, "d", version="v1", ended=[("old", [1.0])])
    plan = await plan_of(rows)
    assert (len(plan.runs[0].shape.upstream), len(plan.shapes["d"].upstream)) == (1, 2)


async def test_airflow_2_has_one_version_of_a_dag() -> None:
    rows = PlanRows(airflow=2)
    rows.dag("chain", CHAIN, version="chain")
    rows.run(1, "chain")
    rows.open(1, "a", "running")
    assert (await plan_of(rows)).present == 1


async def test_tasks_that_the_plan_does_not_know_are_not_counted_as_its_own(rows: PlanRows) -> None:
    rows.run(1, "chain")
    rows.run(2, "deleted")
    rows.open(1, "removed", "running")
    rows.open(1, "a", "running", ours=False)
    rows.open(2, "a", "queued")
    assert (await plan_of(rows)).present == 0


async def test_an_unchanged_run_is_the_same_object_and_nothing_is_read_twice(rows: PlanRows) -> None:
    rows.run(1, "chain", ended=[("a", [1.0])])
    rows.open(1, "b", "running")
    now = NOW
    reader = rows.reader(lambda: now)
    first = await reader.plan(DEFAULT)
    rows.asked.clear()
    rows.at, now = rows.at + 5.0, NOW + 5.3  # an answer is not always equally quick
    second = await reader.plan(DEFAULT)
    assert second.runs[0] is first.runs[0]
    assert [name for name, _ in rows.asked] == ["RUNS", "OPEN", "DUE", "KEYS"]
    rows.at, now = rows.at + 300.0, now + 300.0
    rows.rows["RUNS"][0] = (*rows.rows["RUNS"][0][:6], 2, 3)
    rows.rows["TASKS_ENDED"].append((1, "b", True, [1.0]))
    rows.rows["OPEN"].clear()
    rows.asked.clear()
    assert (await reader.plan(DEFAULT)).runs[0].ended == 0b11
    assert {"PAST", "TASKS_ENDED"} <= {name for name, _ in rows.asked}


async def test_a_compressed_structure_is_read_in_the_scaler(rows: PlanRows) -> None:
    tasks = [{"__var": {"task_id": "a", "downstream_task_ids": ["b"]}, "__type": "operator"}, {"task_id": "b"}]
    version, digest, *_ = rows.rows["STRUCTURES"][0]
    packed = zlib.compress(json.dumps({"dag": {"tasks": tasks}}).encode())
    rows.rows["STRUCTURES"][0] = (version, digest, packed, None)
    rows.run(1, "chain")
    assert (await plan_of(rows)).shapes["chain"].upstream == (0, 1)


CYCLE = json.dumps([{"task_id": "a", "downstream_task_ids": ["b"]}, {"task_id": "b", "downstream_task_ids": ["a"]}])


@pytest.mark.parametrize(
    ("compressed", "tasks"),
    [
        pytest.param(None, CYCLE, id="a cycle"),
        pytest.param(None, '[{"task_id": "a", "downstream_task_ids": ["absent"]}]', id="an absent task"),
        pytest.param(None, '[{"no": "id"}]', id="no id"),
        pytest.param(b"no zlib", None, id="not compressed"),
        pytest.param(zlib.compress(b'{"dag": 1}'), None, id="no DAG"),
        pytest.param(None, json.dumps([{"task_id": str(number)} for number in range(5001)]), id="too many tasks"),
    ],
)
async def test_a_structure_that_cannot_be_read_is_an_error(rows: PlanRows, compressed: Any, tasks: Any) -> None:
    version, digest, *_ = rows.rows["STRUCTURES"][0]
    rows.rows["STRUCTURES"][0] = (version, digest, compressed, tasks)
    rows.run(1, "chain")
    with pytest.raises(BadAnswerError):
        await plan_of(rows)


async def test_many_dags_are_read_in_parts_and_the_plan_is_unknown_until_all_are_there() -> None:
    rows = PlanRows()
    for number in range(120):
        rows.dag(f"d{number:03}", CHAIN)
        rows.run(number, f"d{number:03}")
    reader = rows.reader(lambda: NOW)
    for left in (140, 40):
        with pytest.raises(SourceError, match=f"{left} structures and histories of DAGs are still to be read"):
            await reader.plan(DEFAULT)
    assert len((await reader.plan(DEFAULT)).runs) == 120
    assert max(len(parameters[0]) for name, parameters in rows.asked if name in ("PAST", "STRUCTURES")) == 50


async def test_a_history_that_takes_too_long_is_read_in_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = PlanRows()
    for number in range(20):
        rows.dag(f"d{number:02}", CHAIN)
        rows.run(number, f"d{number:02}")
    sizes: list[int] = []
    fetch = rows.fetch

    async def slow(query: str, *parameters: Any) -> Any:
        if query == airflow_plan.PAST.format(**airflow_plan.WORDS_3):
            sizes.append(len(parameters[0]))
            if sizes[-1] > 5:
                raise SourceError("database", "statement timeout")
        return await fetch(query, *parameters)

    monkeypatch.setattr(rows, "fetch", slow)
    reader = rows.reader(lambda: NOW)
    for _ in range(3):
        with pytest.raises(SourceError):
            await reader.plan(DEFAULT)
    assert sizes == [20, 10, 5]


async def test_many_runs_are_read_in_parts(rows: PlanRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_plan, "MAX_ENDED", 4)
    for number in range(3):
        rows.run(number, "chain", ended=[("a", [1.0])])
    reader = rows.reader(lambda: NOW)
    with pytest.raises(SourceError, match="1 runs in progress are still to be read"):
        await reader.plan(DEFAULT)
    assert len((await reader.plan(DEFAULT)).runs) == 3


@pytest.mark.parametrize(("name", "limit"), [("RUNS", "MAX_RUNS"), ("OPEN", "MAX_OPEN"), ("DUE", "MAX_RUNS")])
async def test_above_a_limit_the_plan_is_unknown(
    rows: PlanRows, name: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.run(1, "chain")
    rows.open(1, "a", "running")
    rows.rows["DUE"].append(("chain", AT))
    monkeypatch.setattr(airflow_plan, limit, 1)
    await plan_of(rows)
    rows.rows[name] *= 2
    with pytest.raises(BadAnswerError, match="more than 1 "):
        await plan_of(rows)
