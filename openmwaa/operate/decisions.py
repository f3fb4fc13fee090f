# SPDX-License-Identifier: Apache-2.0
"""The scaler's decisions from CloudWatch Logs: limited in time, page by page, within a deadline."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import NotRunningError, UnreachableError
from scaler.reporting.explanation import LINE_VERSION

LogLine = dict[str, Any]

DEADLINE_S = 45.0
"""For one command: CloudWatch Logs reads about 20 MB/s, and a day of a busy fleet is 8 MB."""
PERMISSION = "logs:FilterLogEvents"
CHANGES = '($.kind != "hold") && ($.kind != "blind")'
_LATE = timedelta(seconds=10)
"""CloudWatch dates a line by its arrival; the search is for the time of the decision."""
_MS = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class DecisionsLog:
    """The log group of one environment's scaler."""

    connection: Connection
    logs: Any
    """boto3's client of CloudWatch Logs."""
    clock: Callable[[], float] = time.monotonic
    deadline_at: float = float("inf")
    other_versions: set[str] = field(default_factory=set)
    """Versions of decision lines that were skipped, because this program does not read them."""

    @classmethod
    def of(cls, connection: Connection, clock: Callable[[], float] = time.monotonic) -> DecisionsLog:
        """Return the log with a deadline of `DEADLINE_S` from now."""
        return cls(connection, connection.client("logs"), clock, clock() + DEADLINE_S)

    def read(
        self, start: datetime, end: datetime, fleets: Sequence[str], *, changes: bool = False
    ) -> Iterator[LogLine]:
        """Yield the decisions and failed ticks of the fleets from `start` to `end`, in the order of the log.

        Raises:
            NotRunningError: the log group does not exist.
            UnreachableError: no answer, or an incomplete answer within the deadline.
            OperateError: AWS refuses.
        """
        for line in self.lines(start, end, _pattern(fleets, changes=changes)):
            # An emulator may ignore the pattern, and other programs may write to the log group.
            if not _is_of_fleet(line) or line["fleet"] not in fleets or not start <= decided_at(line) <= end:
                continue
            if line["event"] == "decision" and line.get("version") != LINE_VERSION:
                self.other_versions.add(str(line.get("version")))
            else:
                yield line

    def lines(self, start: datetime, end: datetime, pattern: str, *, group: str = "Scaler") -> Iterator[LogLine]:
        """Yield the JSON lines that CloudWatch received from `start` to `end`, in the order of the log.

        Raises:
            OperateError: as `read`.
        """
        request: dict[str, Any] = {
            "logGroupName": f"airflow-{self.connection.environment.name}-{group}",
            "startTime": (start - _EPOCH) // _MS,
            "endTime": (end + _LATE - _EPOCH) // _MS,
            "filterPattern": pattern,
        }
        while True:
            page = self._page(request)
            yield from (line for line in map(_line, page.get("events", ())) if line is not None)
            # An empty page can have a next page: CloudWatch searches the log in parts.
            token = page.get("nextToken")
            if not token or token == request.get("nextToken"):
                return
            request["nextToken"] = token

    def _page(self, request: dict[str, Any]) -> Any:
        if self.clock() >= self.deadline_at:
            raise UnreachableError(
                f"CloudWatch Logs did not finish within {DEADLINE_S:.0f} s. "
                "Choose another time, or one fleet with --fleet."
            )
        group = str(request["logGroupName"])
        with aws_errors(self.connection, PERMISSION, f"the log group {group}"):
            try:
                return self.logs.filter_log_events(**request)
            except self.logs.exceptions.ResourceNotFoundException:
                raise NotRunningError(_no_group(self.connection, group)) from None


def decided_at(line: LogLine) -> datetime:
    """Return the time of the decision."""
    return datetime.fromisoformat(line["at"])


def _no_group(connection: Connection, group: str) -> str:
    if connection.local:
        return f"There is no log group {group} here. `{connection.command('local', 'up')}` creates it."
    return (
        f"There is no log group {group} in {connection.place}. `terraform apply` creates it. "
        "Check the Region and the account."
    )


def _pattern(fleets: Sequence[str], *, changes: bool) -> str:
    selected = " || ".join(f"($.fleet = {json.dumps(fleet)})" for fleet in fleets)
    events = '($.event = "decision")' if changes else '($.event = "decision" || $.event = "tick_failed")'
    # The limit of a pattern is 1024 characters; `read` drops the lines that a short pattern selects in excess.
    short = f"{{ {events} && ({selected}) }}" if len(selected) <= 700 else f"{{ {events} }}"  # noqa: PLR2004
    return short.replace(" }", f" && {CHANGES} }}") if changes else short


def _line(event: Any) -> LogLine | None:
    try:
        line = json.loads(event["message"])
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _is_of_fleet(line: LogLine) -> bool:
    try:
        datetime.fromisoformat(line["at"])
        return line["event"] in {"decision", "tick_failed"} and isinstance(line["fleet"], str)
    except (ValueError, LookupError, TypeError):
        return False
