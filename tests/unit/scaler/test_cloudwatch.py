# SPDX-License-Identifier: Apache-2.0
"""CloudWatch as the broker: the requests, and every response that must not be used as a count."""

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from scaler.adapters.cloudwatch import CloudWatchBroker, Timing
from scaler.config.settings import CloudWatchSettings
from scaler.core.model import BrokerCount
from scaler.errors import BadAnswerError, DeadlineError, SourceError, ThrottledError

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
VISIBLE, HIDDEN, DELAYED = (f"ApproximateNumberOfMessages{kind}" for kind in ("Visible", "NotVisible", "Delayed"))
Points = Mapping[int, object]
"""Minutes before noon to the value of the period that begins then."""


class Client:
    """CloudWatch with a table of metrics; `spoil` may change an answer."""

    def __init__(self) -> None:
        self.metrics: dict[tuple[str, str], Points] = {}
        self.requests: list[dict[str, Any]] = []
        self.spoil: Callable[[dict[str, Any]], Any] = lambda answer: answer

    def holds(self, queue: str, visible: Points, hidden: Points | None = None, delayed: Points | None = None) -> None:
        zeros = dict.fromkeys(visible, 0)
        for metric, points in ((VISIBLE, visible), (HIDDEN, hidden), (DELAYED, delayed)):
            self.metrics[queue, metric] = zeros if points is None else points

    async def get_metric_data(self, **request: Any) -> Any:
        self.requests.append(request)
        results = []
        for query in request["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]
            key = metric["Dimensions"][-1]["Value"], metric["MetricName"]
            points = {
                NOON.replace(second=0) - timedelta(minutes=before): value
                for before, value in self.metrics.get(key, {}).items()
            }
            inside = {at: value for at, value in points.items() if request["StartTime"] <= at < request["EndTime"]}
            results.append(
                {
                    "Id": query["Id"],
                    "StatusCode": "Complete",
                    "Timestamps": list(inside),
                    "Values": list(inside.values()),
                }
            )
        answer = self.spoil({"MetricDataResults": results})
        if isinstance(answer, Exception):
            raise answer
        return await answer if asyncio.iscoroutine(answer) else answer


class Scene:
    def __init__(self, **settings: Any) -> None:
        self.client, self.now, self.wall = Client(), 0.0, NOON
        self.broker = CloudWatchBroker(
            self.client,
            CloudWatchSettings(kind="cloudwatch", **settings),
            Timing(lambda: self.now, lambda: self.wall, max_failure_age_s=0.5, deadline_s=0.2),
        )

    async def depth(self, queue: str = "q") -> BrokerCount:
        return await self.broker.depth(queue)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_the_request_has_complete_periods_only(scene: Scene) -> None:
    scene.client.holds("q", {2: 7, 3: 9}, {2: 2, 3: 1}, {2: 1, 3: 0})
    assert await scene.depth() == BrokerCount(visible=7, in_flight=2, delayed=1)
    (request,) = scene.client.requests
    # It is 12:00:30; what began at 11:58 ended at 11:59, a minute and a half ago.
    assert (request["StartTime"], request["EndTime"]) == (
        datetime(2026, 3, 1, 11, 57, tzinfo=UTC),
        datetime(2026, 3, 1, 11, 59, tzinfo=UTC),
    )
    assert [query["MetricStat"]["Metric"]["MetricName"] for query in request["MetricDataQueries"]] == [
        VISIBLE,
        HIDDEN,
        DELAYED,
    ]
    assert request["MetricDataQueries"][0]["MetricStat"]["Metric"]["Dimensions"] == [
        {"Name": "QueueName", "Value": "q"}
    ]


async def test_500_metrics_share_a_call_and_an_answer_is_valid_for_a_third_of_a_period(scene: Scene) -> None:
    names = [f"q{number}" for number in range(400)]
    for name in names:
        scene.client.holds(name, {2: 3})
    await asyncio.gather(*(scene.depth(name) for name in names))
    calls = len(scene.client.requests)
    sizes = [len(request["MetricDataQueries"]) for request in scene.client.requests]
    assert sizes[-3:] == [498, 498, 204]
    scene.later(20.0)
    await asyncio.gather(*(scene.depth(name) for name in names))
    assert len(scene.client.requests) == calls
    scene.later(0.1)
    await scene.depth("q0")
    assert len(scene.client.requests) == calls + 3


async def test_other_brokers_metrics_are_read_with_their_dimensions() -> None:
    scene = Scene(
        namespace="AWS/AmazonMQ",
        dimension="Queue",
        dimensions={"Broker": "mq", "VirtualHost": "/"},
        visible="MessageReadyCount",
        in_flight="MessageUnacknowledgedCount",
        delayed=None,
    )
    scene.client.metrics = {("q", "MessageReadyCount"): {2: 4}, ("q", "MessageUnacknowledgedCount"): {2: 2}}
    assert await scene.depth() == BrokerCount(4, 2, 0)
    assert scene.client.requests[0]["MetricDataQueries"][0]["MetricStat"]["Metric"]["Dimensions"] == [
        {"Name": "Broker", "Value": "mq"},
        {"Name": "VirtualHost", "Value": "/"},
        {"Name": "Queue", "Value": "q"},
    ]


@pytest.mark.fault("source empty", "CloudWatch without data is unknown: the fleet holds, and never takes it for zero")
@pytest.mark.parametrize(
    "points",
    [
        pytest.param([{}, {}, {}], id="nothing at all"),
        pytest.param([{2: 1}, {}, {2: 0}], id="one metric of three"),
        pytest.param([{2: 1}, {3: 1}, {2: 0}], id="no period in common"),
        pytest.param([{9: 1}, {9: 1}, {9: 1}], id="older than two periods"),
    ],
)
async def test_no_data_is_unknown_and_not_zero(scene: Scene, points: list[Points]) -> None:
    scene.client.holds("q", *points)
    with pytest.raises(SourceError, match="no data"):
        await scene.depth()


async def test_the_newest_period_with_all_metrics_is_used(scene: Scene) -> None:
    scene.client.holds("q", {2: 50, 3: 6}, {3: 2}, {2: 0, 3: 1})
    assert await scene.depth() == BrokerCount(6, 2, 1)


@pytest.mark.fault("NaN", "Without a number there is no count: the reading is unknown, and the fleet keeps its size")
@pytest.mark.fault("negative", "A negative count is refused at the edge: the reading is unknown, and the fleet holds")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, -0.5, 1e12, "7", None, True])
async def test_an_invalid_count_is_rejected(scene: Scene, value: object) -> None:
    scene.client.holds("q", {2: value})
    with pytest.raises(BadAnswerError, match="not a count"):
        await scene.depth()


async def test_a_fraction_of_a_message_is_rounded_up(scene: Scene) -> None:
    scene.client.holds("q", {2: 6.2})
    assert await scene.depth() == BrokerCount(7, 0)


def _result(answer: dict[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = answer["MetricDataResults"][number]
    return found


@pytest.mark.fault("partial failures in a 200", "A metric that was answered in part or not at all is unknown")
@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param("InternalError", r"failed \(InternalError\)", id="internal error"),
        pytest.param("Forbidden", r"failed \(Forbidden\); CloudWatch's message: 403: no", id="forbidden"),
        pytest.param("PartialData", "is incomplete", id="partial and no next page"),
        pytest.param("SomethingNew", "SomethingNew", id="an unknown status"),
    ],
)
async def test_a_failed_metric_affects_its_own_queue_only(scene: Scene, status: str, words: str) -> None:
    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        _result(answer, 0).update(StatusCode=status, Messages=[{"Code": "403", "Value": "no"}])
        return answer

    for name in ("q", "other"):
        scene.client.holds(name, {2: 5})
    scene.client.spoil = spoil
    with pytest.raises(SourceError, match=words):
        await scene.depth()
    assert await scene.depth("other") == BrokerCount(5, 0)


async def test_a_missing_metric_is_unknown_with_cloudwatchs_message(scene: Scene) -> None:
    scene.client.holds("q", {2: 5})

    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        words = [{"Code": "MaxMetricsExceeded", "Value": "too many"}]
        return {"MetricDataResults": answer["MetricDataResults"][:2], "Messages": words}

    scene.client.spoil = spoil
    with pytest.raises(SourceError, match="not in the answer; CloudWatch's message: MaxMetricsExceeded: too many"):
        await scene.depth()


async def test_pages_are_combined_and_the_last_status_of_a_metric_counts(scene: Scene) -> None:
    scene.client.holds("q", {2: 5, 3: 8})

    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        first = "NextToken" not in scene.client.requests[-1]
        for result in answer["MetricDataResults"]:
            half = slice(0, 1) if first else slice(1, 2)
            result.update(
                StatusCode="PartialData" if first else "Complete",
                Timestamps=result["Timestamps"][half],
                Values=result["Values"][half],
            )
        return answer | ({"NextToken": "more"} if first else {})

    scene.client.spoil = spoil
    assert await scene.depth() == BrokerCount(5, 0)
    assert [request.get("NextToken") for request in scene.client.requests] == [None, "more"]


async def test_an_endless_answer_is_an_error(scene: Scene) -> None:
    scene.client.holds("q", {2: 5})
    scene.client.spoil = lambda answer: answer | {"NextToken": "again"}
    with pytest.raises(BadAnswerError, match="pages"):
        await scene.depth()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"Values": []}, "0 values for 1 times", id="fewer values than times"),
        pytest.param({"Timestamps": ["2026-03-01T11:58:00Z"]}, "has the time", id="a time that is text"),
        pytest.param({"Timestamps": [datetime(2026, 3, 1, 11, 58)]}, "has the time", id="a time of no zone"),  # noqa: DTZ001
        pytest.param({"Timestamps": [NOON + timedelta(hours=1)]}, "no data", id="the future"),
        pytest.param({"Timestamps": [NOON - timedelta(hours=1)]}, "no data", id="the past"),
    ],
)
async def test_an_incomplete_answer_is_an_error(scene: Scene, change: dict[str, Any], words: str) -> None:
    scene.client.holds("q", {2: 5})

    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        _result(answer, 0).update(change)
        return answer

    scene.client.spoil = spoil
    with pytest.raises(SourceError, match=words):
        await scene.depth()


@pytest.mark.fault("out of order", "A sample that is older than the last one never replaces it")
async def test_an_older_sample_never_replaces_a_newer_one(scene: Scene) -> None:
    scene.client.holds("q", {2: 40, 3: 1})
    assert await scene.depth() == BrokerCount(40, 0)
    scene.later(21.0)
    scene.client.holds("q", {3: 1})
    assert await scene.depth() == BrokerCount(40, 0), "an answer from a replica that lags brought the past back"
    scene.later(21.0)  # 12:01:12: the next period
    scene.client.holds("q", {1: 12, 2: 40})
    assert await scene.depth() == BrokerCount(12, 0)
    scene.client.holds("q", {1: 15})  # late data of the same period
    scene.later(17.0)
    assert await scene.depth() == BrokerCount(12, 0)
    scene.later(4.0)
    assert await scene.depth() == BrokerCount(15, 0)


@pytest.mark.fault("stale", "What is older than two periods is unknown, and what was known before is not kept alive")
async def test_a_metric_that_stops_is_unknown_after_two_periods(scene: Scene) -> None:
    scene.client.holds("q", {2: 40})
    assert await scene.depth() == BrokerCount(40, 0)
    scene.later(60.0)
    assert await scene.depth() == BrokerCount(40, 0)
    scene.later(60.0)
    with pytest.raises(SourceError, match="no data"):
        await scene.depth()


@pytest.mark.fault("clock jumps", "CloudWatch's values are believed only while this machine's clock is near AWS's")
@pytest.mark.parametrize("ahead_s", [-3600, -90, 90, 3600])
async def test_a_wrong_clock_does_not_return_old_values_as_new_ones(scene: Scene, ahead_s: int) -> None:
    minutes = {before: before for before in range(-70, 70)}
    scene.client.holds("q", minutes)

    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(NOON, usegmt=True)}}}

    scene.client.spoil = spoil
    assert await scene.depth() == BrokerCount(2, 0)
    scene.now += 21.0
    scene.wall += timedelta(seconds=ahead_s)
    with pytest.raises(SourceError, match="clock"):
        await scene.depth()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(
            ClientError({"Error": {"Code": "Throttling", "Message": "slow"}}, "GetMetricData"),
            ThrottledError,
            id="throttled",
        ),
        pytest.param(
            ClientError({"Error": {"Code": "InternalFailure", "Message": "500"}}, "GetMetricData"),
            SourceError,
            id="5xx",
        ),
        pytest.param(ConnectionResetError("gone"), SourceError, id="connection gone"),
        pytest.param({}, BadAnswerError, id="nothing in it"),
        pytest.param({"MetricDataResults": [{"Id": "m0"}]}, BadAnswerError, id="a result without a status"),
    ],
)
async def test_a_failed_call_is_unknown_and_repeated_with_the_next_tick(
    scene: Scene, answer: Any, kind: type[SourceError]
) -> None:
    scene.client.holds("q", {2: 5})
    scene.client.spoil = lambda _: answer
    with pytest.raises(kind):
        await scene.depth()
    scene.client.spoil = lambda good: good
    scene.later(1.0)
    assert await scene.depth() == BrokerCount(5, 0)


async def test_a_call_without_an_answer_ends_at_the_deadline(scene: Scene) -> None:
    scene.client.spoil = lambda _: asyncio.sleep(3600)
    with pytest.raises(DeadlineError):
        await scene.depth()


async def test_a_failed_call_affects_its_own_queues_only(scene: Scene) -> None:
    names = [f"q{number}" for number in range(200)]
    for name in names:
        scene.client.holds(name, {2: 3})

    def spoil(answer: dict[str, Any]) -> Any:
        return answer if len(answer["MetricDataResults"]) > 200 else ConnectionResetError("gone")

    scene.client.spoil = spoil
    found = await asyncio.gather(*(scene.depth(name) for name in names), return_exceptions=True)
    assert found[:166] == [BrokerCount(3, 0)] * 166
    assert all(isinstance(reading, SourceError) for reading in found[166:])
