# SPDX-License-Identifier: Apache-2.0
"""Two corrections of Airflow's task logs in CloudWatch, for the prefork pool of a Celery worker.

The worker's main process creates Airflow's CloudWatch handler with a connection before it forks. Then all pool
processes write to the same connection at the same time. Measured effects: requests refused as `Invalid JSON`, answers
to requests of another process, and slots occupied for 30 s by a flush whose answer another process read. So each
process has to start with its own connection.

The handler (watchtower) has a thread and a queue for each log stream until it is closed, and Airflow closes it at the
end of the process only. A pool process has one stream for each task: 20 tasks, 20 threads. So each thread has to end
with its task.
"""

from typing import Any


def install() -> None:
    """Connect both corrections to Celery's signals. Call it in a worker's main process."""
    from celery.signals import task_postrun, worker_process_init  # noqa: PLC0415 - only workers need Celery here

    worker_process_init.connect(close_inherited_connection, weak=False, dispatch_uid="openmwaa-log-connection")
    task_postrun.connect(end_streams, weak=False, dispatch_uid="openmwaa-log-streams")


def close_inherited_connection(**_: Any) -> None:
    """Close this process's copies of the sockets. botocore opens new ones at the next request."""
    close = getattr(getattr(_handler(), "cwl_client", None), "close", None)
    if close is not None:
        close()


def end_streams(**_: Any) -> None:
    """End the thread of each log stream. Airflow has flushed them all before the Celery task ends."""
    end_streams_of(_handler())


def end_streams_of(handler: Any) -> None:
    """End every stream of a watchtower handler. Other handlers do not change."""
    queues, end = getattr(handler, "queues", None), getattr(handler, "END", None)
    if not isinstance(queues, dict) or end is None:
        return
    for name in list(queues):
        queues.pop(name).put(end)
        handler.sequence_tokens.pop(name, None)
    handler.threads[:] = [thread for thread in handler.threads if thread.is_alive()]


def _handler() -> Any:
    """The CloudWatch handler of this process; None if task logs have another destination."""
    from airflow.sdk.log import load_remote_log_handler  # noqa: PLC0415 - Airflow is imported when a signal fires

    return getattr(load_remote_log_handler(), "_cached_handler", None)
