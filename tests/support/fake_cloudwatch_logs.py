# SPDX-License-Identifier: Apache-2.0
"""A fake of boto3's client of CloudWatch Logs that holds decision lines."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError


class NotFoundError(ClientError):
    pass


class FakeCloudWatchLogs:
    """FilterLogEvents over a list of lines: pages of `page` lines, every second page empty, as in AWS."""

    class exceptions:  # noqa: N801
        ResourceNotFoundException = NotFoundError

    def __init__(self, lines: Sequence[dict[str, Any]], page: int = 2) -> None:
        self.lines, self.page = list(lines), page
        self.calls: list[dict[str, Any]] = []
        self.fails: ClientError | None = None

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        self.calls.append(request)
        if self.fails:
            raise self.fails
        dated = [(datetime.fromisoformat(line["at"]).timestamp() * 1000 + 500, line) for line in self.lines]
        within = [line for at, line in dated if request["startTime"] <= at <= request["endTime"]]
        turn = int(request.get("nextToken", "0"))
        first, empty = turn // 2 * self.page, turn % 2 == 0
        rows = [] if empty else within[first : first + self.page]
        page: dict[str, Any] = {"events": [{"message": json.dumps(row), "timestamp": 0} for row in rows]}
        if empty or first + self.page < len(within):
            page["nextToken"] = str(turn + 1)
        return page
