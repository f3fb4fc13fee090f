# SPDX-License-Identifier: Apache-2.0
"""A container's health check: the command, how often, and what its results mean. Docker's rules, as ECS has them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from local_ecs.runtime.api import Health
from local_ecs.runtime.plan import HealthCheck

FIRST_PROBES_S = 1.0
FIRST_PROBES_SHARE = 0.1
"""Until a container is healthy it is probed this often, or every tenth of its interval where that is longer: nobody
waits 30 s for what is ready after 3, and the first probes of a whole control plane leave it the CPU to start.

Early failures are counted only as often as ECS would have probed, so nothing becomes unhealthy sooner than there."""


@dataclass
class HealthRecord:
    """Turns probe results into a health; times are seconds since the container started."""

    check: HealthCheck
    health: Health = "UNKNOWN"
    _failures: int = 0
    _counted_at: float = 0.0

    def record(self, *, passed: bool, at: float) -> Health:
        """The health after one more result."""
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
        """Until the next probe."""
        if self.health == "HEALTHY":
            return self.check.interval_s
        return min(self.check.interval_s, max(FIRST_PROBES_S, self.check.interval_s * FIRST_PROBES_SHARE))


async def watch(
    check: HealthCheck, probe: Callable[[HealthCheck], Awaitable[bool]], on_change: Callable[[Health], None]
) -> None:
    """Probe until cancelled and tell each change of health."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    record = HealthRecord(check)
    while True:
        await asyncio.sleep(record.pause_s())
        before = record.health
        passed = await probe(check)
        if record.record(passed=passed, at=loop.time() - started) != before:
            on_change(record.health)
