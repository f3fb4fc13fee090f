# SPDX-License-Identifier: Apache-2.0
"""The scaler's metrics match the alarms: CloudWatch finds them by the names in the alarms."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cdktf_app.monitoring.alarm_definitions import Alarm, environment_alarms
from cdktf_app.monitoring.metrics import MWAA, SCALER
from openmwaa_runtime.sync_dags.report import FAILURES, LEFT_OUT
from scaler.adapters.clock import ScalerClock
from scaler.adapters.metrics import CloudWatchMetrics
from scaler.ports import AirflowHealth
from scaler.reporting.cloudwatch_publisher import CloudWatchPublisher
from tests.contract.aws_services.conftest import Emulator, Open
from tests.support.monitored_resources import WATCHED
from tests.support.scaler_builders import SERVICE, observe
from tests.support.scaler_reports import report

pytestmark = [pytest.mark.emulated]


class DeadScheduler:
    """Airflow's database with a dead scheduler and a task that has been queued for an hour."""

    async def health(self, within_s: float) -> AirflowHealth:
        return AirflowHealth(0, 3600.0)


def own_alarms(environment: str) -> dict[str, Alarm]:
    """The alarms on the scaler's metrics, for an environment with one fleet and Redis."""
    watched = replace(
        WATCHED, environment=environment, fleets={"default": (SERVICE,)}, queues={}, dead_letters=None, targets=()
    )
    alarms = [alarm for alarm in environment_alarms(watched) if alarm.metric.namespace in (SCALER, MWAA)]
    # The DAG syncers' metrics are log lines, which emulators do not read.
    return {alarm.id: alarm for alarm in alarms if alarm.metric.name not in {LEFT_OUT, FAILURES}}


def values(emulator: Emulator, alarm: Alarm) -> list[float]:
    """Return the metric's last values with the statistic of the alarm."""
    now, metric = datetime.now(UTC), alarm.metric
    answer = emulator.client("cloudwatch").get_metric_statistics(
        Namespace=metric.namespace,
        MetricName=metric.name,
        Dimensions=[{"Name": name, "Value": value} for name, value in metric.dimensions],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=5),
        Period=300,
        Statistics=[metric.statistic],
    )
    return [point[metric.statistic] for point in answer["Datapoints"]]


async def test_alarms_match_the_metrics_of_the_scaler(emulator: Emulator, scalers_client: Open, name: str) -> None:
    publisher = CloudWatchPublisher(
        name,
        "openmwaa",
        CloudWatchMetrics(await scalers_client("cloudwatch")),
        ScalerClock(),
        intervals=lambda: {"default": 5.0},
        on_failure=lambda error: pytest.fail(str(error)),
        health=DeadScheduler(),
        waking_s=lambda: 7200.0,
    )
    publisher.on_tick(report(observe(["full"] * 9 + ["refused"], queued=50, running=45)))
    await publisher.publish()
    found = {alarm.id: values(emulator, alarm) for alarm in own_alarms(name).values()}
    assert found == {
        "scheduler_heartbeat": [0.0],
        "oldest_task": [3600.0],
        "fleet_default_no_decision": [0.0],
        "fleet_default_source_unknown": [0.0],
        "fleet_default_drain_too_old": [0.0],
        "fleet_default_protection_refused": [1.0],
        "fleet_default_at_maximum": [1.0],
        "fleet_default_tasks_without_message": [0.0],
        "fleet_default_launches_stuck": [0.0],
        "wake_overdue": [7200.0],
    }
