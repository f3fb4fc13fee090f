# SPDX-License-Identifier: Apache-2.0
"""Celery's configuration (`[celery] celery_config_options`): the provider's own, and the worker agent in workers.

The scheduler imports this module too, to send. There the agent is not even loaded.
"""

import importlib
import sys
from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

from openmwaa_runtime import ack_on_start, graceful_stop, task_logs

CELERY_CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    # Celery gives a pool process 4 s to say that it is up; forking five beside a busy neighbour has taken longer.
    "worker_proc_alive_timeout": 60.0,
}


def is_worker(words: list[str]) -> bool:
    """Whether this process is `airflow celery worker …`."""
    return words[1:3] == ["celery", "worker"]


if is_worker(sys.argv):
    # By name, for the agent is a package that plain Celery workers install too: neither imports the other.
    importlib.import_module("worker_agent").install(on_sigterm=graceful_stop.install())
    ack_on_start.install()
    task_logs.install()
