# SPDX-License-Identifier: Apache-2.0
"""`openmwaa dags deploy`: what it uploads and deletes, and when the DAGs count as parsed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.airflow_api import EnvironmentApi
from openmwaa.operate.connection import Connection
from openmwaa.operate.dag_upload import DIGEST, NEW_WITHIN_S, DagUpload, Plan
from openmwaa.operate.errors import OperateError
from tests.support.environments import LEAST


class FakeAws:
    """S3, ECS, CloudWatch Logs and Secrets Manager, as far as an upload uses them."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.log: list[str] = []
        self.hides_digest = True
        """As with a KMS key: an ETag is no hash of the content."""

    def put(self, key: str, content: bytes, **metadata: str) -> None:
        self.objects[key] = (content, metadata)

    def get_paginator(self, operation: str) -> Any:
        return type("Paginator", (), {"paginate": lambda _self, **request: getattr(self, f"_{operation}")(**request)})()

    def _list_objects_v2(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        found = sorted((key, content) for key, (content, _) in self.objects.items() if key.startswith(Prefix))
        yield {"Contents": [{"Key": key, "ETag": self._etag(content), "Size": len(content)} for key, content in found]}

    def _etag(self, content: bytes) -> str:
        salt = b"kms" if self.hides_digest else b""
        return f'"{hashlib.md5(salt + content, usedforsecurity=False).hexdigest()}"'

    def _filter_log_events(self, **_: Any) -> Iterator[dict[str, Any]]:
        yield {"events": [{"message": line} for line in self.log]}

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        return {"Metadata": self.objects[Key][1]}

    def put_object(self, Bucket: str, Key: str, Body: bytes, Metadata: dict[str, str]) -> None:  # noqa: N803
        self.objects[Key] = (Body, Metadata)

    def delete_objects(self, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        assert len(Delete["Objects"]) <= 1000
        for entry in Delete["Objects"]:
            del self.objects[entry["Key"]]
        return {}

    def describe_services(self, cluster: str, services: list[str]) -> dict[str, Any]:
        deployment = {"status": "PRIMARY", "taskDefinition": "definition:1"}
        return {
            "services": [{"serviceName": name, "status": "ACTIVE", "deployments": [deployment]} for name in services]
        }

    def describe_task_definition(self, taskDefinition: str) -> dict[str, Any]:  # noqa: N803
        variables = {"OPENMWAA_DAG_BUCKET": "bucket", "OPENMWAA_WEB_URL": "http://web"}
        container = {
            "environment": [{"name": name, "value": value} for name, value in variables.items()],
            "secrets": [],
        }
        return {
            "taskDefinition": {
                "containerDefinitions": [{"name": "dag-processor", **container}, {"name": "web-server", **container}]
            }
        }


class FakeConnection(Connection):
    aws: FakeAws

    def client(self, service: str) -> Any:
        return self.aws


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def bucket(aws: FakeAws, tmp_path: Path) -> DagUpload:
    connection = FakeConnection(Environment.model_validate(LEAST), tmp_path / "environment.yaml")
    object.__setattr__(connection, "aws", aws)
    folder = tmp_path / "dags"
    (folder / "lib").mkdir(parents=True)
    (folder / "one.py").write_text("1")
    (folder / "lib/two.py").write_text("2")
    (folder / "lib/two.py~").write_text("of an editor")
    return DagUpload(connection, folder)


def test_an_empty_bucket_gets_every_file_but_those_of_editors(bucket: DagUpload, aws: FakeAws) -> None:
    plan = bucket.plan()
    assert plan == Plan(("lib/two.py", "one.py"), (), 0)
    bucket.apply(plan, delete=False)
    assert {key: content for key, (content, _) in aws.objects.items()} == {"dags/lib/two.py": b"2", "dags/one.py": b"1"}
    assert bucket.plan() == Plan((), (), 2), "the second deployment uploads again"


@pytest.mark.parametrize("hides_digest", [True, False], ids=["KMS", "ETag is the hash"])
def test_only_changed_files_are_uploaded(bucket: DagUpload, aws: FakeAws, hides_digest: bool) -> None:
    aws.hides_digest = hides_digest
    bucket.apply(bucket.plan(), delete=False)
    (bucket.folder / "one.py").write_text("3")  # the same size
    assert bucket.plan().changed == ("one.py",)


def test_an_object_of_another_program_is_compared_too(bucket: DagUpload, aws: FakeAws) -> None:
    aws.hides_digest = False
    aws.put("dags/one.py", b"1")
    assert bucket.plan().changed == ("lib/two.py",)


def test_other_objects_are_kept_without_an_order_to_delete(bucket: DagUpload, aws: FakeAws) -> None:
    aws.put("dags/old.py", b"old")
    aws.put("plugins.zip", b"not below the prefix")
    plan = bucket.plan()
    assert plan.removed == ("old.py",)
    bucket.apply(plan, delete=False)
    assert "dags/old.py" in aws.objects
    bucket.apply(plan, delete=True)
    assert aws.objects.keys() == {"dags/one.py", "dags/lib/two.py", "plugins.zip"}


def test_many_objects_are_deleted_in_calls_of_a_thousand(bucket: DagUpload, aws: FakeAws) -> None:
    for number in range(2001):
        aws.put(f"dags/old/{number}.py", b"", **{DIGEST: "x"})
    bucket.apply(bucket.plan(), delete=True)
    assert len(aws.objects) == 2


def test_a_broken_link_stops_the_upload(bucket: DagUpload, aws: FakeAws) -> None:
    (bucket.folder / "broken.py").symlink_to("nowhere")
    with pytest.raises(OperateError, match=r"broken\.py cannot be read"):
        bucket.plan()
    assert not aws.objects


def test_what_is_no_file_stops_the_upload(bucket: DagUpload, aws: FakeAws) -> None:
    os.mkfifo(bucket.folder / "pipe.py")  # a read would wait for ever
    with pytest.raises(OperateError, match=r"pipe\.py cannot be read"):
        bucket.plan()
    assert not aws.objects


def test_a_file_that_is_removed_during_the_upload_is_an_error(bucket: DagUpload) -> None:
    plan = bucket.plan()
    (bucket.folder / "one.py").unlink()
    with pytest.raises(OperateError, match=r"one\.py cannot be read: No such file"):
        bucket.apply(plan, delete=False)


def test_an_empty_folder_deletes_nothing(bucket: DagUpload, aws: FakeAws) -> None:
    aws.put("dags/one.py", b"1")
    for file in ("one.py", "lib/two.py", "lib/two.py~"):
        (bucket.folder / file).unlink()
    with pytest.raises(OperateError, match="has no files"):
        bucket.plan()


NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


class Airflow:
    """Answers of Airflow's API, page by page."""

    def __init__(self, dags: dict[str, datetime], errors: dict[str, datetime]) -> None:
        self.entries: dict[str, list[dict[str, str]]] = {
            "dags": [{"relative_fileloc": file, "last_parsed_time": at.isoformat()} for file, at in dags.items()],
            "import_errors": [
                {"filename": file, "timestamp": at.isoformat(), "stack_trace": "SyntaxError"}
                for file, at in errors.items()
            ],
        }

    def __call__(self, _method: str, path: str) -> Any:
        key = "import_errors" if "importErrors" in path else "dags"
        offset = int(path.rpartition("=")[2])
        return {key: self.entries[key][offset : offset + 1], "total_entries": len(self.entries[key])}


@pytest.mark.parametrize(
    ("synced", "parsed", "errors", "outcome"),
    [
        (False, NOON.replace(hour=13), {}, "unfinished"),
        (True, NOON.replace(hour=11), {}, "unfinished"),
        (True, NOON.replace(hour=13), {}, "done"),
        (True, NOON.replace(hour=11), {"one.py": NOON.replace(hour=13)}, "done"),
        (True, NOON.replace(hour=13), {"other.py": NOON.replace(hour=10)}, "done"),
    ],
    ids=["not synced", "parsed before the sync", "parsed", "import error", "error of another file"],
)
def test_dags_are_parsed_when_a_parse_is_newer_than_the_sync(
    bucket: DagUpload,
    aws: FakeAws,
    monkeypatch: pytest.MonkeyPatch,
    synced: bool,
    parsed: datetime,
    errors: dict[str, datetime],
    outcome: str,
) -> None:
    bucket.apply(bucket.plan(), delete=False)
    name = bucket._listing().manifest.name if synced else "another listing"
    line = {"event": "dags_synced", "at": NOON.timestamp(), "listing": name, "version": name, "files": 2}
    aws.log = ["no JSON", '["dags_synced"]', json.dumps(line)]
    api = Airflow({"lib/two.py": NOON.replace(hour=14), "one.py": parsed}, errors)
    monkeypatch.setattr(EnvironmentApi, "call", lambda _self, *words: api(*words))
    status = bucket.parsed(("one.py", "README.md"), (), 0.0)
    assert status.outcome == outcome
    if synced:
        assert status.data["import_errors"].keys() == errors.keys()


def test_a_new_dag_is_awaited_until_it_appears_or_seconds_have_passed(
    bucket: DagUpload, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bucket.folder / "new.py").write_text("from airflow.sdk import dag")
    bucket.apply(bucket.plan(), delete=False)
    name = bucket._listing().manifest.name
    aws.log = [json.dumps({"event": "dags_synced", "at": NOON.timestamp(), "listing": name})]
    api = Airflow({}, {})
    monkeypatch.setattr(EnvironmentApi, "call", lambda _self, *words: api(*words))
    assert bucket.parsed(("new.py", "one.py"), (), 0.0).awaited == ("Airflow has not processed new.py yet.",)
    bucket._synced_since -= NEW_WITHIN_S
    assert bucket.parsed(("new.py", "one.py"), (), 0.0).outcome == "done", "a file that .airflowignore has is awaited"


@pytest.mark.parametrize("known_as", ["dags", "errors"])
def test_a_deleted_file_is_awaited_until_airflow_has_neither_its_dag_nor_its_error(
    bucket: DagUpload, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, known_as: str
) -> None:
    name = bucket._listing().manifest.name
    aws.log = [json.dumps({"event": "dags_synced", "at": NOON.timestamp(), "listing": name})]
    found: dict[str, datetime] = {"old.py": NOON}
    api = Airflow(found if known_as == "dags" else {}, found if known_as == "errors" else {})
    monkeypatch.setattr(EnvironmentApi, "call", lambda _self, *words: api(*words))
    assert bucket.parsed((), ("old.py",), 0.0).awaited == ("Airflow has not processed old.py yet.",)
    api.entries = {"dags": [], "import_errors": []}
    assert bucket.parsed((), ("old.py",), 0.0).outcome == "done"
