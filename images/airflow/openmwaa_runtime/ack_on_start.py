# SPDX-License-Identifier: Apache-2.0
"""A message is deleted when Airflow has begun its task, neither earlier nor later.

Earlier (Celery's early acknowledgement: when a pool process takes it) a worker that dies before the execution API
knows of the task leaves it `queued` for a whole `task_queued_timeout`, an hour. Later (late acknowledgement: when the
task has ended) every task that outlives the visibility timeout is delivered again. So the pool process says through a
pipe that the execution API took the task, and the worker's main process deletes the message then.

While the API is away nothing can begin; after `LATEST_S`, well below the visibility timeout, the message is deleted
all the same: it is never delivered to another worker while the first one tries.

And a message whose token has expired is dropped instead of reported as a failure. SQS may deliver any message twice;
the failure would be taken for that of the task, which may be running healthily from the first delivery. Whatever is
still `queued` after that long is handed out again by the scheduler, with a token that lives.
"""

import base64
import binascii
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

logger = logging.getLogger(__name__)

LATEST_S: Final = 240.0
"""The queues' visibility timeout is 300 s."""
LOOK_EVERY_S: Final = 0.25
PIPE_BYTES: Final = 65536
FORBIDDEN: Final = 403
_UID: Final = "openmwaa-beginnings"


class Beginnings:
    """The pipe from the pool processes to the main process, and what is done with what comes out of it."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""

    def say(self, task_id: str) -> None:
        """Tell the main process that a task has begun; called in a pool process."""
        try:
            os.write(self._write, task_id.encode() + b"\n")  # short enough to be written whole or not at all
        except OSError:
            logger.warning("%s has begun, which the worker's main process will not hear", task_id)

    def heard(self) -> list[str]:
        """Return the ids of the tasks that have begun since the last time."""
        try:
            *lines, self._rest = (self._rest + os.read(self._read, PIPE_BYTES)).split(b"\n")
        except BlockingIOError:
            return []
        return [line.decode() for line in lines]

    def acknowledge(self, requests: Mapping[str, Any]) -> None:
        """Delete the messages of requests (by task id) that have begun, or have tried for too long."""
        for task_id in self.heard():
            if task_id in requests:
                requests[task_id].acknowledge()
        for request in list(requests.values()):
            if request.time_start and self._wall() - request.time_start > LATEST_S:
                request.acknowledge()


def install() -> None:
    """Have this worker acknowledge at the beginning; must be called before its pool is forked."""
    from celery.signals import worker_init  # noqa: PLC0415 - only workers need Celery here

    worker_init.connect(_on_worker_init, weak=False, dispatch_uid=_UID)


def _on_worker_init(sender: Any = None, **_: Any) -> None:
    from celery import current_task  # noqa: PLC0415
    from celery.signals import worker_ready  # noqa: PLC0415

    task = sender.app.tasks.get("execute_workload")
    if task is None or task.acks_late:
        return  # the user asked for late acknowledgement
    beginnings = Beginnings()
    if not watch_airflow(lambda: beginnings.say(str(current_task.request.id))):
        logger.warning("this Airflow cannot say that a task has begun: messages are deleted when a process takes them")
        return
    task.acks_late = True  # Celery deletes at the end what is not deleted by then

    def on_ready(sender: Any = None, **_: Any) -> None:  # for every connection to the broker, which has its own timers
        from celery.worker import state  # noqa: PLC0415

        sender.timer.call_repeatedly(LOOK_EVERY_S, beginnings.acknowledge, (state.requests,))

    worker_ready.connect(on_ready, weak=False, dispatch_uid=_UID)


def watch_airflow(begun: Callable[[], None]) -> bool:
    """Have Airflow's supervisor call `begun` when the API took a task; False if this Airflow has no such place."""
    try:
        from airflow.sdk.exceptions import TaskAlreadyRunningError  # noqa: PLC0415
        from airflow.sdk.execution_time.supervisor import ActivitySubprocess  # noqa: PLC0415

        tell_api = ActivitySubprocess._on_child_started  # noqa: SLF001
    except (ImportError, AttributeError):
        return False

    def on_child_started(self: Any, **arguments: Any) -> None:
        try:
            tell_api(self, **arguments)
        except Exception as error:
            if refused_for_age(error, self.client, time.time()):
                # The executor takes this very exception for "not my business", and records nothing.
                logger.warning("the token in a message has expired: the message is dropped, the task is left as it is")
                raise TaskAlreadyRunningError("the token in the message has expired") from error
            raise
        begun()

    ActivitySubprocess._on_child_started = on_child_started  # noqa: SLF001
    return True


def refused_for_age(error: Exception, client: Any, now: float) -> bool:
    """Whether the API refused a token that has in fact expired; any other refusal is a failure to be seen."""
    if getattr(getattr(error, "response", None), "status_code", None) != FORBIDDEN:
        return False
    expires = expiry(str(getattr(getattr(client, "auth", None), "token", "")))
    return expires is not None and expires <= now


def expiry(token: str) -> float | None:
    """When a JSON Web Token expires (seconds since the epoch), unverified; None if it does not say."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None
