# SPDX-License-Identifier: Apache-2.0
"""Uploads a folder of DAGs to the environment's bucket, and waits until Airflow has parsed it."""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from openmwaa.operate import services
from openmwaa.operate.airflow_api import EnvironmentApi
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError
from openmwaa.operate.waiting import WaitStatus
from openmwaa_runtime.sync_dags.bucket import S3Bucket
from openmwaa_runtime.sync_dags.folder import may_have_dag
from openmwaa_runtime.sync_dags.local_folder import LocalFolder
from openmwaa_runtime.sync_dags.manifest import BucketListing, SourceObject, read_listing

PARALLEL: Final = 8
DIGEST: Final = "openmwaa-sha256"
"""Metadata of an object. With a KMS key, its ETag is no hash of the content."""
NEW_WITHIN_S: Final = 20.0
_DELETED_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class Plan:
    """What an upload would change, by path in the folder."""

    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int


@dataclass
class DagUpload:
    """The DAGs of an environment: its bucket, its syncers' log, and Airflow's API."""

    connection: Connection
    folder: Path
    _seen: set[str] = field(default_factory=set)
    """Names of the listings of the bucket since the upload."""
    _synced_since: float = 0.0

    @cached_property
    def _s3(self) -> Any:
        return self.connection.client("s3")

    @cached_property
    def _airflow(self) -> EnvironmentApi:
        return EnvironmentApi(self.connection)

    @cached_property
    def name(self) -> str:
        """The bucket's name."""
        service = services.describe(self.connection, [self.connection.environment.service_of["dag-processor"]])
        definition = services.primary(next(iter(service.values())))["taskDefinition"]
        with aws_errors(self.connection, "ecs:DescribeTaskDefinition", f"the task definition {definition}"):
            answer = self.connection.client("ecs").describe_task_definition(taskDefinition=definition)
        containers = {entry["name"]: entry for entry in answer["taskDefinition"]["containerDefinitions"]}
        variables = {pair["name"]: pair["value"] for pair in containers["dag-processor"]["environment"]}
        return str(variables["OPENMWAA_DAG_BUCKET"])

    @property
    def _prefix(self) -> str:
        return f"{self.connection.environment.dag_s3_path}/"

    def _listing(self) -> BucketListing:
        with aws_errors(self.connection, "s3:ListBucket", f"the bucket {self.name}"):
            return read_listing(S3Bucket(self.name, self._prefix, client=self._s3).list(), self._prefix)

    def plan(self) -> Plan:
        """Compare the folder with the bucket.

        Raises:
            OperateError: a file cannot be read, or AWS refuses.
        """
        mine = {found.key: found for found in LocalFolder(self.folder).list()}
        if broken := [path for path, found in mine.items() if not (found.etag and _is_readable(self.folder / path))]:
            raise OperateError(
                f"{self.folder / broken[0]} cannot be read, or it is no file or a broken link. Nothing is uploaded."
            )
        if not mine:
            raise OperateError(f"{self.folder} has no files. Nothing is uploaded or deleted.")
        theirs = self._listing().manifest.files
        with ThreadPoolExecutor(PARALLEL) as pool:
            same = pool.map(lambda path: path in theirs and self._is_same(path, theirs[path]), mine)
            changed = tuple(sorted(path for path, is_same in zip(mine, same, strict=True) if not is_same))
        return Plan(changed, tuple(sorted(theirs.keys() - mine.keys())), len(mine) - len(changed))

    def _content(self, path: str) -> bytes:
        try:
            return (self.folder / path).read_bytes()
        except OSError as error:  # removed since the listing
            raise OperateError(f"{error.filename} cannot be read: {error.strerror}. Repeat the command.") from error

    def _is_same(self, path: str, theirs: SourceObject) -> bool:
        content = self._content(path)
        if len(content) != theirs.size:
            return False
        if theirs.etag.strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest():
            return True
        with aws_errors(self.connection, "s3:GetObject", f"s3://{self.name}/{theirs.key}"):
            head = self._s3.head_object(Bucket=self.name, Key=theirs.key)
        return bool(head["Metadata"].get(DIGEST) == hashlib.sha256(content).hexdigest())

    def apply(self, plan: Plan, *, delete: bool) -> None:
        """Upload the changed files, and delete the others if `delete`."""
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(self._upload, plan.changed))
        for start in range(0, len(plan.removed) if delete else 0, _DELETED_AT_ONCE):
            keys = [{"Key": self._prefix + path} for path in plan.removed[start : start + _DELETED_AT_ONCE]]
            with aws_errors(self.connection, "s3:DeleteObject", f"the bucket {self.name}"):
                answer = self._s3.delete_objects(Bucket=self.name, Delete={"Objects": keys, "Quiet": True})
            if failed := answer.get("Errors"):
                raise OperateError(f"s3://{self.name}/{failed[0]['Key']} is not deleted: {failed[0].get('Code')}")

    def _upload(self, path: str) -> None:
        content = self._content(path)
        metadata = {DIGEST: hashlib.sha256(content).hexdigest()}
        with aws_errors(self.connection, "s3:PutObject", f"s3://{self.name}/{self._prefix}{path}"):
            self._s3.put_object(Bucket=self.name, Key=self._prefix + path, Body=content, Metadata=metadata)

    def parsed(self, paths: Iterable[str], deleted: Iterable[str], since: float) -> WaitStatus:
        """Return whether the DAG processor has the bucket's content, has parsed `paths` and has forgotten `deleted`."""
        self._seen.add(self._listing().manifest.name)
        synced_at = self._synced_at(since)
        if synced_at is None:
            return WaitStatus(("The DAG processor does not have the new DAGs yet.",))
        found = [error for error in self._airflow.pages("/importErrors", "import_errors") if error["filename"]]
        errors = [{**error, "filename": _relative(error["filename"])} for error in found]
        dags = {
            dag.get("relative_fileloc") or _relative(dag["fileloc"]): dag["last_parsed_time"]
            for dag in self._airflow.pages("/dags", "dags")
        }
        parsed = {**dags, **{error["filename"]: error["timestamp"] for error in errors}}
        self._synced_since = self._synced_since or time.monotonic()
        # A new file is parsed within seconds, unless `.airflowignore` has it or it makes no DAG.
        new = time.monotonic() - self._synced_since < NEW_WITHIN_S
        late = [
            path
            for path in paths
            if (path in parsed and datetime.fromisoformat(parsed[path]) < synced_at)
            or (path not in parsed and new and may_have_dag(self.folder / path))
        ]
        late += [path for path in deleted if path in parsed]
        data = {"import_errors": {error["filename"]: error["stack_trace"] for error in errors}}
        return WaitStatus(tuple(f"Airflow has not processed {path} yet." for path in late[:1]), data=data)

    def _synced_at(self, since: float) -> datetime | None:
        """Return when a listing of the bucket became current at the DAG processor, by the syncer's log."""
        group = f"airflow-{self.connection.environment.name}-DAGProcessing"
        request = {"logGroupName": group, "startTime": int(since * 1000), "filterPattern": '"dags_synced"'}
        with aws_errors(self.connection, "logs:FilterLogEvents", f"the log group {group}"):
            pages = self.connection.client("logs").get_paginator("filter_log_events").paginate(**request)
            for event in (event for page in pages for event in page["events"]):
                try:
                    line = json.loads(event["message"])
                except ValueError:
                    continue
                if isinstance(line, dict) and line.get("event") == "dags_synced" and line["listing"] in self._seen:
                    return datetime.fromtimestamp(line["at"], UTC)
        return None


def _is_readable(file: Path) -> bool:
    return file.is_file() and os.access(file, os.R_OK)


def _relative(file: str) -> str:
    """Return a path below the folder of DAGs, which is the link `current`; Airflow 2 has whole paths."""
    return file.rpartition("/current/")[2]


def clock() -> float:
    """Return the time, a minute early: the clocks of this machine and of AWS may differ."""
    return time.time() - 60
