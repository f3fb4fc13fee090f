# SPDX-License-Identifier: Apache-2.0
"""Task logs in a CloudWatch log group, one stream for each try."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from botocore.exceptions import ClientError, ParamValidationError

from openmwaa_runtime.task_logs.lines import Line
from openmwaa_runtime.task_logs.writer import LinesRefusedError, RequestLimits, UnavailableError

LIMITS: Final = RequestLimits(
    line_bytes=256 * 1024 - 26, batch_bytes=1024 * 1024, batch_lines=10_000, interval_s=1.0, line_overhead=26
)
"""Of PutLogEvents. The interval is ours."""
_INVALID: Final = frozenset({"InvalidParameterException", "SerializationException", "ValidationException"})
_MISSING: Final = "ResourceNotFoundException"


class CloudWatchDestination:
    """Appends to streams of a group and reads them. `connect` makes the client at the first call."""

    limits = LIMITS

    def __init__(self, group: str, connect: Callable[[], Any]) -> None:
        self._group = group
        self.connect = connect
        self._client: Any = None
        self._created: set[str] = set()

    @property
    def place(self) -> str:
        """Where the logs are, for people."""
        return f"CloudWatch log group {self._group}"

    def put(self, stream: str, lines: Sequence[Line]) -> int:
        """Append lines; return the number that CloudWatch rejected for their age."""
        self._create(stream)
        events = [{"timestamp": line.time_ms, "message": line.text} for line in lines]
        with self._client_for(stream) as client:
            answer = client.put_log_events(logGroupName=self._group, logStreamName=stream, logEvents=events)
        rejected = answer.get("rejectedLogEventsInfo") or {}
        old = max(rejected.get("tooOldLogEventEndIndex", 0), rejected.get("expiredLogEventEndIndex", 0))
        return int(old + len(events) - rejected.get("tooNewLogEventStartIndex", len(events)))

    def read(self, stream: str) -> Iterator[str]:
        """Yield the lines of a stream; none if it does not exist."""
        token: str | None = None
        while True:
            more = {} if token is None else {"nextToken": token}
            try:
                with self._client_for(stream) as client:
                    page = client.get_log_events(
                        logGroupName=self._group, logStreamName=stream, startFromHead=True, **more
                    )
            except UnavailableError as error:
                if _code(error.__cause__) == _MISSING:
                    return
                raise
            yield from (event["message"] for event in page["events"])
            if page["nextForwardToken"] == token:
                return
            token = page["nextForwardToken"]

    def _create(self, stream: str) -> None:
        if stream in self._created:
            return
        try:
            with self._client_for(stream) as client:
                client.create_log_stream(logGroupName=self._group, logStreamName=stream)
        except UnavailableError as error:
            if _code(error.__cause__) != "ResourceAlreadyExistsException":
                raise
        if len(self._created) >= LIMITS.batch_lines:
            self._created.clear()
        self._created.add(stream)

    @contextlib.contextmanager
    def _client_for(self, stream: str) -> Iterator[Any]:
        try:
            self._client = self._client or self.connect()
            yield self._client
        except Exception as error:
            code = _code(error)
            if code == _MISSING:
                self._created.discard(stream)
            invalid = code in _INVALID or isinstance(error, ParamValidationError)
            raise (LinesRefusedError if invalid else UnavailableError)(str(error)) from error


def _code(error: BaseException | None) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""
