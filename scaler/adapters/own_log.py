# SPDX-License-Identifier: Apache-2.0
"""The scaler's own log in CloudWatch Logs, which has the decisions from before its start."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from scaler.adapters.aws import aws_call

SOURCE = "logs"
READ_TIMEOUT_S = 10.0
"""For one page: CloudWatch Logs searches up to 1 MB of lines, and more where few lines match."""


class OwnLog:
    """The port `LogSource`."""

    def __init__(self, client: Any, group: str, *, deadline_s: float = 2 * READ_TIMEOUT_S) -> None:
        self._client = client
        self._group = group
        self._deadline_s = deadline_s

    async def decisions(self, start: datetime, end: datetime) -> AsyncIterator[Sequence[str]]:
        """Yield pages of the decision lines from `start` to `end`, oldest first."""
        request: dict[str, Any] = {
            "logGroupName": self._group,
            "startTime": int(start.timestamp() * 1000),
            "endTime": int(end.timestamp() * 1000),
            "filterPattern": '{ $.event = "decision" }',
        }
        while True:
            async with aws_call(SOURCE, self._deadline_s):
                answer = await self._client.filter_log_events(**request)
                messages = [event["message"] for event in answer.get("events", ())]
            yield messages
            # An empty page can have a next page.
            if answer.get("nextToken") in {None, request.get("nextToken")}:
                return
            request["nextToken"] = answer["nextToken"]
