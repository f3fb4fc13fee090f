# SPDX-License-Identifier: Apache-2.0
"""The rate limit of writes, in virtual time: the rate, the priorities, and the maximum wait."""

import asyncio
from collections.abc import Sequence

import pytest

from scaler.runtime.write_rate_limit import Urgency, WriteRateLimit
from simulation.loop import run
from tests.support.virtual_clock import LoopClock

PROTECT, GROW, SHRINK = Urgency.PROTECT, Urgency.GROW, Urgency.SHRINK


async def served(limit: WriteRateLimit, urgencies: Sequence[Urgency], patience_s: float) -> list[tuple[Urgency, float]]:
    """Request all tokens at once; return the granted urgencies and their times, in order."""
    order: list[tuple[Urgency, float]] = []

    async def acquire(urgency: Urgency) -> None:
        if await limit.take(urgency, patience_s):
            order.append((urgency, asyncio.get_running_loop().time()))

    await asyncio.gather(*(acquire(urgency) for urgency in urgencies))
    return order


def test_a_burst_is_written_at_once_and_the_rest_at_the_rate() -> None:
    async def main() -> list[float]:
        limit = WriteRateLimit(LoopClock(), per_s=5, burst=20)
        return [at for _, at in await served(limit, [GROW] * 30, patience_s=10)]

    times = run(main())
    assert times[:20] == [0.0] * 20
    assert times[20:] == pytest.approx([0.2 * n for n in range(1, 11)], abs=0.02)


def test_protection_goes_before_growth_before_reduction() -> None:
    async def main() -> list[Urgency]:
        limit = WriteRateLimit(LoopClock(), per_s=1, burst=1)
        await limit.take(GROW, 0)
        return [
            urgency for urgency, _ in await served(limit, [SHRINK, GROW, SHRINK, PROTECT, GROW, PROTECT], patience_s=60)
        ]

    assert run(main()) == [PROTECT, PROTECT, GROW, GROW, SHRINK, SHRINK]


def test_a_write_that_would_wait_too_long_is_left_out_and_takes_no_token() -> None:
    async def main() -> tuple[int, int, bool]:
        limit = WriteRateLimit(LoopClock(), per_s=1, burst=1)
        await limit.take(GROW, 0)
        in_time = await served(limit, [GROW] * 10, patience_s=3.5)
        return len(in_time), limit.waiting, await limit.take(GROW, 1.5)

    assert run(main()) == (3, 0, True), "three tokens come in 3.5 s; the seven that gave up use none of the fourth"


def test_a_cancelled_tick_returns_its_token() -> None:
    async def main() -> list[float]:
        limit = WriteRateLimit(LoopClock(), per_s=1, burst=1)
        await limit.take(GROW, 0)
        first = asyncio.create_task(limit.take(PROTECT, 60))
        await asyncio.sleep(0.5)
        first.cancel()
        return [at for _, at in await served(limit, [SHRINK], patience_s=60)]

    assert run(main()) == pytest.approx([1.0], abs=0.01)


@pytest.mark.parametrize(("throttles", "expected"), [(0, 320), (1, 262), (5, 178)])
def test_a_throttle_halves_the_rate_and_the_rate_recovers(throttles: int, expected: int) -> None:
    async def main() -> tuple[int, float]:
        limit = WriteRateLimit(LoopClock(), per_s=5, burst=20)
        for _ in range(throttles):
            limit.on_throttled()
        slowed = limit.rate
        return len(await served(limit, [GROW] * 400, patience_s=60)), slowed

    sent, slowed = run(main())
    assert slowed == pytest.approx(5 * max(0.1, 0.5**throttles))
    assert sent == pytest.approx(expected, abs=4), "half the rate grows back in half a minute"


def test_a_changed_rate_limit_applies_at_once() -> None:
    async def main() -> list[float]:
        limit = WriteRateLimit(LoopClock(), per_s=0.01, burst=1)
        await limit.take(GROW, 0)
        waiting = asyncio.create_task(served(limit, [GROW, GROW], patience_s=10))
        await asyncio.sleep(1)
        limit.resize(per_s=10, burst=5)
        return [at for _, at in await waiting]

    assert run(main()) == pytest.approx([1.1, 1.2], abs=0.02)
