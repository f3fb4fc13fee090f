# SPDX-License-Identifier: Apache-2.0
"""The machine's clocks."""

import time
from datetime import UTC, datetime


class ScalerClock:
    """The port `ClockPort`."""

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()

    def wall(self) -> datetime:
        """Return the time of day in UTC."""
        return datetime.now(UTC)
