# SPDX-License-Identifier: Apache-2.0
"""`openmwaa whatif`: settings on a history, in wait and dollars; environments of openmwaa and MWAA are only read."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

import boto3
import pytest
from botocore.stub import ANY, Stubber
from typer.testing import CliRunner

from openmwaa.cli import app
from openmwaa.errors import OpenmwaaError
from openmwaa.operate.airflow_api import EnvironmentApi
from openmwaa.operate.airflow_http import AirflowRefusedError
from openmwaa.operate.connection import Connection
from openmwaa.operate.errors import PermissionMissingError
from openmwaa.operate.history import WorkloadHistory
from openmwaa.operate.mwaa_environment import MwaaEnvironment
from openmwaa.operate.whatif import MeasuredMemory
from simulation.workloads.document import read_workload
from tests.support.environments import LEAST_YAML
from tests.unit.cli.test_simulate import SMALL, written
from tests.unit.operate.test_airflow_history import FakeAirflow

PAGE = Path(__file__).parents[3] / "docs/how-to/what-if.md"
FEW = ("--policy", "openmwaa", "--policy", "mwaa-2025", "--class", "mw1.small", "--max", "3", "--min", "1")


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["whatif", *arguments])


def test_a_file_gives_a_table_json_a_picture_and_a_recommendation(tmp_path: Path) -> None:
    results, picture = tmp_path / "results.json", tmp_path / "picture.svg"
    small = written(tmp_path / "small.json", SMALL)
    done = run("--workload", small, *FEW, "--max", "5", "--json", str(results), "--plot", str(picture))
    assert done.exit_code == 0, done.output
    document = json.loads(results.read_text())
    rows = document["settings"]
    assert {(row["policy"], row["minimum"], row["maximum"]) for row in rows} == {
        (policy, 1, most) for policy in ("openmwaa", "mwaa-2025") for most in (3, 5)
    }
    best = min((row for row in rows if row["policy"] == "openmwaa"), key=lambda row: row["usd_month_with_wait"])
    assert document["recommended"] == best
    hours = (SMALL["horizon_s"] - SMALL["measure_from_s"]) / 3600
    vcpu, gb = 0.03238, 0.00356  # of ARM64 in us-east-1, in prices.json
    assert best["usd_month"] == pytest.approx(best["worker_hours"] / hours * 730 * (vcpu + 2 * gb), rel=1e-4)
    assert f"Recommended: openmwaa, mw1.small, 1 to {best['maximum']} workers" in done.output
    texts = {element.text for element in ET.parse(picture).iter("{http://www.w3.org/2000/svg}text")}
    assert texts >= {"small, mw1.small", "openmwaa 1-3", "mwaa-2025 1-3", "USD a month for workers"}
    assert "mwaa-2025 1-5" not in texts  # the maximum was not reached: the same point


def test_an_environment_is_read_with_get_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mwaa: tuple[Stubber, Stubber]
) -> None:
    file = tmp_path / "environment.yaml"
    file.write_text(LEAST_YAML)
    airflow = FakeAirflow("asset_triggered", {})
    _move_to_now(airflow)
    calls: list[str] = []

    def call(__: EnvironmentApi, method: str, path: str, body: Any = None) -> Any:
        calls.append(method)
        assert body is None
        name, _, query = path.partition("?")
        return airflow.get(name, dict(parse_qsl(query)))

    monkeypatch.setattr(EnvironmentApi, "call", call)
    for service, peaks in (("worker-default-a", [30.0, 52.0]), ("worker-default-b", [])):
        answer = {"Datapoints": [{"Maximum": peak} for peak in peaks]}
        dimensions = [{"Name": "ClusterName", "Value": "openmwaa-example"}, {"Name": "ServiceName", "Value": service}]
        more = {"MetricName": "MemoryUtilization", "Period": 3600, "Statistics": ["Maximum"]}
        asked = {"Namespace": "AWS/ECS", "Dimensions": dimensions, "StartTime": ANY, "EndTime": ANY, **more}
        mwaa[1].add_response("get_metric_statistics", answer, asked)
    done = run(str(file), "--aws", *FEW)
    assert done.exit_code == 0, done.output
    assert "example: 9 tasks in 1.8 h" in done.output
    assert set(calls) == {"GET"}
    assert "Memory: about 52% of the fullest worker" in done.output


def _move_to_now(airflow: FakeAirflow) -> None:
    newest = datetime.now(UTC) - timedelta(hours=1)
    rows = airflow.lists["/dags/~/dagRuns"][1]
    last = max(datetime.fromisoformat(row["end_date"]) for row in rows)
    for row in rows:
        for key in ("start_date", "end_date"):
            row[key] = (datetime.fromisoformat(row[key]) + (newest - last)).isoformat()


@pytest.fixture
def mwaa(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stubber, Stubber]]:
    """Stubs of MWAA and CloudWatch, which check each request against AWS's model."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-central-1"}
    clients = {name: boto3.client(name, **keys) for name in ("mwaa", "cloudwatch")}  # type: ignore[call-overload]
    monkeypatch.setattr(Connection, "client", lambda _, service: clients[service])
    with Stubber(clients["mwaa"]) as environments, Stubber(clients["cloudwatch"]) as metrics:
        yield environments, metrics


def _settings(**more: Any) -> Mapping[str, Any]:
    return {"Environment": {"Name": "Old", "EnvironmentClass": "mw1.medium", "MinWorkers": 2, "MaxWorkers": 4, **more}}


def test_an_environment_of_mwaa_is_read_through_invoke_rest_api(mwaa: tuple[Stubber, Stubber]) -> None:
    environments, metrics = mwaa
    airflow = FakeAirflow("dataset_triggered", {})
    _move_to_now(airflow)
    environments.add_response("get_environment", _settings(), {"Name": "Old"})
    for path in ("/dags/~/dagRuns", "/dags/~/dagRuns/~/taskInstances", "/dags", "/pools", "/dags/load/tasks"):
        environments.add_response(
            "invoke_rest_api",
            {"RestApiStatusCode": 200, "RestApiResponse": airflow.get(path, {"limit": "100", "offset": "0"})},
            {"Name": "Old", "Path": path, "Method": "GET", "QueryParameters": ANY},
        )
    refused = {"RestApiStatusCode": 404}
    environments.add_client_error("invoke_rest_api", "RestApiClientException", modeled_fields=refused)
    for peaks in ([20.0, 40.0], []):
        metrics.add_response("get_metric_statistics", {"Datapoints": [{"Maximum": peak} for peak in peaks]})
    policies = ("--policy", "openmwaa", "--policy", "mwaa-2025", "--class", "mw1.medium")
    done = run("--mwaa", "Old", "--region", "eu-central-1", *policies, "--min", "2", "--max", "4")
    assert done.exit_code == 0, (done.output, done.exception)
    environments.assert_no_pending_responses()
    metrics.assert_no_pending_responses()
    assert re.search(r"openmwaa +mw1\.medium +2 +4 .* 40%", done.output)
    assert re.search(r"mwaa-2025 +mw1\.medium +2 +4 .* unknown +40%", done.output)  # MWAA's price there
    assert "list prices of 2026-11-29 of eu-central-1" in done.output


def test_an_answer_of_4xx_is_a_refusal_and_a_missing_permission_is_named(mwaa: tuple[Stubber, Stubber]) -> None:
    environment, (stub, _) = MwaaEnvironment("Old", "eu-central-1"), mwaa
    stub.add_client_error("invoke_rest_api", "RestApiClientException", modeled_fields={"RestApiStatusCode": 404})
    stub.add_client_error("invoke_rest_api", "AccessDeniedException")
    with pytest.raises(AirflowRefusedError, match="Airflow of Old answered GET /dags with 404"):
        environment.get("/dags", {})
    with pytest.raises(PermissionMissingError, match="AWS refuses airflow:InvokeRestApi on the environment Old"):
        environment.get("/dags", {})


def test_nothing_is_recommended_of_policies_that_are_not_ours(tmp_path: Path) -> None:
    small = written(tmp_path / "small.json", SMALL)
    picture = tmp_path / "picture.svg"
    only = (
        "--policy",
        "mwaa-2025",
        "--price-region",
        "eu-central-1",
        "--class",
        "mw1.small",
        "--max",
        "2",
        "--min",
        "1",
    )
    done = run("--workload", small, *only, "--plot", str(picture))
    assert done.exit_code == 0, (done.output, done.exception)
    assert "No setting is recommended: none is of openmwaa or openmwaa-look-ahead" in done.output
    ET.parse(picture)


@pytest.mark.parametrize(("autoscale", "slots"), [("20,10", 20), ("x", 10), (None, 10)])
def test_the_slots_of_mwaa_are_those_of_its_option_or_of_its_class(
    mwaa: tuple[Stubber, Stubber], autoscale: str | None, slots: int
) -> None:
    options = {"AirflowConfigurationOptions": {"celery.worker_autoscale": autoscale} if autoscale else {}}
    mwaa[0].add_response("get_environment", _settings(**options))
    assert MwaaEnvironment("Old", "eu-central-1").slots == slots


def test_memory_is_expected_in_proportion_to_the_slots() -> None:
    measured = MeasuredMemory(0.6, 2048, 5)  # mw1.small
    assert measured.expected_share("mw1.small") == pytest.approx(0.6)
    assert measured.expected_share("mw1.micro") == pytest.approx(0.6 * 3 / 5 * 2 / 3)
    assert measured.expected_share("mw1.2xlarge") == pytest.approx(0.6 * 80 / 5 * 2 / 48)


def test_a_class_that_is_short_of_memory_is_not_recommended(mwaa: tuple[Stubber, Stubber]) -> None:
    environments, metrics = mwaa
    airflow = FakeAirflow("dataset_triggered", {})
    _move_to_now(airflow)
    del airflow.lists["/dags/~/dagRuns"][1][3]
    environments.add_response("get_environment", _settings(EnvironmentClass="mw1.small"))
    for path in ("/dags/~/dagRuns", "/dags/~/dagRuns/~/taskInstances", "/dags", "/pools", "/dags/load/tasks"):
        answer = airflow.get(path, {"limit": "100", "offset": "0"})
        environments.add_response("invoke_rest_api", {"RestApiStatusCode": 200, "RestApiResponse": answer})
    for _ in range(2):
        metrics.add_response("get_metric_statistics", {"Datapoints": [{"Maximum": 97.0}]})
    classes = ("--class", "mw1.small", "--class", "mw1.xlarge")
    done = run("--mwaa", "Old", "--region", "eu-central-1", "--policy", "openmwaa", "--max", "4", *classes)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Recommended: openmwaa, mw1.xlarge, 1 to 4 workers" in done.output
    assert "about 65% of the fullest worker" in done.output


def test_every_command_of_the_page_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("environment.yaml").write_text(LEAST_YAML)
    small = WorkloadHistory(read_workload(json.dumps(SMALL), "small"), maximum=2)
    for source in ("file", "environment", "mwaa"):
        monkeypatch.setattr(f"openmwaa.operate.history.history_of_{source}", lambda *_: small)
    monkeypatch.setattr("openmwaa.cli.whatif.DEFAULT_POLICIES", ("openmwaa",))
    monkeypatch.setattr("openmwaa.cli.whatif.DEFAULT_CLASSES", ())
    commands = re.findall(r"^openmwaa whatif (.*)$", PAGE.read_text(), re.MULTILINE)
    assert commands
    for command in commands:
        done = run(*command.split())
        assert done.exit_code == 0, f"{command}: {done.output}"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(
            ["--mwaa", "a", "--workload", "b"], "--mwaa: cannot be combined with --workload", id="two-sources"
        ),
        pytest.param(["--workload", "assets", "--policy", "x"], "no policy 'x'; there are always", id="policy"),
        pytest.param(["--workload", "assets", "--class", "x"], "no class 'x'; there are mw1.micro", id="class"),
        pytest.param(["--workload", "assets", "--min", "9", "--max", "8"], "--min: is above every --max", id="min"),
        pytest.param(["--workload", "assets", "--days", "99"], "--days", id="days"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], text: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert text in re.sub(r"[\s│]+", " ", done.output)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["--mwaa", "a"], "--mwaa needs the Region of the environment: add --region", id="no-region"),
        pytest.param(["--workload", "x"], "'x' is neither a file nor a shipped workload", id="no-workload"),
        pytest.param(
            ["--workload", "assets", "--price-region", "xx-1"],
            "no list prices of xx-1: use others, such as --price-region",
            id="no-prices",
        ),
        pytest.param(["--workload", "assets", "--json", "no/f"], "no/f cannot be written", id="no-folder"),
    ],
)
def test_an_error_has_its_remedy(arguments: list[str], text: str) -> None:
    done = run(*arguments)
    assert isinstance(done.exception, OpenmwaaError)
    assert text in str(done.exception)
