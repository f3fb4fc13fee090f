# SPDX-License-Identifier: Apache-2.0
"""Container health checks: when they run and how results become a health, by Docker's rules, as in ECS."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from local_ecs.runtime.api import Health
from local_ecs.runtime.container_plan import HealthCheck

FIRST_PROBES_S = 1.0
FIRST_PROBES_SHARE = 0.1
"""Until a container is healthy, the check runs every second or every tenth of its interval, whichever is longer. So a
container that is ready after 3 s is healthy long before ECS's 30 s, and early checks leave CPU time for the start.

Early failures count only as often as ECS would check, so a container becomes unhealthy no sooner than in ECS."""


@dataclass
class HealthRecord:
    """Converts check results to a health. Times are seconds since the start of the container."""

    check: HealthCheck
    health: Health = "UNKNOWN"
    _failures: int = 0
    _counted_at: float = 0.0

    def record(self, *, passed: bool, at: float) -> Health:
        """Add a result and return the health."""
        if passed:
            self._failures = 0
            self.health = "HEALTHY"
        elif at >= self.check.start_period_s or self.health == "HEALTHY":
            if at - self._counted_at >= self.check.interval_s or self.health == "HEALTHY":
                self._failures += 1
                self._counted_at = at
            if self._failures >= self.check.retries:
                self.health = "UNHEALTHY"
        return self.health

    def pause_s(self) -> float:
        """The time until the next check."""
        if self.health == "HEALTHY":
            return self.check.interval_s
        return min(self.check.interval_s, max(FIRST_PROBES_S, self.check.interval_s * FIRST_PROBES_SHARE))


async def watch(
    check: HealthCheck, probe: Callable[[HealthCheck], Awaitable[bool]], on_change: Callable[[Health], None]
) -> None:
    """Run the check until cancelled and report each change of health."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    record = HealthRecord(check)
    while True:
        await asyncio.sleep(record.pause_s())
        before = record.health
        passed = await probe(check)
        if record.record(passed=passed, at=loop.time() - started) != before:
            on_change(record.health)
