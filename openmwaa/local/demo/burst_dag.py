# SPDX-License-Identifier: Apache-2.0
"""A burst of tasks. Each try writes its start and its end to the journal of the run's configuration, or to JOURNAL."""

import json
import os
import time
import urllib.request
from typing import Any

from airflow.timetables.events import EventsTimetable  # Airflow 3.3 cannot serialize that of airflow.sdk

try:
    from airflow.sdk import dag, get_current_context, task, timezone
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.operators.python import get_current_context
    from airflow.utils import timezone

DAG_ID = "openmwaa_burst"
TASKS = 60
SECONDS = 10.0
DUE = ""
JOURNAL = ""


def _worker_address() -> str:
    """Return the address of this ECS task, from ECS's metadata endpoint."""
    with urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task", timeout=10) as answer:
        task: dict[str, Any] = json.load(answer)
    return str(task["Containers"][0]["Networks"][0]["IPv4Addresses"][0])


def _write(event: str, journal: str, context: Any) -> None:
    instance = context["ti"]
    line = {
        "event": event,
        "task": f"work[{instance.map_index}]",
        "try": instance.try_number,
        "at": time.time(),
        "worker": _worker_address(),
    }
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)


# Without `catchup`, Airflow omits a run if it parses this file again between the due time and the run.
@dag(
    dag_id=DAG_ID,
    schedule=EventsTimetable([timezone.parse(DUE)]) if DUE else None,
    start_date=timezone.datetime(2026, 1, 1),
    catchup=True,
    tags=["openmwaa"],
)
def burst() -> None:
    """Run TASKS parallel tasks of SECONDS seconds."""

    @task(queue=os.environ.get("OPENMWAA_BURST_QUEUE", "default"))
    def work(number: int) -> None:
        context = get_current_context()
        journal = (context["dag_run"].conf or {}).get("journal", JOURNAL)
        _write("start", journal, context)
        print(f"task {number} has started")
        time.sleep(SECONDS)
        _write("end", journal, context)
        print(f"task {number} is done")

    work.expand(number=list(range(TASKS)))


burst()
