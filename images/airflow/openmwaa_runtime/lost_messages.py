# SPDX-License-Identifier: Apache-2.0
"""Queues a task again whose message the broker has lost. Runs in the scheduler.

Airflow does so after `task_queued_timeout`, which is an hour here, since it is also the lifetime of the token in the
message. Until then workers are idle and the task waits. A queue that has been empty for two minutes has no message of a
task that was queued before, so the task is set back to `scheduled` and keeps its try.

A second message does no harm if a worker still starts the task from the first one: the execution API accepts a task
once, and the worker ignores the refusal. With Redis, messages in flight are those of all queues together.

Airflow counts how often a task has been queued for too long, and fails it at the third time. While an environment
sleeps, no worker can start a task: one that was queued before this scheduler started is queued again without counting.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

logger = logging.getLogger(__name__)

EMPTY_FOR_S: Final = 120.0
"""SQS's counts are exact about a minute after the last message. The scheduler checks every 30 s."""
KNOWN_GAP_S: Final = 90.0
"""A longer pause between two readings starts the time again."""
TIMEOUT_S: Final = 2
MOST_TIMES: Final = 3
"""For each try; then Airflow's own timeout applies."""
EVENT: Final = "openmwaa: message lost"
_SEPARATOR: Final = "\x06\x16"
_COUNTS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass
class EmptyQueues:
    """Since when each queue is known to be empty. Times are seconds of a monotonic clock."""

    messages: Callable[[str], int]
    """The messages of a queue in any state; an error if they are not known."""
    clock: Callable[[], float] = time.monotonic
    _since: dict[str, tuple[float, float]] = field(default_factory=dict)

    def empty_for(self, queues: Iterable[str]) -> Mapping[str, float]:
        """Read the queues; return those that have been empty for long enough, and for how many seconds."""
        found = {}
        for queue in queues:
            now, known = self.clock(), self._since.pop(queue, None)
            try:
                empty = self.messages(queue) == 0
            except Exception as error:  # noqa: BLE001 - unknown is never zero
                logger.warning("the messages of queue %s are unknown: %s", queue, error)
                continue
            if not empty:
                continue
            first = known[0] if known and now - known[1] <= KNOWN_GAP_S else now
            self._since[queue] = (first, now)
            if now - first >= EMPTY_FOR_S:
                found[queue] = now - first
        return found


def messages_in_sqs(sqs: Any, urls: Mapping[str, str]) -> Callable[[str], int]:
    """Return the function that reads the number of messages of a queue."""

    def read(queue: str) -> int:
        answer = sqs.get_queue_attributes(QueueUrl=urls[queue], AttributeNames=list(_COUNTS))
        return sum(int(answer["Attributes"][name]) for name in _COUNTS)

    return read


def messages_in_redis(redis: Any) -> Callable[[str], int]:
    """Return the function that reads the number of messages of a queue; those in flight are of all queues.

    kombu has a list for each priority step, and one hash for what workers have received and not acknowledged.
    """

    def read(queue: str) -> int:
        waiting = sum(int(redis.llen(name)) for name in (queue, *(f"{queue}{_SEPARATOR}{step}" for step in (3, 6, 9))))
        return waiting + int(redis.hlen("unacked"))

    return read


def lost(queued: Iterable[Any], empty_for: Mapping[str, float], now: datetime) -> list[Any]:
    """Return the task instances that were queued before their queue was first seen empty."""
    return [
        task
        for task in queued
        if task.queue in empty_for and now - task.queued_dttm > timedelta(seconds=empty_for[task.queue])
    ]


def install(environ: Mapping[str, str]) -> None:
    """Check for lost messages whenever the scheduler checks for tasks that are queued too long."""
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner  # noqa: PLC0415 - only the scheduler needs it

    queues = EmptyQueues(_broker(json.loads(environ.get("OPENMWAA_QUEUES") or "{}")))
    check = SchedulerJobRunner._handle_tasks_stuck_in_queued  # noqa: SLF001
    started = datetime.now(UTC)

    def check_and_queue_again(self: Any, **arguments: Any) -> None:
        try:
            _queue_older_again(self, started)
            _queue_again(self, queues)
        except Exception:  # the scheduler continues without it
            logger.exception("lost messages could not be looked for")
        check(self, **arguments)

    SchedulerJobRunner._handle_tasks_stuck_in_queued = check_and_queue_again  # noqa: SLF001


def _broker(urls: Mapping[str, str]) -> Callable[[str], int]:
    if not urls:
        from airflow.configuration import conf  # noqa: PLC0415
        from redis import Redis  # noqa: PLC0415

        url = conf.get("celery", "broker_url")
        return messages_in_redis(Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S))
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    bounded = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 1})
    return messages_in_sqs(boto3.client("sqs", config=bounded), urls)


def _queue_older_again(runner: Any, started: datetime) -> None:
    """Queue the tasks again that are queued for too long, and since before this scheduler started."""
    from airflow.utils.session import create_session  # noqa: PLC0415

    with create_session() as session:
        found = [task for task in runner._get_tis_stuck_in_queued(session) if task.queued_dttm < started]  # noqa: SLF001
        for executor, tasks in _by_executor(runner, found, session).items():
            for task in tasks:
                logger.warning("%s was queued before this scheduler started: it is queued again", task)
                executor.revoke_task(ti=task)
                runner._reschedule_stuck_task(task, session=session)  # noqa: SLF001


def _by_executor(runner: Any, tasks: Any, session: Any) -> Mapping[Any, list[Any]]:
    group = getattr(runner, "_executor_to_workloads", None)
    if group is None:  # Airflow 2
        return runner._executor_to_tis(tasks)  # type: ignore[no-any-return] # noqa: SLF001
    return group(tasks, session)  # type: ignore[no-any-return]


def _queue_again(runner: Any, queues: EmptyQueues) -> None:
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    mine = (TaskInstance.state == "queued", TaskInstance.queued_by_job_id == runner.job.id)
    with create_session() as session:
        waiting = set(session.scalars(select(TaskInstance.queue).where(*mine).distinct()))
        empty_for = queues.empty_for(sorted(waiting))
        if not empty_for:
            return  # a backlog can be long: its tasks are not read
        found = select(TaskInstance).where(*mine, TaskInstance.queue.in_(list(empty_for)))
        # Locked, so that the execution API cannot start a task between this reading and its new state.
        queued = session.scalars(found.with_for_update(of=TaskInstance, skip_locked=True))
        by_executor = _by_executor(runner, lost(queued, empty_for, datetime.now(UTC)), session)
        for executor, tasks in by_executor.items():
            for task in tasks:
                _queue_one_again(runner, executor, task, empty_for[task.queue], session)


def _queue_one_again(runner: Any, executor: Any, task: Any, empty_s: float, session: Any) -> None:
    from airflow.models.log import Log  # noqa: PLC0415
    from sqlalchemy import func, select  # noqa: PLC0415

    key = ("dag_id", "task_id", "run_id", "map_index", "try_number")
    same = (getattr(Log, name) == getattr(task, name) for name in key)
    if session.scalar(select(func.count()).select_from(Log).where(*same, Log.event == EVENT)) >= MOST_TIMES:
        return
    logger.warning("the broker has no message of %s: it is queued again", task)
    session.add(Log(event=EVENT, task_instance=task.key, extra=f"Its queue has been empty for {empty_s:.0f} s."))
    executor.revoke_task(ti=task)
    runner._reschedule_stuck_task(task, session=session)  # noqa: SLF001
