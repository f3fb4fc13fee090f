# SPDX-License-Identifier: Apache-2.0
"""What a Celery consumer holds and runs, counted in its own thread.

`celery.worker.state.reserved_requests` alone is not enough: Celery clears it when the broker connection breaks while
tasks run on. So three witnesses are joined: reserved requests, active requests, and the pool's jobs without a result.
"""

import time
from dataclasses import dataclass
from typing import Any

from celery.worker import state


@dataclass(frozen=True)
class Work:
    """Ids of tasks that are not finished, those of them that run, and since when (seconds) the longest does."""

    unfinished: frozenset[str]
    running: frozenset[str]
    longest_running_s: float | None


def look(consumer: Any) -> Work:
    """Count the work of `consumer`; call it in the consumer's thread."""
    active = list(state.active_requests)
    jobs = _pool_jobs(consumer)
    running = {request.id for request in active} | {job_id for job_id, accepted in jobs if accepted}
    unfinished = running | {request.id for request in state.reserved_requests} | {job_id for job_id, _ in jobs}
    started = [request.time_start for request in active if request.time_start]
    longest = max(time.time() - min(started), 0.0) if started else None
    return Work(frozenset(unfinished), frozenset(running), longest)


def concurrency(consumer: Any) -> int:
    """Return how many tasks `consumer` may run at once."""
    number = getattr(consumer.pool, "num_processes", None) or consumer.controller.concurrency
    return int(number)


def _pool_jobs(consumer: Any) -> list[tuple[str, bool]]:
    # Prefork only (billiard); the other pools have no such cache and run what `active_requests` says.
    cache = getattr(getattr(consumer.pool, "_pool", None), "_cache", None)
    jobs = list(cache.values()) if isinstance(cache, dict) else []
    return [(job.correlation_id or str(id(job)), bool(job._accepted)) for job in jobs]  # noqa: SLF001
