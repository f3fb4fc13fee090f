# SPDX-License-Identifier: Apache-2.0
"""Early or late acknowledgement: what becomes of a healthy task that outlives the visibility timeout and its token?

    python -m benchmarks.acknowledgement [--folder DIRECTORY] [--json FILE]

Real Airflow, one worker, one task of 60 s, visibility timeout 15 s, `task_queued_timeout` 10 s (which is the life of
the token in the message). Once with `[celery] task_acks_late` as Airflow has it, once as openmwaa has it; once more
late with a token that lives, which shows that it is the token that kills. About four minutes.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.airflow_stack import Stack

VISIBILITY_TIMEOUT_S = 15
TASK_S = 60
SHORT_TOKEN_S = 10
LONG_TOKEN_S = 600
CASES = {
    "late, token expired": ("True", SHORT_TOKEN_S),
    "late, token valid": ("True", LONG_TOKEN_S),
    "early, token expired": ("False", SHORT_TOKEN_S),
}
DAG = f"""
import time
from airflow.sdk import dag, task

@dag(schedule=None)
def long_task():
    @task(retries=0)
    def work(ledger):
        import pathlib
        with pathlib.Path(ledger).open("a") as lines:
            print("start", time.time(), file=lines, flush=True)
            time.sleep({TASK_S})
            print("end", time.time(), file=lines, flush=True)
    work("{{{{ dag_run.conf['ledger'] }}}}")

long_task()
"""


def measure(folder: Path, late: str, token_s: int) -> dict[str, Any]:
    """Run the task once; what became of it, told by Airflow, by the task itself, and by the worker's log."""
    settings = {
        "AIRFLOW__CELERY__TASK_ACKS_LATE": late,
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": str(token_s),
        "AIRFLOW__API_AUTH__JWT_LEEWAY": "0",
    }
    with Stack(folder, visibility_timeout_s=VISIBILITY_TIMEOUT_S, slots=2) as stack:
        stack.upload("long_task.py", DAG)
        stack.start_airflow(settings)
        ledger = folder / "ledger"
        ledger.touch(mode=0o666)
        started = time.monotonic()
        run = stack.trigger("long_task", {"ledger": str(ledger)})
        *_, tasks = stack.samples("long_task", run, 3 * TASK_S)
        ended_after = time.monotonic() - started
        time.sleep(5)  # what the worker still has to say
        lines = ledger.read_text().splitlines()
        log = stack.log("worker").read_text()
    return {
        "state": tasks[0]["state"],
        "ended_after_s": round(ended_after),
        "task_began": sum(line.startswith("start") for line in lines),
        "task_completed": sum(line.startswith("end") for line in lines),
        "deliveries": log.count("Executing workload in Celery"),
        "token_refused": "Invalid auth token" in log,
        "killed": "Task killed" in log or "shouldn't be running anymore" in log,
    }


def main() -> None:
    """Measure every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, help="where to work; kept. Default: a temporary folder")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openmwaa-ack-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        found = {}
        for number, (case, (late, token_s)) in enumerate(CASES.items()):
            found[case] = measure(folder / str(number), late, token_s)
            print(case, json.dumps(found[case]), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
