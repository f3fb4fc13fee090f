# SPDX-License-Identifier: Apache-2.0
"""The scaler's decisions, read from CloudWatch Logs: bounded in time, page by page, within a deadline."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import NotRunningError, UnreachableError

Line = dict[str, Any]

DEADLINE_S = 45.0
"""Of one command: CloudWatch Logs reads about 20 MB/s, a day of a busy fleet is 8 MB."""
PERMISSION = "logs:FilterLogEvents"
CHANGES = '($.kind != "hold") && ($.kind != "blind")'
_LATE = timedelta(seconds=10)
"""CloudWatch dates a line when it arrives; what is asked for is when it was decided."""
_MS = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class DecisionsLog:
    """The log group of one environment's scaler."""

    connection: Connection
    logs: Any
    """boto3's client of CloudWatch Logs."""
    clock: Callable[[], float] = time.monotonic
    gives_up_at: float = float("inf")

    @classmethod
    def of(cls, connection: Connection, clock: Callable[[], float] = time.monotonic) -> DecisionsLog:
        """Return the log, to be read within `DEADLINE_S` from now."""
        return cls(connection, connection.client("logs"), clock, clock() + DEADLINE_S)

    @property
    def group(self) -> str:
        """The log group's name."""
        return f"airflow-{self.connection.environment.name}-Scaler"

    def read(self, start: datetime, end: datetime, fleets: Sequence[str], *, changes: bool = False) -> Iterator[Line]:
        """Yield decisions and failed ticks of the fleets from `start` to `end`, in the order of the log.

        Raises:
            NotRunningError: there is no such log group.
            UnreachableError: no answer, or not all of it within the deadline.
            OperateError: AWS refuses.
        """
        asked: dict[str, Any] = {
            "logGroupName": self.group,
            "startTime": (start - _EPOCH) // _MS,
            "endTime": (end + _LATE - _EPOCH) // _MS,
            "filterPattern": _pattern(fleets, changes=changes),
        }
        while True:
            answer = self._page(asked)
            # An emulator may take the pattern for "everything"; other programs may write here too.
            for line in map(_line, answer.get("events", ())):
                if line is not None and line["fleet"] in fleets and start <= moment(line) <= end:
                    yield line
            # A page may be empty and have a next one: the log is searched piece by piece.
            token = answer.get("nextToken")
            if not token or token == asked.get("nextToken"):
                return
            asked["nextToken"] = token

    def _page(self, asked: dict[str, Any]) -> Any:
        if self.clock() >= self.gives_up_at:
            raise UnreachableError(
                f"CloudWatch Logs did not finish within {DEADLINE_S:.0f} s. Ask for another time, or for one --fleet."
            )
        with aws_errors(self.connection, PERMISSION, f"the log group {self.group}"):
            try:
                return self.logs.filter_log_events(**asked)
            except self.logs.exceptions.ResourceNotFoundException:
                raise NotRunningError(_no_group(self.connection, self.group)) from None


def moment(line: Line) -> datetime:
    """Return when a line was decided."""
    return datetime.fromisoformat(line["at"])


def _no_group(connection: Connection, group: str) -> str:
    if connection.local:
        return f"There is no log group {group} on this machine. `openmwaa local up {connection.file}` makes it."
    return (
        f"There is no log group {group} in {connection.place}. `terraform apply` makes it: was it run, and are the "
        "Region and the account the right ones?"
    )


def _pattern(fleets: Sequence[str], *, changes: bool) -> str:
    one = " || ".join(f"($.fleet = {json.dumps(fleet)})" for fleet in fleets)
    events = '($.event = "decision")' if changes else '($.event = "decision" || $.event = "tick_failed")'
    # CloudWatch takes patterns of 1024 characters; what it lets through too much is left out here.
    short = f"{{ {events} && ({one}) }}" if len(one) <= 700 else f"{{ {events} }}"  # noqa: PLR2004
    return short.replace(" }", f" && {CHANGES} }}") if changes else short


def _line(event: Any) -> Line | None:
    try:
        line = json.loads(event["message"])
        if line["event"] not in {"decision", "tick_failed"} or not isinstance(line["fleet"], str):
            return None
        datetime.fromisoformat(line["at"])
    except (ValueError, LookupError, TypeError):
        return None
    return line if isinstance(line, dict) else None
