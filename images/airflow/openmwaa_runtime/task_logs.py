# SPDX-License-Identifier: Apache-2.0
"""Two repairs of task logs on the way to CloudWatch, for the prefork pool of a Celery worker.

The worker's main process makes Airflow's CloudWatch handler before it forks, and with it a connection. All pool
processes then write to that one connection at once: seen were requests refused as `Invalid JSON`, answers to another's
request, and slots held for 30 s by a flush that waits for an answer a neighbour took. Each process must begin with a
connection of its own.

The handler (watchtower) keeps a thread and a queue for each log stream until it is closed, which Airflow only does at
the end of a process. A pool process serves a stream a task: 20 tasks, 20 threads. They must end with their task.
"""

from typing import Any


def install() -> None:
    """Connect both repairs to Celery's signals; call it in a worker's main process."""
    from celery.signals import task_postrun, worker_process_init  # noqa: PLC0415 - only workers need Celery here

    worker_process_init.connect(forget_inherited_connection, weak=False, dispatch_uid="openmwaa-log-connection")
    task_postrun.connect(end_streams, weak=False, dispatch_uid="openmwaa-log-streams")


def forget_inherited_connection(**_: Any) -> None:
    """Close this process's copies of the sockets; botocore opens new ones at the next request."""
    close = getattr(getattr(_handler(), "cwl_client", None), "close", None)
    if close is not None:
        close()


def end_streams(**_: Any) -> None:
    """End the thread of each log stream; Airflow has flushed them all before the Celery task ends."""
    end_streams_of(_handler())


def end_streams_of(handler: Any) -> None:
    """End every stream of a watchtower handler; anything else is left alone."""
    queues, end = getattr(handler, "queues", None), getattr(handler, "END", None)
    if not isinstance(queues, dict) or end is None:
        return
    for name in list(queues):
        queues.pop(name).put(end)
        handler.sequence_tokens.pop(name, None)
    handler.threads[:] = [thread for thread in handler.threads if thread.is_alive()]


def _handler() -> Any:
    """The live CloudWatch handler; None where task logs go elsewhere."""
    from airflow.sdk.log import load_remote_log_handler  # noqa: PLC0415 - Airflow is there when a signal fires

    return getattr(load_remote_log_handler(), "_cached_handler", None)
