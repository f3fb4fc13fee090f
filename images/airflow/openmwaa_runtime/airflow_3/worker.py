# SPDX-License-Identifier: Apache-2.0
"""The changes to Airflow 3 in a worker; `airflow_2.worker` has the same functions for Airflow 2.

A pool process runs Airflow's supervisor, which starts the task and reports its state to the execution API.
"""

import base64
import binascii
import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final

logger = logging.getLogger(__name__)

CELERY_TASK: Final = "execute_workload"
FORBIDDEN: Final = 403


def watch_airflow(on_start: Callable[[], None]) -> bool:
    """Make Airflow's supervisor call `on_start` after the API accepted a task; False if that is not possible."""
    try:
        from airflow.sdk.exceptions import TaskAlreadyRunningError  # noqa: PLC0415
        from airflow.sdk.execution_time.supervisor import ActivitySubprocess  # noqa: PLC0415

        start_task = ActivitySubprocess._on_child_started  # noqa: SLF001
    except (ImportError, AttributeError):
        return False

    def on_child_started(self: Any, **arguments: Any) -> None:
        try:
            start_task(self, **arguments)
        except Exception as error:
            if refused_for_age(error, self.client, time.time()):
                # The executor ignores this exception and records no result.
                logger.warning("the token in a message has expired: the message is dropped, the task is not changed")
                raise TaskAlreadyRunningError("the token in the message has expired") from error
            raise
        on_start()

    ActivitySubprocess._on_child_started = on_child_started  # noqa: SLF001
    return True


def refused_for_age(error: Exception, client: Any, now: float) -> bool:
    """Whether the API refused an expired token. Any other refusal is a real failure."""
    if getattr(getattr(error, "response", None), "status_code", None) != FORBIDDEN:
        return False
    expires = expiry(str(getattr(getattr(client, "auth", None), "token", "")))
    return expires is not None and expires <= now


def expiry(token: str) -> float | None:
    """The expiry of a JSON Web Token (seconds since the epoch), not verified. None if it has none."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None


def keep_lost_tasks(is_stopping: Callable[[], bool]) -> None:
    """Let the scheduler decide about tasks without retries that end while the worker is being stopped."""
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415 - only workers need it
    from airflow.sdk.execution_time.supervisor import ActivitySubprocess, TaskInstanceState  # noqa: PLC0415

    find_state = ActivitySubprocess.final_state.fget
    fail = task_runner._handle_current_task_failed  # noqa: SLF001

    def final_state(self: Any) -> Any:
        state = find_state(self)
        is_lost = state == TaskInstanceState.FAILED and self._exit_code != 0 and is_stopping()
        return TaskInstanceState.UP_FOR_RETRY if is_lost else state  # Airflow reports this state in another place

    def handle_current_task_failed(task_instance: Any, *arguments: Any) -> Any:
        server = task_instance._ti_context_from_server  # noqa: SLF001
        if is_stopping() and not (server and server.should_retry):
            raise SystemExit(1)  # without a report, and without the callback of a failure
        return fail(task_instance, *arguments)

    ActivitySubprocess.final_state = property(final_state)
    task_runner._handle_current_task_failed = handle_current_task_failed  # noqa: SLF001


def prepare() -> None:
    """Do nothing before the pool forks."""


def send_logs() -> None:
    """Send the logs of a pool process that ends."""
    from airflow.sdk.log import load_remote_log_handler  # noqa: PLC0415 - only workers need it

    writer = getattr(load_remote_log_handler(), "writer", None)
    if writer is not None:
        writer.drain()
