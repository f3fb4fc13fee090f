# SPDX-License-Identifier: Apache-2.0
"""Celery's configuration (`[celery] celery_config_options`): the provider's defaults, and the worker agent in workers.

The scheduler imports this module too, because it sends messages. It does not load the agent; it gets `lost_worker` and
`lost_messages`.
"""

import importlib
import os
import sys
from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from celery.signals import worker_process_shutdown

from openmwaa_runtime import (
    ack_on_start,
    graceful_stop,
    lost_messages,
    lost_worker,
    secrets_backend,
    waiting_tasks,
)
from openmwaa_runtime.release import installed_release
from openmwaa_runtime.task_logs import worker_secrets

CELERY_CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    # Celery's default for the start of a pool process is 4 s. Five forks on a busy host have taken longer.
    "worker_proc_alive_timeout": 60.0,
}


def _send_logs(**_: Any) -> None:
    installed_release().hooks.send_logs()


if sys.argv[1:3] == ["celery", "worker"]:
    # Imported by name: the agent is a separate package that plain Celery workers use too.
    importlib.import_module("worker_agent").install(on_sigterm=graceful_stop.install())
    ack_on_start.install()
    installed_release().hooks.prepare()
    worker_secrets.remove(os.environ)  # Celery's configuration, above, has them
    worker_process_shutdown.connect(_send_logs, weak=False, dispatch_uid="openmwaa-task-logs")
    secrets_backend.install_in_worker()
elif sys.argv[1:2] == ["scheduler"]:
    lost_worker.install_in_scheduler()
    lost_messages.install(os.environ)
    waiting_tasks.install()
