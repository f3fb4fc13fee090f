# SPDX-License-Identifier: Apache-2.0
"""Starts the DAG processor of Airflow 2, which parses DAG files and handles lost tasks in forks of this process."""

from typing import Any

from airflow.__main__ import main
from airflow.jobs.job import Job
from airflow.utils.state import JobState, TaskInstanceState
from sqlalchemy.orm import object_session

from openmwaa_runtime import lost_worker, queue_policy


def worker_was_lost(task_instance: Any) -> bool:
    """Whether a task has no end because of its worker; a task whose process alone was killed or crashed has failed.

    Its supervisor then ends as after every task. That of a lost worker ends without a report, or with an error.
    """
    session = object_session(task_instance)
    if task_instance.state != TaskInstanceState.RUNNING or session is None:
        return True
    job = session.get(Job, task_instance.job_id)
    return job is None or job.state != JobState.SUCCESS


if __name__ == "__main__":
    queue_policy.install()
    lost_worker.install(worker_was_lost)
    main()
