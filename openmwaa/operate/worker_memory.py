# SPDX-License-Identifier: Apache-2.0
"""The memory of workers in CloudWatch."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from openmwaa.operate.connection import Connection, aws_errors


def peak_memory(
    connection: Connection, namespace: str, workers: Sequence[Mapping[str, str]], end: datetime, days: float
) -> float | None:
    """Return the highest share of a worker's memory that was used; None without data, or on this machine.

    `workers` are the dimensions of each group of workers.

    Raises:
        OperateError: AWS refuses the call or does not answer.
    """
    if connection.local:
        return None
    cloudwatch = connection.client("cloudwatch")
    peaks: list[float] = []
    for dimensions in workers:
        with aws_errors(connection, "cloudwatch:GetMetricStatistics", "the metrics of the environment"):
            answer = cloudwatch.get_metric_statistics(
                Namespace=namespace,
                MetricName="MemoryUtilization",
                Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
                StartTime=end - timedelta(days=days),
                EndTime=end,
                Period=3600,
                Statistics=["Maximum"],
            )
        peaks += [point["Maximum"] / 100 for point in answer["Datapoints"]]
    return max(peaks, default=None)
