# SPDX-License-Identifier: Apache-2.0
"""A fleet of plain Celery follows a metric of an emulated CloudWatch: the real scaler, real workers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from tests.support.celery_fleet import StartWorld
from tests.support.emulator import running_moto

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]

DIMENSIONS = {"Stage": "prod"}
METRIC = {
    "namespace": "Acme/Video",
    "metric_name": "FramesWaiting",
    "dimensions": DIMENSIONS,
    "slots_per_unit": 0.5,
    "period_s": 1,
    "delay_s": 1,
}


def put(client: Any, value: float) -> None:
    """Put `value` into each second of the near past and the next minutes, so that each period has data."""
    now = datetime.now(UTC)
    data = [
        {
            "MetricName": METRIC["metric_name"],
            "Dimensions": [{"Name": name, "Value": text} for name, text in DIMENSIONS.items()],
            "Timestamp": now + timedelta(seconds=second),
            "Value": value,
            "StorageResolution": 1,
        }
        for second in range(-30, 300)
    ]
    client.put_metric_data(Namespace=METRIC["namespace"], MetricData=data)


def test_a_fleet_without_tasks_grows_by_its_metric_and_holds_while_it_has_no_data(start: StartWorld) -> None:
    with running_moto() as url:
        cloudwatch = boto3.client(
            "cloudwatch",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        try:
            world = start(demand_metric=METRIC, scaler_cloudwatch=url)
            assert world.desired() == 1, "a metric without data starts no worker"
            put(cloudwatch, 17.0)
            world.until_fleet_is(3)  # 17 x 0.5 is 9 slots: 3 workers of 3
            decision = world.decisions()[-1]
            assert (decision["demand"]["source"], decision["demand"]["slots"]) == ("metric", 9)
        finally:
            cloudwatch.close()
    world.until("the metric is unknown", lambda: world.decisions()[-1]["readings"]["metric"] is None)
    last = len(world.decisions())
    world.until("a window passed", lambda: len(world.decisions()) > last + 6)
    assert world.desired() == 3, "without data the fleet does not shrink"
