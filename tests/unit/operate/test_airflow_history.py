# SPDX-License-Identifier: Apache-2.0
"""An Airflow's history as a workload: what Airflow 3 and 2.11 answer, bounded, and without what never took a slot."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openmwaa.operate import airflow_history
from openmwaa.operate.airflow_history import HistoryReader
from openmwaa.operate.airflow_http import AirflowRefusedError
from openmwaa.operate.errors import OperateError
from simulation.comparison import SimulationCase, simulate_case
from simulation.engine.fleet import EngineFleetSettings
from simulation.workloads.model import Workload

END = datetime(2026, 11, 30, tzinfo=UTC)
Row = dict[str, Any]


def at(hours: float) -> str:
    return (END - timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def run(dag_id: str, run_id: str, hours: float, run_type: str) -> Row:
    return {
        "dag_id": dag_id,
        "dag_run_id": run_id,
        "run_type": run_type,
        "start_date": at(hours),
        "end_date": at(hours - 0.05),
        "state": "success",
    }


def instance(dag_id: str, run_id: str, task_id: str, duration: float | None, map_index: int = -1, **more: Any) -> Row:
    return {
        "dag_id": dag_id,
        "dag_run_id": run_id,
        "task_id": task_id,
        "map_index": map_index,
        "duration": duration,
        "hostname": "10.0.0.1",
        "queue": "default",
        "pool": "default_pool",
        "state": "success",
        **more,
    }


def task(task_id: str, *downstream: str, **more: Any) -> Row:
    return {"task_id": task_id, "downstream_task_ids": list(downstream), "queue": "default", **more}


class FakeAirflow:
    """Answers as the REST API does, in pages; the other version answers with more fields, of which none is read."""

    def __init__(self, asset_run_type: str, more: Row) -> None:
        self.lists: dict[str, tuple[str, list[Row]]] = {
            "/dags": ("dags", [{"dag_id": "load", "max_active_tasks": 16, **more}]),
            "/pools": ("pools", [{"name": "default_pool", "slots": 128}, {"name": "endless", "slots": -1}]),
            "/dags/~/dagRuns": (
                "dag_runs",
                [
                    run("load", "r1", 2, "scheduled"),
                    run("load", "r2", 1, "scheduled"),
                    run("load", "r3", 0.5, "manual"),
                    run("report", "a1", 0.9, asset_run_type),
                ],
            ),
            "/dags/~/dagRuns/~/taskInstances": (
                "task_instances",
                [
                    *(instance("load", r, "extract", s, queue="io") for r, s in (("r1", 10), ("r2", 20), ("r3", 60))),
                    *(instance("load", "r1", "file", 30.0, index) for index in range(3)),
                    *(instance("load", "r2", "file", 40.0, index) for index in range(5)),
                    *(instance("load", r, "join", 0.0, hostname="") for r in ("r1", "r2", "r3")),
                    *(instance("load", r, "publish", 5.0) for r in ("r1", "r2")),
                    instance("load", "r3", "publish", None, state="skipped", hostname=""),
                    instance("report", "a1", "removed", 7.0),
                    instance("load", "still-running", "extract", 1.0),
                ],
            ),
        }
        self.tasks = {
            "/dags/load/tasks": [
                task("publish"),
                task("join", "publish"),
                task("file", "join", is_mapped=True),
                task("extract", "file"),
            ]
        }
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        self.asked.append((path, parameters))
        if path in self.tasks:
            return {"tasks": self.tasks[path], "total_entries": len(self.tasks[path])}
        if path not in self.lists:
            raise AirflowRefusedError(f"Airflow answered GET {path} with 404.")
        key, rows = self.lists[path]
        begin = int(parameters["offset"])
        return {key: rows[begin : begin + int(parameters["limit"])], "total_entries": len(rows)}


@pytest.fixture(
    params=[
        pytest.param(("asset_triggered", {"timetable_summary": "0 4 * * *"}), id="3.3"),
        pytest.param(("dataset_triggered", {"schedule_interval": {"value": "0 4 * * *"}}), id="2.11"),
    ]
)
def airflow(request: pytest.FixtureRequest) -> FakeAirflow:
    return FakeAirflow(*request.param)


def read(airflow: FakeAirflow, rows: int = 1000) -> Workload:
    return HistoryReader(airflow.get, rows).workload("ours", END, 7)


def test_runs_keep_their_times_kinds_and_durations(airflow: FakeAirflow) -> None:
    workload = read(airflow)
    assert workload.start == END - timedelta(hours=2, seconds=600)
    assert workload.measure_from_s == workload.horizon_s / 3
    assert workload.pools == {"default_pool": 128}
    assert workload.dags["load"].max_active_tasks == 16
    assert [(found.dag_id, found.kind, found.start_s) for found in workload.runs] == [
        ("load", "scheduled", 600.0),
        ("load", "scheduled", 600.0 + 3600),
        ("report", "manual", 600.0 + 1.1 * 3600),
        ("load", "manual", 600.0 + 1.5 * 3600),
    ]
    assert [found.run_times_s for found in workload.runs if found.dag_id == "load"] == [
        (10.0, 30.0, 5.0),
        (20.0, 40.0, 5.0),
        (60.0, 0.0, 0.0),
    ]


def test_tasks_have_their_structure_without_those_that_never_took_a_slot(airflow: FakeAirflow) -> None:
    workload = read(airflow)
    extract, file, publish = workload.dags["load"].versions[0]
    assert [extract.task_id, file.task_id, publish.task_id] == ["extract", "file", "publish"]
    assert (extract.upstream, file.upstream, publish.upstream) == ((), (0,), (1,))
    assert (extract.queue, extract.segments, extract.mapped) == ("io", ((20.0, 0.0),), None)
    assert file.mapped == pytest.approx(8 / 3)
    assert [dict(found.mapped) for found in workload.runs if found.dag_id == "load"] == [
        {1: 3, 2: 1},
        {1: 5, 2: 1},
        {1: 0, 2: 0},
    ]
    assert [task.task_id for task in workload.dags["report"].versions[0]] == ["removed"]


def test_the_history_can_be_simulated(airflow: FakeAirflow) -> None:
    result = simulate_case(SimulationCase(read(airflow), "openmwaa-look-ahead", EngineFleetSettings()))
    assert result.unfinished_runs == 0
    assert result.fleets[0].tasks == 1 + 5 + 1 + 1 + 1  # of the runs after the first third


def test_pages_are_read_to_their_end(airflow: FakeAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(airflow)
    monkeypatch.setattr(airflow_history, "PAGE", 2)
    assert read(airflow) == whole
    asked = [parameters for path, parameters in airflow.asked if path.endswith("taskInstances")]
    assert [parameters["offset"] for parameters in asked] == ["0", *map(str, range(0, 20, 2))]
    assert {(parameters["start_date_gte"], parameters["end_date_lte"]) for parameters in asked} == {
        ((END - timedelta(days=7)).isoformat(), END.isoformat())
    }


def test_too_many_rows_are_refused_after_one_page(airflow: FakeAirflow) -> None:
    with pytest.raises(OperateError, match=r"has 19 rows in these days, above 18: use fewer --days or more --rows"):
        read(airflow, rows=18)
    assert len([path for path, _ in airflow.asked if path.endswith("taskInstances")]) == 1


def test_a_history_that_changes_meanwhile_is_refused(airflow: FakeAirflow) -> None:
    key, rows = airflow.lists["/dags/~/dagRuns/~/taskInstances"]
    airflow.lists["/dags/~/dagRuns/~/taskInstances"] = (key, [*rows[:-1], rows[0]])
    with pytest.raises(OperateError, match=r"changed while it was read \(18 of 19 rows\)"):
        read(airflow)


def test_no_run_is_an_error(airflow: FakeAirflow) -> None:
    airflow.lists["/dags/~/dagRuns"] = ("dag_runs", [])
    with pytest.raises(OperateError, match=r"No run of the last 7 days has ended"):
        read(airflow)


def test_a_circle_of_tasks_is_an_error(airflow: FakeAirflow) -> None:
    airflow.tasks["/dags/load/tasks"] += _circle("file", "extract")
    with pytest.raises(OperateError, match="circle"):
        read(airflow)


def _circle(first: str, second: str) -> Sequence[Row]:
    return [task(first, second)]
