# SPDX-License-Identifier: Apache-2.0
"""CloudWatch's metrics and logs, and S3, as the scaler, `openmwaa explain` and the DAG folder use them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from openmwaa.operate.decisions import DecisionsLog
from openmwaa.operate.errors import NotRunningError
from openmwaa_runtime.sync_dags.bucket import S3Bucket
from openmwaa_runtime.sync_dags.manifest import SourceObject
from scaler.adapters.cloudwatch import CloudWatchBroker, CloudWatchDemand, Timing
from scaler.adapters.metrics import CloudWatchMetrics
from scaler.config.settings import CloudWatchSettings, DemandMetricSettings
from scaler.core.model import BrokerCount
from scaler.errors import SourceError
from scaler.ports import Datum
from scaler.reporting.explanation import LINE_VERSION
from tests.contract.aws_services.conftest import Emulator, Open
from tests.support.environments import LEAST

pytestmark = [pytest.mark.emulated]


async def test_the_scalers_metrics_are_found_with_their_dimensions(
    emulator: Emulator, scalers_client: Open, name: str
) -> None:
    dimensions = (("Environment", name), ("Fleet", "default"))
    sink = CloudWatchMetrics(await scalers_client("cloudwatch"))
    await sink.put(
        [Datum("openmwaa", "QueuedTasks", dimensions, 7), Datum("AmazonMWAA", "Delay", dimensions, 1.5, "Seconds")]
    )
    now = datetime.now(UTC)
    answer = emulator.client("cloudwatch").get_metric_statistics(
        Namespace="openmwaa",
        MetricName="QueuedTasks",
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=60,
        Statistics=["Maximum"],
    )
    assert [point["Maximum"] for point in answer["Datapoints"]] == [7.0]


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


async def depth(client: Any, queue: str, now: datetime) -> BrokerCount:
    settings = CloudWatchSettings(kind="cloudwatch", namespace="Broker", delay_s=60)
    broker = CloudWatchBroker(client, settings, Timing(monotonic, lambda: now, max_failure_age_s=1, deadline_s=10))
    try:
        return await broker.depth(queue)
    finally:
        await broker.close()


async def test_a_brokers_metrics_are_read_as_counts(
    emulator: Emulator, scalers_client: Open, name: str, now: datetime
) -> None:
    at = now.replace(second=0, microsecond=0) - timedelta(minutes=2)
    metrics = {
        "ApproximateNumberOfMessagesVisible": 12,
        "ApproximateNumberOfMessagesNotVisible": 5,
        "ApproximateNumberOfMessagesDelayed": 0,
    }
    data = [
        {"MetricName": metric, "Dimensions": [{"Name": "QueueName", "Value": name}], "Timestamp": at, "Value": value}
        for metric, value in metrics.items()
    ]
    emulator.client("cloudwatch").put_metric_data(Namespace="Broker", MetricData=data)
    count = await depth(await scalers_client("cloudwatch"), name, now)
    assert count == BrokerCount(visible=12, in_flight=5, delayed=0)


async def test_a_queue_without_data_is_unknown_and_not_empty(scalers_client: Open, name: str, now: datetime) -> None:
    with pytest.raises(SourceError):
        await depth(await scalers_client("cloudwatch"), name, now)


@pytest.mark.parametrize(
    ("statistic", "value"), [("Maximum", 5.5), ("Minimum", 1.0), ("Sum", 6.5), ("Average", 3.25), ("SampleCount", 2.0)]
)
async def test_a_demand_metric_is_read_with_its_statistic(
    emulator: Emulator, scalers_client: Open, name: str, now: datetime, statistic: Any, value: float
) -> None:
    at = now.replace(second=0, microsecond=0) - timedelta(minutes=2)
    dimensions = [{"Name": "Stage", "Value": name}]
    data = [
        {"MetricName": "FramesWaiting", "Dimensions": dimensions, "Timestamp": at, "Value": waiting}
        for waiting in (1.0, 5.5)
    ]
    emulator.client("cloudwatch").put_metric_data(Namespace="Acme/Video", MetricData=data)
    demand = CloudWatchDemand(
        await scalers_client("cloudwatch"), Timing(monotonic, lambda: now, max_failure_age_s=1, deadline_s=10)
    )
    metric = DemandMetricSettings(
        namespace="Acme/Video", metric_name="FramesWaiting", dimensions={"Stage": name}, statistic=statistic
    )
    try:
        assert await demand.value(metric) == value
    finally:
        await demand.close()


def connection(emulator: Emulator, name: str) -> Connection:
    return Connection(
        Environment.model_validate({**LEAST, "name": name}), Path("environment.yaml"), {"aws": emulator.url}
    )


def test_decisions_are_found_between_other_lines(emulator: Emulator, name: str, now: datetime) -> None:
    logs = emulator.client("logs")
    group = f"airflow-{name}-Scaler"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="scaler/1")
    at = now.isoformat().replace("+00:00", "Z")
    lines = [
        "starting",
        json.dumps({"event": "started", "fleets": ["default"]}),
        json.dumps({"event": "decision", "version": LINE_VERSION, "fleet": "default", "at": at, "time": at}),
        json.dumps({"event": "decision", "version": LINE_VERSION, "fleet": "another", "at": at, "time": at}),
    ]
    milliseconds = int(now.timestamp() * 1000)
    events = [{"timestamp": milliseconds + index, "message": line} for index, line in enumerate(lines)]
    logs.put_log_events(logGroupName=group, logStreamName="scaler/1", logEvents=events)
    found = list(
        DecisionsLog.of(connection(emulator, name)).read(
            now - timedelta(minutes=1), now + timedelta(minutes=1), ["default"]
        )
    )
    assert [line["fleet"] for line in found] == ["default"]


def test_a_missing_log_group_is_an_error_that_no_scaler_runs(emulator: Emulator, name: str, now: datetime) -> None:
    with pytest.raises(NotRunningError):
        list(DecisionsLog.of(connection(emulator, name)).read(now - timedelta(minutes=1), now, ["default"]))


@pytest.fixture
def bucket(emulator: Emulator, name: str) -> str:
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket=name)
    for number in range(3):
        s3.put_object(Bucket=name, Key=f"dags/team {number}/é.py", Body=f"number = {number}\n".encode())
    s3.put_object(Bucket=name, Key="plugins/no.py", Body=b"")
    return name


def test_a_folder_of_dags_is_listed_and_fetched(emulator: Emulator, bucket: str, tmp_path: Path) -> None:
    source = S3Bucket(bucket, "dags/", client=emulator.client("s3"))
    listed = sorted(source.list(), key=lambda file: file.key)
    assert [(source.key, source.size) for source in listed] == [(f"dags/team {number}/é.py", 11) for number in range(3)]
    source.fetch((file, tmp_path / f"{index}.py") for index, file in enumerate(listed))
    assert [(tmp_path / f"{index}.py").read_text() for index in range(3)] == [f"number = {n}\n" for n in range(3)]


def test_an_object_that_changed_after_the_listing_is_fetched_as_it_is(
    emulator: Emulator, bucket: str, tmp_path: Path
) -> None:
    client = emulator.client("s3")
    old: SourceObject = next(iter(S3Bucket(bucket, "dags/", client=client).list()))
    client.put_object(Bucket=bucket, Key=old.key, Body=b"another version\n")
    found = S3Bucket(bucket, "dags/", client=client).fetch([(old, tmp_path / "new.py")])
    assert (tmp_path / "new.py").read_bytes() == b"another version\n"
    assert found[old] in [*S3Bucket(bucket, "dags/", client=client).list()]


def test_a_missing_object_is_an_answer_and_the_others_are_fetched(
    emulator: Emulator, bucket: str, tmp_path: Path
) -> None:
    source = S3Bucket(bucket, "dags/", client=emulator.client("s3"))
    first, missing = next(iter(source.list())), SourceObject("dags/missing.py", '"1"', 1)
    assert source.fetch([(missing, tmp_path / "a"), (first, tmp_path / "b")]) == {missing: "NoSuchKey", first: first}
