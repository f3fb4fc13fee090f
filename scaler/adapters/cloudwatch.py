# SPDX-License-Identifier: Apache-2.0
"""CloudWatch's metrics: of queues as the broker, which the scaler cannot read directly, and as demand of single fleets.

One GetMetricData call reads 500 metrics, so all fleets share calls, and an answer is valid for a third of a period.
The window ends on a period's end (`EndTime` is exclusive), `delay_s` ago because of late data, and is two periods
long: older values are ignored. No data means unknown, never zero: SQS stops sending metrics of an idle queue, and
CloudWatch drops late data.

The values are one or two minutes old. They may raise a fleet like any other reading. They shrink it like any known
reading: to the largest need of a whole window, by draining, so a late value costs time and no task.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Self

from scaler.adapters.aws import aws_call
from scaler.adapters.deadline import COUNT_LIMIT
from scaler.adapters.shared import SharedByKey
from scaler.config.settings import CloudWatchSettings, DemandMetricSettings
from scaler.core.model import BrokerCount
from scaler.errors import BadAnswerError, SourceError

SOURCE = "cloudwatch"
QUERIES_A_CALL = 500
PAGES = 20
"""Two values of 500 metrics are one page; an answer with more pages than this is an error."""
PERIODS = 2
COMPLETE, PARTIAL = "Complete", "PartialData"


@dataclass(frozen=True, slots=True)
class MetricWindow:
    """Whole periods; the end is exclusive."""

    start: datetime
    end: datetime

    @classmethod
    def at(cls, now: datetime, period_s: int, delay_s: int) -> Self:
        """Return the newest window that should be complete."""
        end = (now.timestamp() - delay_s) // period_s * period_s
        return cls(*(datetime.fromtimestamp(at, UTC) for at in (end - PERIODS * period_s, end)))

    def holds(self, at: datetime) -> bool:
        """Whether a period that begins at `at` lies in it."""
        return self.start <= at < self.end


@dataclass(frozen=True, slots=True)
class MetricSample:
    """The values of some metrics, by name, in the period that begins at `at`."""

    at: datetime
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks and limits of a reader."""

    monotonic: Callable[[], float]
    wall: Callable[[], datetime]
    max_failure_age_s: float
    deadline_s: float


_Stat = Mapping[str, Any]
"""A `MetricStat` of GetMetricData."""


@dataclass(slots=True)
class _Series:
    """One metric's part of an answer, collected from all pages."""

    status: str = ""
    messages: list[str] = field(default_factory=list)
    points: list[tuple[object, object]] = field(default_factory=list)


class CloudWatchBroker:
    """The port `BrokerPort`."""

    def __init__(self, client: Any, settings: CloudWatchSettings, timing: Timing) -> None:
        self._settings = settings
        self._reader = MetricReader(client, timing, settings.period_s, settings.delay_s)

    async def depth(self, queue_url: str) -> BrokerCount:
        """Return the newest count of a queue, which is the value of `dimension`."""
        names = self._settings
        dimensions = names.dimensions | {names.dimension: queue_url}
        metrics = [name for name in (names.visible, names.in_flight, names.delayed) if name]
        stats = {metric: _stat(names.namespace, metric, dimensions, names.period_s, "Maximum") for metric in metrics}
        values = await self._reader.newest(queue_url, stats)
        visible, in_flight, delayed = (
            math.ceil(values[name]) if name else 0 for name in (names.visible, names.in_flight, names.delayed)
        )
        return BrokerCount(visible, in_flight, delayed)

    async def close(self) -> None:
        """Cancel a call that is under way."""
        await self._reader.close()


class CloudWatchDemand:
    """The metrics that are demand of fleets; those of the same period share calls."""

    def __init__(self, client: Any, timing: Timing) -> None:
        self._client, self._timing = client, timing
        self._readers: dict[tuple[int, int], MetricReader] = {}

    async def value(self, metric: DemandMetricSettings) -> float:
        """Return the newest value."""
        times = metric.period_s, metric.delay_s
        if times not in self._readers:
            self._readers[times] = MetricReader(self._client, self._timing, *times)
        name = metric.metric_name
        stat = _stat(metric.namespace, name, metric.dimensions, metric.period_s, metric.statistic)
        return (await self._readers[times].newest(repr(stat), {name: stat}))[name]

    async def close(self) -> None:
        """Cancel all calls that are under way."""
        await asyncio.gather(*(reader.close() for reader in self._readers.values()))


class MetricReader:
    """Reads the newest period of metrics; the metrics of one key are read together."""

    def __init__(self, client: Any, timing: Timing, period_s: int, delay_s: int) -> None:
        self._client, self._timing = client, timing
        self._period_s, self._delay_s = period_s, delay_s
        self._stats: dict[str, Mapping[str, _Stat]] = {}
        self._last: dict[str, MetricSample] = {}
        self._shared: SharedByKey[MetricSample] = SharedByKey(
            self._read, timing.monotonic, max_age_s=period_s / 3, max_failure_age_s=timing.max_failure_age_s
        )

    async def newest(self, key: str, stats: Mapping[str, _Stat]) -> Mapping[str, float]:
        """Return the values of the newest period in which all metrics of `key` have data, by name."""
        self._stats[key] = stats
        return (await self._shared.get_key(key)).values

    async def close(self) -> None:
        """Cancel a call that is under way."""
        await self._shared.close()

    async def _read(self) -> Mapping[str, MetricSample | SourceError]:
        keys = list(self._stats)
        window = MetricWindow.at(self._timing.wall(), self._period_s, self._delay_s)
        size = QUERIES_A_CALL // max(map(len, self._stats.values()))
        parts = [keys[first : first + size] for first in range(0, len(keys), size)]
        answers = await asyncio.gather(*(self._part(part, window) for part in parts))
        failures = [answer for answer in answers if isinstance(answer, SourceError)]
        if failures and len(failures) == len(answers):
            raise failures[0]  # so the next tick reads again, not the next third of a period
        found: dict[str, MetricSample | SourceError] = {}
        for part, answer in zip(parts, answers, strict=True):
            found.update(dict.fromkeys(part, answer) if isinstance(answer, SourceError) else answer)
        return found

    async def _part(
        self, keys: Sequence[str], window: MetricWindow
    ) -> Mapping[str, MetricSample | SourceError] | SourceError:
        metrics = ((key, metric) for key in keys for metric in self._stats[key])
        queries = {f"m{number}": query for number, query in enumerate(metrics)}
        try:
            async with aws_call(SOURCE, self._timing.deadline_s):
                series, messages = await self._pages(queries, window)
        except SourceError as error:
            return error
        found: dict[str, MetricSample | SourceError] = {}
        for key in keys:
            mine = {metric: series.get(number) for number, (owner, metric) in queries.items() if owner == key}
            try:
                found[key] = self._newest(key, _sample(mine, messages, window), window)
            except SourceError as error:
                found[key] = error
        return found

    async def _pages(
        self, queries: Mapping[str, tuple[str, str]], window: MetricWindow
    ) -> tuple[dict[str, _Series], Sequence[str]]:
        request: dict[str, Any] = {
            "MetricDataQueries": [
                {"Id": number, "MetricStat": self._stats[key][metric]} for number, (key, metric) in queries.items()
            ],
            "StartTime": window.start,
            "EndTime": window.end,
            "ScanBy": "TimestampDescending",
        }
        series: dict[str, _Series] = {}
        messages: list[str] = []
        for _ in range(PAGES):
            answer = await self._client.get_metric_data(**request)
            self._same_time(answer)
            messages += _messages(answer)
            for result in answer["MetricDataResults"]:
                mine = series.setdefault(result["Id"], _Series())
                mine.status = result["StatusCode"]
                mine.messages += _messages(result)
                times, values = result["Timestamps"], result["Values"]
                if len(times) != len(values):
                    mine.status = f"{len(values)} values for {len(times)} times"
                mine.points += zip(times, values, strict=False)
            if not answer.get("NextToken"):
                return series, messages
            request["NextToken"] = answer["NextToken"]
        raise BadAnswerError(SOURCE, f"the answer has more than {PAGES} pages")

    def _same_time(self, answer: Mapping[str, Any]) -> None:
        """Reject the answer if this machine's clock is wrong: a window in the past returns old values as new ones."""
        text = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if text is None:
            return
        try:
            ahead = self._timing.wall() - parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return
        if abs(ahead) > timedelta(seconds=self._period_s):
            raise BadAnswerError(SOURCE, f"this machine's clock is {ahead.total_seconds():+.0f} s from AWS's")

    def _newest(self, key: str, sample: MetricSample, window: MetricWindow) -> MetricSample:
        """Return the newer sample: answers may arrive out of order."""
        last = self._last.get(key)
        if last is not None and window.holds(last.at) and last.at > sample.at:
            return last
        self._last[key] = sample
        return sample


def _stat(namespace: str, metric: str, dimensions: Mapping[str, str], period_s: int, statistic: str) -> _Stat:
    return {
        "Metric": {
            "Namespace": namespace,
            "MetricName": metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        },
        "Period": period_s,
        "Stat": statistic,
    }


def _sample(series: Mapping[str, _Series | None], messages: Sequence[str], window: MetricWindow) -> MetricSample:
    values = {metric: _values(metric, points, messages, window) for metric, points in series.items()}
    common = set.intersection(*(set(by_period) for by_period in values.values()))
    if not common:
        raise SourceError(SOURCE, f"no data of {' and '.join(values)} in the same period since {window.start:%H:%M}")
    at = max(common)
    return MetricSample(at, {metric: by_period[at] for metric, by_period in values.items()})


def _values(
    metric: str, series: _Series | None, messages: Sequence[str], window: MetricWindow
) -> Mapping[datetime, float]:
    if series is None:
        raise BadAnswerError(SOURCE, f"{metric} is not in the answer{_suffix(messages)}")
    if series.status != COMPLETE:
        problem = "is incomplete" if series.status == PARTIAL else f"failed ({series.status})"
        raise SourceError(SOURCE, f"the answer for {metric} {problem}{_suffix([*series.messages, *messages])}")
    found = {}
    for at, value in series.points:
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise BadAnswerError(SOURCE, f"{metric} has the time {at!r}")
        if window.holds(at):
            found[at] = _count(metric, value)
    if not found:
        raise SourceError(SOURCE, f"no data of {metric} since {window.start:%H:%M}{_suffix(series.messages)}")
    return found


def _count(metric: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= COUNT_LIMIT:
        raise BadAnswerError(SOURCE, f"{metric} is {value!r}, which is not a count")
    return value


def _messages(part: Mapping[str, Any]) -> list[str]:
    return [f"{message.get('Code')}: {message.get('Value')}" for message in part.get("Messages") or ()]


def _suffix(messages: Sequence[str]) -> str:
    return f"; CloudWatch's message: {'; '.join(messages)}" if messages else ""
