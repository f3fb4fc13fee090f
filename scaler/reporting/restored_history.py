# SPDX-License-Identifier: Apache-2.0
"""The history from before the start of this process, read from its log: newest hours first, in the background.

A failure is no reason to stop: the page shows since when the history is known, and why not longer.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from scaler.errors import DeadlineError, SourceError
from scaler.ports import ClockPort, LogSource, rfc3339
from scaler.reporting.decision_log import DecisionLog
from scaler.reporting.explanation import LINE_VERSION
from scaler.reporting.history import HOURS, History

WINDOW = timedelta(hours=1)
LATE = timedelta(minutes=1)
"""CloudWatch dates a line by its arrival."""
PAUSE_S = 0.25
"""Between two pages: AWS allows 5 FilterLogEvents a second, at least, for an account and Region."""
ATTEMPTS, RETRY_S = 5, 20.0
DEADLINE_S = 300.0
"""With 1 MB a page and the pause: at most about 1 GB. A day of one fleet is 2 to 8 MB."""


@dataclass(eq=False)
class RestoredHistory:
    """Reads the present day, and at least the hours of the plot."""

    log: DecisionLog
    source: LogSource
    clock: ClockPort
    fleets: Callable[[], Collection[str]]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self) -> None:
        """Read until all is known, until the deadline, or until the last attempt."""
        end, failures = self.clock.wall(), 0
        since = min(end - timedelta(hours=HOURS), end.replace(hour=0, minute=0, second=0, microsecond=0))
        deadline = self.clock.monotonic() + DEADLINE_S
        self.log.history_known(end, "reading")
        while end > since:
            start = max(since, end - WINDOW)
            try:
                self.log.restored(await self._window(start, end, deadline))
            except Exception as error:  # noqa: BLE001  history must never stop the scaler
                failures += 1
                if failures == ATTEMPTS or self.clock.monotonic() >= deadline:
                    reason = str(error) if isinstance(error, SourceError) else f"{type(error).__name__}: {error}"
                    self.log.event("history_not_read", before=rfc3339(end), error=reason)
                    return self.log.history_known(end, "failed", reason)
                await self.sleep(RETRY_S)
            else:
                end = start
                self.log.history_known(end, "reading")
        return self.log.history_known(since, "read")

    async def _window(self, start: datetime, end: datetime, deadline: float) -> dict[str, History]:
        older: dict[str, History] = {}
        async for messages in self.source.decisions(start, end + LATE):
            # In a thread: a page of 1 MB must not delay a tick.
            lines = await asyncio.to_thread(lambda page: [found for text in page for found in _line(text)], messages)
            fleets = self.fleets()
            for at, line in lines:
                if start <= at < end and line["fleet"] in fleets:
                    older.setdefault(line["fleet"], self.log.older(line["fleet"])).restore(at, line)
            if self.clock.monotonic() >= deadline:
                raise DeadlineError("logs", f"not finished within {DEADLINE_S:.0f} s")
            await self.sleep(PAUSE_S)
        return older


def _line(message: str) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Yield a decision line of this version; other programs may write to the log group, and a long line is cut."""
    try:
        line = json.loads(message)
        if line["event"] == "decision" and line["version"] == LINE_VERSION and isinstance(line["fleet"], str):
            yield datetime.fromisoformat(line["at"]).astimezone(UTC), line
    except (ValueError, LookupError, TypeError):
        return
