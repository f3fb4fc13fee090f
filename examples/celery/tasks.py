# SPDX-License-Identifier: Apache-2.0
"""A Celery app on SQS or Redis. Its one addition for the scaler is `worker_agent.install()`."""

import os
import time

from celery import Celery

import worker_agent

worker_agent.install()

app = Celery("jobs", broker=os.environ["CELERY_BROKER_URL"])
app.conf.update(
    broker_transport_options={"visibility_timeout": 3600, "region": "eu-central-1"},
    task_acks_late=True,
    task_default_queue="jobs",
    task_ignore_result=True,
    worker_enable_remote_control=False,
    worker_prefetch_multiplier=1,
)


@app.task
def resize(picture: int) -> None:
    """Work for two seconds."""
    time.sleep(2)
