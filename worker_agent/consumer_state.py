# SPDX-License-Identifier: Apache-2.0
"""Which tasks a Celery consumer has reserved and runs. Read it in the consumer's thread.

`celery.worker.state.reserved_requests` alone is not enough: Celery clears it when the broker connection breaks, while
the tasks continue. So three sources are combined: reserved requests, active requests, and pool jobs without a result.
"""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from celery.worker import state
from celery.worker.request import Request


@dataclass(frozen=True)
class ConsumerState:
    """Ids of the unfinished tasks and of the running ones, and for how long (seconds) the oldest task runs."""

    unfinished: frozenset[str]
    running: frozenset[str]
    longest_running_s: float | None


def read_consumer_state(consumer: Any) -> ConsumerState:
    """Return the tasks of `consumer`. Call it in the consumer's thread."""
    active = _copy(state.active_requests)
    jobs = _pool_jobs(consumer)
    running = {request.id for request in active} | {job_id for job_id, accepted in jobs if accepted}
    unfinished = running | {request.id for request in _copy(state.reserved_requests)} | {job_id for job_id, _ in jobs}
    started = [request.time_start for request in active if request.time_start]
    longest = max(time.time() - min(started), 0.0) if started else None
    return ConsumerState(frozenset(unfinished), frozenset(running), longest)


def concurrency(consumer: Any) -> int:
    """Return how many tasks `consumer` can run at the same time: with --autoscale its maximum."""
    if (autoscaler := consumer.controller.autoscaler) is not None:
        return int(autoscaler.max_concurrency)
    number = getattr(consumer.pool, "num_processes", None) or consumer.controller.concurrency
    return int(number)


def _copy(requests: Iterable[Any]) -> list[Any]:
    while True:
        # The threads of --pool=threads change Celery's sets in the meantime.
        with contextlib.suppress(RuntimeError):
            return list(requests)


def scheduled(consumer: Any) -> frozenset[str]:
    """Return the ids of the tasks that Celery holds until their ETA or countdown; ten thousand take 30 ms."""
    # As `celery inspect scheduled` does: the timer's first argument is the request.
    entries = [waiting.entry for waiting in consumer.timer.schedule.queue]
    return frozenset(
        entry.args[0].id
        for entry in entries
        if not entry.canceled and entry.args and isinstance(entry.args[0], Request)
    )


def _pool_jobs(consumer: Any) -> list[tuple[str, bool]]:
    # Prefork (billiard) only. Other pools have no such cache; for them `active_requests` is complete.
    cache = getattr(getattr(consumer.pool, "_pool", None), "_cache", None)
    jobs = list(cache.values()) if isinstance(cache, dict) else []
    return [(job.correlation_id or str(id(job)), bool(job._accepted)) for job in jobs]  # noqa: SLF001
