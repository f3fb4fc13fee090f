# SPDX-License-Identifier: Apache-2.0
"""A Celery app for a worker fleet on ECS, with SQS or Redis, the worker agent, and tasks that write the task journal.

A Celery project needs one addition to be scaled: the call of `worker_agent.install()`.
"""

import json
import os
import time
from pathlib import Path
from typing import Any, Literal

from celery import Celery

import worker_agent
from worker_agent.ecs import read_task_metadata

worker_agent.install()

TASK_JOURNAL = Path(os.environ["FLEET_TASK_JOURNAL"])
QUEUES = json.loads(os.environ["FLEET_QUEUES"])  # name -> URL
# Read once, in the worker's main process. The pool processes are forked from it.
ADDRESS = read_task_metadata(os.environ["ECS_CONTAINER_METADATA_URI_V4"]).address
HELD_AT_MOST_S = 240.0

BROKER = os.environ["FLEET_BROKER"]
OPTIONS: dict[str, Any] = {
    "predefined_queues": {name: {"url": url} for name, url in QUEUES.items()},
    "wait_time_seconds": 1,
    "polling_interval": 0,
    "is_secure": False,
}
if BROKER.startswith("redis:"):
    OPTIONS = {"visibility_timeout": float(os.environ["FLEET_VISIBILITY_S"])}

app = Celery("tests.support.fleet_app", broker=BROKER)
app.conf.update(
    broker_transport_options=OPTIONS,
    task_default_queue=next(iter(QUEUES)),
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


def write(event: Literal["start", "end"], task: str, try_number: int) -> None:
    """Append one line in the format of `openmwaa.local.task_journal`."""
    line = {"event": event, "task": task, "try": try_number, "at": time.time(), "worker": ADDRESS}
    with TASK_JOURNAL.open("ab", buffering=0) as task_journal:
        task_journal.write(json.dumps(line).encode() + b"\n")


@app.task(bind=True)
def work(self: Any, task: str, seconds: float) -> None:
    """Run for `seconds`. A redelivered message is another start of the same try."""
    write("start", task, self.request.retries + 1)
    time.sleep(seconds)
    write("end", task, self.request.retries + 1)


@app.task(bind=True)
def hold(self: Any, task: str, until: str) -> None:
    """Run until the file `until` exists, which a test creates."""
    write("start", task, self.request.retries + 1)
    deadline = time.monotonic() + HELD_AT_MOST_S
    while not Path(until).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{until} does not exist")
        time.sleep(0.05)
    write("end", task, self.request.retries + 1)
