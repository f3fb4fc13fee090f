# SPDX-License-Identifier: Apache-2.0
"""A Celery app on SQS or Redis with the worker agent. Its tasks write a ledger with one line for each event."""

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery

import worker_agent

worker_agent.install()

LEDGER = Path(os.environ["TEST_LEDGER"])
QUEUES = json.loads(os.environ["TEST_QUEUES"])  # name -> URL

BROKER = os.environ.get("TEST_BROKER", "sqs://")
OPTIONS: dict[str, Any] = {
    "predefined_queues": {name: {"url": url} for name, url in QUEUES.items()},
    "wait_time_seconds": int(os.environ.get("TEST_WAIT_S", "2")),
    "polling_interval": float(os.environ.get("TEST_POLLING_INTERVAL_S", "0")),
    "is_secure": False,
}
if not BROKER.startswith("sqs:"):
    # Redis: search for messages of dead workers every second instead of every 100 s.
    visibility_s = float(os.environ.get("TEST_VISIBILITY_S", "600"))
    OPTIONS = {"visibility_timeout": visibility_s, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    OPTIONS |= {"master_name": "main"} if BROKER.startswith("sentinel:") else {}

app = Celery("tests.support.celery_app", broker=BROKER)
app.conf.update(
    broker_transport_options=OPTIONS,
    task_default_queue=next(iter(QUEUES)),
    task_ignore_result=True,
    task_acks_late=os.environ.get("TEST_ACKS_LATE", "1") == "1",
    worker_prefetch_multiplier=int(os.environ.get("TEST_PREFETCH", "1")),
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


def write(event: str, number: int) -> None:
    """Append one line. O_APPEND keeps lines of several processes apart."""
    with LEDGER.open("ab", buffering=0) as ledger:
        ledger.write(f"{event} {number} {os.getpid()}\n".encode())


@app.task
def work(number: int, seconds: float) -> None:
    """Run for `seconds`."""
    write("start", number)
    time.sleep(seconds)
    write("end", number)
