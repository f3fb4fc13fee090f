# SPDX-License-Identifier: Apache-2.0
"""`openmwaa simulate`: workloads from files and by name, tables, all results as JSON, a picture, plain errors."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from openmwaa.cli import app
from openmwaa.errors import OpenmwaaError
from simulation.comparison import ALL_POLICIES, OURS, SimulationCase, simulate_cases
from simulation.engine.fleet import EngineFleetSettings
from simulation.workloads import source
from simulation.workloads.document import read_workload
from simulation.workloads.shipped import SHIPPED
from tests.unit.simulation.workloads.test_decisions import line

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/how-to/simulate.md"
SMALL: dict[str, Any] = {
    "name": "small",
    "horizon_s": 2000,
    "measure_from_s": 500,
    "dags": {"load": {"cron": None, "tasks": [[30, []], *([40, [0]] for _ in range(12))]}},
    "runs": [[600, "load", "scheduled", 1.0], [1200, "load", "manual", 1.0]],
}
INSTANCE = {
    "workflow": {
        "specification": {"tasks": [{"id": "a", "parents": [], "children": ["b"]}, {"id": "b", "parents": ["a"]}]},
        "execution": {"tasks": [{"id": "a", "runtimeInSeconds": 5}, {"id": "b", "runtimeInSeconds": 7}]},
    }
}


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture
def small(tmp_path: Path) -> str:
    return written(tmp_path / "small.json", SMALL)


def written(path: Path, document: object) -> str:
    path.write_text(json.dumps(document))
    return str(path)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["simulate", *arguments])


def test_a_table_json_and_a_picture_have_every_policy(small: str, tmp_path: Path) -> None:
    results, picture = tmp_path / "results.json", tmp_path / "picture.svg"
    done = run(small, "--slots", "4", "--max", "6", "--json", str(results), "--plot", str(picture))
    assert done.exit_code == 0, done.output
    document = json.loads(results.read_text())
    (workload,) = document["workloads"]
    found = {policy["policy"]: policy for policy in workload["policies"]}
    assert list(found) == list(ALL_POLICIES)
    assert {name for name in ALL_POLICIES if re.search(rf"^{name} ", done.output, re.MULTILINE)} == set(ALL_POLICIES)
    assert (document["settings"]["slots"], document["settings"]["maximum"], document["settings"]["seed"]) == (4, 6, 1)
    assert {policy["tasks"] for policy in found.values()} == {26}
    assert found["always"]["mean_wait_s"] < found["openmwaa"]["mean_wait_s"]
    assert found["always"]["worker_hours"] > found["openmwaa"]["worker_hours"] > 0
    texts = {element.text for element in ET.parse(picture).iter("{http://www.w3.org/2000/svg}text")}
    assert texts >= {"small", "mean wait, s", "worker-hours", *ALL_POLICIES}


def test_the_same_seed_gives_the_same_results_and_noise_changes_them(small: str, tmp_path: Path) -> None:
    def results(*more: str) -> Any:
        assert run(small, "--policy", "openmwaa", "--json", str(tmp_path / "r.json"), *more).exit_code == 0
        return json.loads((tmp_path / "r.json").read_text())["workloads"]

    assert results() == results() != results("--sigma", "0.5")
    assert results() != results("--seed", "2")


def test_instances_of_wfcommons_make_one_workload(tmp_path: Path) -> None:
    names = [written(tmp_path / f"{name}.json", INSTANCE) for name in ("one", "two")]
    done = run(*names, "--policy", "always")
    assert done.exit_code == 0, done.output
    assert "one+two: 192 tasks in 48 h" in done.output


def test_the_names_of_workloads_and_policies_are_listed() -> None:
    done = run("--list")
    assert done.exit_code == 0
    assert {*SHIPPED, *ALL_POLICIES} <= set(done.output.split())


def test_several_processes_give_the_results_of_one() -> None:
    workload = read_workload(json.dumps(SMALL), "small")
    cases = [SimulationCase(workload, name, EngineFleetSettings(maximum=4)) for name in ("openmwaa", "always")]
    ended: list[int] = []
    assert simulate_cases(cases, ended.append, processes=2) == simulate_cases(cases)
    assert ended == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param([], "name a workload, or list them with --list", id="no-workload"),
        pytest.param(["assets", "--policy", "keda"], "no policy 'keda'; there are always", id="unknown-policy"),
        pytest.param(["assets", "--min", "9", "--max", "8"], "--min: 9 is more than --max 8", id="min-above-max"),
        pytest.param(["assets", "--slots", "0"], "--slots", id="no-slots"),
        pytest.param(["assets", "--cold-start", "0"], "--cold-start", id="no-cold-start"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], text: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert text in re.sub(r"[\s│]+", " ", done.output)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        pytest.param({**SMALL, "runs": [[0, "gone", "manual", 1.0]]}, "runs[0][1]: unknown DAG 'gone'", id="field"),
        pytest.param({"workflow": {"specification": {"tasks": []}}}, "workflow.specification.tasks", id="instance"),
        pytest.param([], "bad.json: the file", id="no-object"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_field(document: object, text: str, tmp_path: Path) -> None:
    done = run(written(tmp_path / "bad.json", document))
    assert isinstance(done.exception, OpenmwaaError)
    assert text in str(done.exception)


def test_a_name_that_is_nothing_and_a_result_that_cannot_be_written(small: str, tmp_path: Path) -> None:
    assert "'nope' is neither a file nor a shipped workload: morning-peak" in str(run("nope").exception)
    done = run(small, "--json", str(tmp_path / "no" / "results.json"))
    assert isinstance(done.exception, OpenmwaaError)
    assert "results.json cannot be written" in str(done.exception)


def test_every_command_of_the_page_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for reader in ("shipped_workload", "instances_workload"):
        monkeypatch.setattr(source, reader, lambda *_: read_workload(json.dumps(SMALL), "small"))
    few = {name: ALL_POLICIES[name] for name in ("mwaa-2025", *OURS)}
    monkeypatch.setattr("simulation.comparison.ALL_POLICIES", few)
    written(tmp_path / "sales.json", SMALL)
    written(tmp_path / "montage.json", INSTANCE)
    (tmp_path / "decisions.jsonl").write_text("\n".join((line(0, 0, 0), line(500, 9, 0), line(900, 0, 0))))
    commands = re.findall(r"^openmwaa simulate (.*)$", PAGE.read_text(), re.MULTILINE)
    assert commands
    for command in commands:
        done = run(*command.split(" #")[0].split())
        assert done.exit_code == 0, f"{command}: {done.output}"
