# SPDX-License-Identifier: Apache-2.0
"""Task logs in S3, and the destinations by URL."""

import io
import threading
from typing import Any

import pytest
from botocore.utils import ContainerMetadataFetcher

from openmwaa_runtime.errors import UsageError
from openmwaa_runtime.task_logs.destination import open_destination
from openmwaa_runtime.task_logs.lines import Line
from openmwaa_runtime.task_logs.s3 import S3Destination
from openmwaa_runtime.task_logs.writer import UnavailableError

LINES = [Line(1_700_000_000_000, number, f"line {number}", 6) for number in range(30)]


class FakeS3:
    """A bucket in memory, with pages of two keys; `fails` after the next request was done."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fails = False

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> dict[str, Any]:  # noqa: N803
        self.objects[Key] = Body
        if self.fails:
            self.fails = False
            raise TimeoutError("read timed out")
        return {}

    def list_objects_v2(self, *, Prefix: str, ContinuationToken: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        keys = sorted(key for key in self.objects if key.startswith(Prefix) and key > ContinuationToken)
        page: dict[str, Any] = {"Contents": [{"Key": key} for key in keys[:2]], "IsTruncated": len(keys) > 2}
        return {**page, "NextContinuationToken": keys[1]} if len(keys) > 2 else page

    def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"Body": io.BytesIO(self.objects[Key])}


@pytest.fixture
def bucket() -> FakeS3:
    return FakeS3()


@pytest.fixture
def logs(bucket: FakeS3) -> S3Destination:
    return S3Destination("bucket", "/task-logs", lambda: bucket)


def test_lines_come_back_in_order_over_pages(logs: S3Destination) -> None:
    for start in range(0, 30, 5):
        logs.put("dag_id=a/attempt=1.log", LINES[start : start + 5])
    assert list(logs.read("dag_id=a/attempt=1.log")) == [line.text for line in LINES]


def test_objects_are_read_at_the_same_time_and_stay_in_order(
    logs: S3Destination, bucket: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.put("a", LINES[:5])
    logs.put("a", LINES[5:10])
    both, get_object = threading.Barrier(2, timeout=60), bucket.get_object

    def get_together(**request: str) -> dict[str, Any]:
        both.wait()
        return get_object(**request)

    monkeypatch.setattr(bucket, "get_object", get_together)
    assert list(logs.read("a")) == [line.text for line in LINES[:10]]


def test_one_log_is_not_part_of_another(logs: S3Destination) -> None:
    logs.put("dag_id=a/attempt=1.log", LINES[:1])
    logs.put("dag_id=a/attempt=1.log2", LINES[1:2])
    assert list(logs.read("dag_id=a/attempt=1.log")) == ["line 0"]


def test_objects_are_below_the_prefix_only(logs: S3Destination, bucket: FakeS3) -> None:
    logs.put("dag_id=a/attempt=1.log", LINES)
    assert all(key.startswith("task-logs/dag_id=a/attempt=1.log/") for key in bucket.objects)


def test_a_repeated_request_with_more_lines_makes_no_second_copy(logs: S3Destination, bucket: FakeS3) -> None:
    bucket.fails = True
    with pytest.raises(UnavailableError, match="read timed out"):
        logs.put("a", LINES[:5])
    logs.put("a", LINES[:8])
    assert list(logs.read("a")) == [line.text for line in LINES[:8]]


def test_a_log_without_objects_has_no_lines(logs: S3Destination) -> None:
    assert list(logs.read("a")) == []


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("cloudwatch://arn:aws:logs:eu-west-1:123456789012:log-group:airflow-demo-Task", "group airflow-demo-Task"),
        ("s3://bucket/task-logs", "S3 bucket bucket, folder task-logs/"),
        ("s3://bucket", "S3 bucket bucket, folder /"),
    ],
)
def test_the_destination_follows_the_url(url: str, place: str) -> None:
    assert open_destination(url).place.endswith(place)


def test_keys_in_the_environment_do_not_replace_the_task_role(monkeypatch: pytest.MonkeyPatch) -> None:
    role = {"AccessKeyId": "role", "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}
    monkeypatch.setattr(ContainerMetadataFetcher, "retrieve_full_uri", lambda *_, **__: role)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "user")
    arn = "arn:aws:logs:eu-west-1:123456789012:log-group:airflow-demo-Task"
    used = {}
    for place in ("here", "ECS"):
        if place == "ECS":
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/credentials")
        client = open_destination(f"cloudwatch://{arn}").connect()
        used[place] = (client._request_signer._credentials.access_key, client.meta.region_name)
    assert used == {"here": ("user", "eu-west-1"), "ECS": ("role", "eu-west-1")}


@pytest.mark.parametrize("url", ["", "cloudwatch://group", "gs://bucket", "s3:///prefix"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="destination of task logs"):
        open_destination(url)
