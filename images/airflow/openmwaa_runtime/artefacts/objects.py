# SPDX-License-Identifier: Apache-2.0
"""Objects of the source bucket by key and version, and lines of a log stream."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from openmwaa_runtime.errors import StartupError

_MOST_LINES, _LONGEST_LINE = 1000, 900
"""Together less than the limit of one PutLogEvents request, 1 MiB with 26 bytes for each line."""


class ArtefactError(StartupError):
    """An object cannot be read or written."""

    exit_status = 3


class Bucket:
    """The source bucket of an environment."""

    def __init__(self, environ: Mapping[str, str], *, client: Any = None) -> None:
        self.environ = environ
        self.name = environ["OPENMWAA_DAG_BUCKET"]
        self._client: Any = client or _client("s3")

    def artefact(self, kind: str, target: Path) -> Path | None:
        """Download an artefact in the version of the task definition; None if the environment has none."""
        key = self.environ.get(f"OPENMWAA_{kind}_KEY")
        return self.download(key, target, VersionId=self.environ[f"OPENMWAA_{kind}_VERSION"]) if key else None

    def download(self, key: str, target: Path, **version: str) -> Path:
        """Download an object to a file.

        Raises:
            ArtefactError: it cannot be read.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            answer = self._client.get_object(Bucket=self.name, Key=key, **version)
            with target.open("wb") as file:
                shutil.copyfileobj(answer["Body"], file, 1 << 20)
        except (BotoCoreError, ClientError, OSError) as error:
            raise ArtefactError(f"s3://{self.name}/{key} cannot be read: {error}") from error
        return target

    def upload(self, key: str, file: Path) -> None:
        """Write a file to an object.

        Raises:
            ArtefactError: it cannot be written.
        """
        try:
            with file.open("rb") as body:
                self._client.put_object(Bucket=self.name, Key=key, Body=body)
        except (BotoCoreError, ClientError, OSError) as error:
            raise ArtefactError(f"s3://{self.name}/{key} cannot be written: {error}") from error


def write_log(group: str, stream: str, lines: Sequence[str], *, now_s: float, client: Any = None) -> None:
    """Write the last lines to a log stream, as one request; a line that is empty or too long is changed.

    Raises:
        ArtefactError: CloudWatch Logs refuses them.
    """
    logs = client or _client("logs")
    texts = [line.encode()[:_LONGEST_LINE].decode(errors="ignore") or " " for line in lines[-_MOST_LINES:]]
    try:
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_stream(logGroupName=group, logStreamName=stream)
        events = [{"timestamp": int(now_s * 1000), "message": text} for text in texts]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    except (BotoCoreError, ClientError) as error:
        raise ArtefactError(f"the log stream {stream} cannot be written: {error}") from error


def _client(service: str) -> Any:
    config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 5})
    return Session().create_client(service, config=config)
