# SPDX-License-Identifier: Apache-2.0
"""A plain Celery app for a worker fleet on ECS: SQS or Redis, the worker agent, tasks that write the ledger.

This is all that a Celery project adds to be scaled: one call of `worker_agent.install()`.
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

LEDGER = Path(os.environ["FLEET_LEDGER"])
QUEUES = json.loads(os.environ["FLEET_QUEUES"])  # name -> URL
# Asked once, in the worker's main process; the processes of its pool are forked from it.
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
    with LEDGER.open("ab", buffering=0) as ledger:
        ledger.write(json.dumps(line).encode() + b"\n")


@app.task(bind=True)
def work(self: Any, task: str, seconds: float) -> None:
    """Work for `seconds`; a message that SQS delivers again is another start of the same try."""
    write("start", task, self.request.retries + 1)
    time.sleep(seconds)
    write("end", task, self.request.retries + 1)


@app.task(bind=True)
def hold(self: Any, task: str, until: str) -> None:
    """Work until the file `until` is there: a test decides how long."""
    write("start", task, self.request.retries + 1)
    deadline = time.monotonic() + HELD_AT_MOST_S
    while not Path(until).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the file {until} did not appear")
        time.sleep(0.05)
    write("end", task, self.request.retries + 1)
