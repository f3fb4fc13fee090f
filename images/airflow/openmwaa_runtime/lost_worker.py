# SPDX-License-Identifier: Apache-2.0
"""Another try for a task that lost its worker, whatever its `retries` are, and none for a task that failed.

Airflow repeats a task only if it has a retry left, and does not distinguish the two. So a default of retries would also
repeat the tasks that fail. In the scheduler the two differ: a task that fails reports it to the execution API, and
the scheduler handles only tasks whose executor ended, or whose heartbeats stopped, without a report. There, this module
adds a try. A worker that is being stopped sends no report for the tasks that it ends.

In Airflow 2 the DAG processor handles tasks whose heartbeats stopped or whose process ended alone, and a worker those
that it ends itself.

The functions replace functions of Airflow, as `ack_on_start` does; docs/decisions/0020-lost-workers.md has the reasons.
"""

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

logger = logging.getLogger(__name__)

EVENT: Final = "lost worker"
"""The event in Airflow's audit log: one for each additional try."""
OPTION: Final = "lost_worker_retries"
"""In the section `openmwaa`, or for one task: `executor_config={"lost_worker_retries": 0}`."""
RETRIES: Final = 2
_WITHOUT_REPORT: Final = ("scheduled", "queued", "running")  # no set: Airflow's enumerations have another hash


def install_in_scheduler() -> None:
    """Add a try to each task that the scheduler finds without a worker."""
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner  # noqa: PLC0415 - only the scheduler needs it

    install(lambda _task_instance: True)
    purge = getattr(SchedulerJobRunner, "_purge_task_instances_without_heartbeats", None)
    if purge is None:
        return  # in Airflow 2 the DAG processor decides

    def purge_task_instances(self: Any, task_instances: Iterable[Any], **arguments: Any) -> None:
        for task_instance in task_instances:
            task_instance.is_eligible_to_retry()  # before Airflow chooses between the two callbacks
        purge(self, task_instances, **arguments)

    SchedulerJobRunner._purge_task_instances_without_heartbeats = purge_task_instances  # noqa: SLF001


def install(is_lost: Callable[[Any], bool]) -> None:
    """Add a try to each task instance that has failed in this process, `is_lost`, and has not reported it itself."""
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415 - not every process needs it

    is_eligible = TaskInstance.is_eligible_to_retry

    def is_eligible_to_retry(self: Any) -> bool:
        return is_eligible(self) or (is_lost(self) and may_try_again(self))

    TaskInstance.is_eligible_to_retry = is_eligible_to_retry


def may_try_again(task_instance: Any) -> bool:
    """Whether a task without retries gets another try after its worker was lost; adds the try to its `max_tries`."""
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy.orm import object_session  # noqa: PLC0415

    if task_instance.state not in _WITHOUT_REPORT:
        return False
    if task_instance.try_number <= task_instance.max_tries:
        return True  # it was added before
    if (session := object_session(task_instance)) is not None:
        return add_try(task_instance, session)
    with create_session() as own:  # a worker of Airflow 2
        return add_try(task_instance, own)


def add_try(task_instance: Any, session: Any) -> bool:
    """Add a try, unless the task has lost too many workers in a row."""
    from airflow.models.log import Log  # noqa: PLC0415
    from sqlalchemy import func, select  # noqa: PLC0415

    limit = _limit(task_instance)
    lost = select(func.count()).where(
        *(getattr(Log, name) == getattr(task_instance, name) for name in ("dag_id", "task_id", "run_id", "map_index")),
        Log.event == EVENT,
        Log.try_number >= task_instance.try_number - limit,
    )
    if session.scalar(lost) >= limit:
        logger.error("%s lost its worker %d times in a row: it gets no other try", task_instance, limit + 1)
        return False
    task_instance.max_tries = task_instance.try_number
    text = "The worker was lost, and the task did not fail: it gets another try."
    session.add(Log(event=EVENT, task_instance=task_instance.key, extra=text))
    session.flush()  # Airflow reads the task from the database again
    return True


def _limit(task_instance: Any) -> int:
    from airflow.configuration import conf  # noqa: PLC0415

    config = task_instance.executor_config
    chosen = config.get(OPTION) if isinstance(config, dict) else None
    return chosen if isinstance(chosen, int) else int(conf.getint("openmwaa", OPTION, fallback=RETRIES))


@functools.cache
def write_all_retries() -> None:
    """Make serialized DAGs contain every task's `retries`, once for this process.

    Airflow 3.3 leaves a 0 out of mapped tasks, and of tasks whose class sets the attribute. The scheduler then reads
    `core.default_task_retries` in its place.
    """
    from airflow.serialization.serialized_objects import OperatorSerialization  # noqa: PLC0415

    is_excluded = OperatorSerialization._is_excluded  # noqa: SLF001

    def has_no_place(_cls: type, value: Any, name: str, operator: Any) -> bool:
        return not (name == "retries" and value is not None) and bool(is_excluded(value, name, operator))

    OperatorSerialization._is_excluded = classmethod(has_no_place)  # noqa: SLF001
