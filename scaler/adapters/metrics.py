# SPDX-License-Identifier: Apache-2.0
"""Metrics to CloudWatch: PutMetricData, one namespace and at most a thousand values a call."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from scaler.adapters.aws import aws_call
from scaler.errors import SourceError
from scaler.ports import Datum

SOURCE = "cloudwatch"
BATCH = 1000
"""The limit of PutMetricData, beside 1 MB: one of our values is about 200 bytes."""


class CloudWatchMetrics:
    """The port `MetricSink`."""

    def __init__(self, client: Any, *, deadline_s: float = 8.0) -> None:
        self._client = client
        self._deadline_s = deadline_s

    async def put(self, data: Sequence[Datum]) -> None:
        """Send all values; a failure of one namespace does not affect another, and is raised at the end."""
        failure: SourceError | None = None
        for namespace, group in groupby(sorted(data, key=attrgetter("namespace")), key=attrgetter("namespace")):
            try:
                await self._put(namespace, [_entry(datum) for datum in group])
            except SourceError as error:
                failure = error
        if failure is not None:
            raise failure

    async def _put(self, namespace: str, entries: list[dict[str, Any]]) -> None:
        async with aws_call(SOURCE, self._deadline_s):
            for start in range(0, len(entries), BATCH):
                await self._client.put_metric_data(Namespace=namespace, MetricData=entries[start : start + BATCH])


def _entry(datum: Datum) -> dict[str, Any]:
    return {
        "MetricName": datum.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in datum.dimensions],
        "Value": datum.value,
        "Unit": datum.unit,
    }
