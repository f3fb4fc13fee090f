# SPDX-License-Identifier: Apache-2.0
"""A task that no worker has taken for minutes has an event on its own page, which names the place of the reason.

Runs in the scheduler. The scaler has the reason itself, and must not write to Airflow's database.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

logger = logging.getLogger(__name__)

EVENT: Final = "openmwaa: waiting for a worker"
WAITING_S: Final = 300
"""A worker starts within two minutes."""
AT_ONCE: Final = 20
"""New events of one check, every 30 s: a backlog can be long."""
_KEY: Final = ("dag_id", "task_id", "run_id", "map_index", "try_number")


def install() -> None:
    """Write the events whenever the scheduler checks for tasks that are queued too long."""
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner  # noqa: PLC0415 - only the scheduler needs it

    check = SchedulerJobRunner._handle_tasks_stuck_in_queued  # noqa: SLF001

    def note_and_check(self: Any, **arguments: Any) -> None:
        try:
            _note(self.job.id)
        except Exception:  # the scheduler continues without it
            logger.exception("events of waiting tasks could not be written")
        check(self, **arguments)

    SchedulerJobRunner._handle_tasks_stuck_in_queued = note_and_check  # noqa: SLF001


def _note(job_id: int) -> None:
    from airflow.models.log import Log  # noqa: PLC0415
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import exists, select  # noqa: PLC0415

    noted = exists().where(Log.event == EVENT, *(getattr(Log, name) == getattr(TaskInstance, name) for name in _KEY))
    mine = (TaskInstance.state == "queued", TaskInstance.queued_by_job_id == job_id)
    late = TaskInstance.queued_dttm < datetime.now(UTC) - timedelta(seconds=WAITING_S)
    waiting = select(TaskInstance).where(*mine, late, ~noted).order_by(TaskInstance.queued_dttm).limit(AT_ONCE)
    with create_session() as session:
        for task in session.scalars(waiting):
            text = (
                f"No worker has taken the task for {WAITING_S // 60} minutes; it is in the queue {task.queue}. "
                "`openmwaa status` and the scaler's page show the workers of this queue, and why."
            )
            session.add(Log(event=EVENT, task_instance=task.key, extra=text))
