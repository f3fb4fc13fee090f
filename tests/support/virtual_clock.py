# SPDX-License-Identifier: Apache-2.0
"""The port `ClockPort` on the time of the running loop, which is virtual in tests."""

import asyncio
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class LoopClock:
    """Monotonic and wall time of the loop."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())
