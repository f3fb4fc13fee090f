# SPDX-License-Identifier: Apache-2.0
"""Deletes a message when Airflow has started its task, neither earlier nor later.

Celery's early acknowledgement deletes it when a pool process takes it. If the worker dies before the execution API has
registered the task, the task stays `queued` for `task_queued_timeout`, an hour. Late acknowledgement deletes it when
the task has ended. Then every task that takes longer than the visibility timeout is delivered again. So the pool
process reports through a pipe that the execution API accepted the task, and the worker's main process then deletes the
message.

During an outage of the API no task can start. After `LATEST_S`, which is well below the visibility timeout, the message
is deleted in any case, so that no second worker receives it while the first one still tries.

A message with an expired token is dropped and not reported as a failure. SQS may deliver a message twice, and Airflow
would count the failure against the task that may still run from the first delivery. The scheduler queues a task that is
still `queued` by then again, with a new token.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from openmwaa_runtime.release import installed_release

logger = logging.getLogger(__name__)

LATEST_S: Final = 240.0
"""The queues' visibility timeout is 300 s."""
READ_EVERY_S: Final = 0.25
PIPE_BYTES: Final = 65536
_UID: Final = "openmwaa-ack-on-start"


class StartPipe:
    """The pipe on which pool processes report started tasks to the main process, which acknowledges their messages."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._incomplete = b""

    def report(self, task_id: str) -> None:
        """Report that a task has started. Call it in a pool process."""
        try:
            os.write(self._write, task_id.encode() + b"\n")  # an atomic write: shorter than PIPE_BUF
        except OSError:
            logger.warning("the start of task %s could not be reported to the worker's main process", task_id)

    def read(self) -> list[str]:
        """Return the ids of the tasks that have started since the last call."""
        try:
            *lines, self._incomplete = (self._incomplete + os.read(self._read, PIPE_BYTES)).split(b"\n")
        except BlockingIOError:
            return []
        return [line.decode() for line in lines]

    def acknowledge(self, requests: Mapping[str, Any]) -> None:
        """Delete the messages of those `requests` (by task id) that have started or are older than `LATEST_S`."""
        for task_id in self.read():
            if task_id in requests:
                requests[task_id].acknowledge()
        for request in list(requests.values()):
            if request.time_start and self._wall() - request.time_start > LATEST_S:
                request.acknowledge()


def install() -> None:
    """Acknowledge messages when their tasks start. Call it before the worker forks its pool."""
    from celery.signals import worker_init  # noqa: PLC0415 - only workers need Celery here

    worker_init.connect(_on_worker_init, weak=False, dispatch_uid=_UID)


def _on_worker_init(sender: Any = None, **_: Any) -> None:
    from celery import current_task  # noqa: PLC0415
    from celery.signals import worker_ready  # noqa: PLC0415

    hooks = installed_release().hooks
    task = sender.app.tasks.get(hooks.CELERY_TASK)
    if task is None or task.acks_late:
        return  # the user configured late acknowledgement
    pipe = StartPipe()
    if not hooks.watch_airflow(lambda: pipe.report(str(current_task.request.id))):
        logger.warning(
            "this version of Airflow does not report started tasks: messages are deleted when a pool process takes them"
        )
        return
    task.acks_late = True  # Celery deletes the remaining messages at the end of their tasks

    def on_ready(sender: Any = None, **_: Any) -> None:  # for each broker connection: each one has its own timers
        from celery.worker import state  # noqa: PLC0415

        sender.timer.call_repeatedly(READ_EVERY_S, pipe.acknowledge, (state.requests,))

    worker_ready.connect(on_ready, weak=False, dispatch_uid=_UID)
