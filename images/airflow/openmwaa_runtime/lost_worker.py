# SPDX-License-Identifier: Apache-2.0
"""Another try for a task that lost its worker, whatever its `retries` are, and none for a task that failed.

Airflow repeats a task only if it has a retry left, and does not distinguish the two. So a default of retries would also
repeat the tasks that fail. In the scheduler the two differ: a task that fails reports it to the execution API, and
the scheduler handles only tasks whose executor ended, or whose heartbeats stopped, without a report. There, this module
adds a try. A worker that is being stopped sends no report for the tasks that it ends.

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
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415

    is_eligible = TaskInstance.is_eligible_to_retry
    purge = SchedulerJobRunner._purge_task_instances_without_heartbeats  # noqa: SLF001

    def is_eligible_to_retry(self: Any) -> bool:
        return is_eligible(self) or may_try_again(self)

    def purge_task_instances(self: Any, task_instances: Iterable[Any], **arguments: Any) -> None:
        for task_instance in task_instances:
            task_instance.is_eligible_to_retry()  # before Airflow chooses between the two callbacks
        purge(self, task_instances, **arguments)

    TaskInstance.is_eligible_to_retry = is_eligible_to_retry
    SchedulerJobRunner._purge_task_instances_without_heartbeats = purge_task_instances  # noqa: SLF001


def may_try_again(task_instance: Any) -> bool:
    """Whether a task without retries gets another try after its worker was lost; adds the try to its `max_tries`."""
    from airflow.models.log import Log  # noqa: PLC0415
    from sqlalchemy import func, select  # noqa: PLC0415
    from sqlalchemy.orm import object_session  # noqa: PLC0415

    if task_instance.state not in _WITHOUT_REPORT:
        return False
    if task_instance.try_number <= task_instance.max_tries:
        return True  # it was added before
    session, limit = object_session(task_instance), _limit(task_instance)
    if session is None:
        return False
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


def install_in_worker(is_stopping: Callable[[], bool]) -> None:
    """Let the scheduler decide about tasks without retries that end while the worker is being stopped."""
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415 - only workers need it
    from airflow.sdk.execution_time.supervisor import ActivitySubprocess, TaskInstanceState  # noqa: PLC0415

    find_state = ActivitySubprocess.final_state.fget
    fail = task_runner._handle_current_task_failed  # noqa: SLF001

    def final_state(self: Any) -> Any:
        state = find_state(self)
        is_lost = state == TaskInstanceState.FAILED and self._exit_code != 0 and is_stopping()
        return TaskInstanceState.UP_FOR_RETRY if is_lost else state  # Airflow reports this state in another place

    def handle_current_task_failed(task_instance: Any, *arguments: Any) -> Any:
        server = task_instance._ti_context_from_server  # noqa: SLF001
        if is_stopping() and not (server and server.should_retry):
            raise SystemExit(1)  # without a report, and without the callback of a failure
        return fail(task_instance, *arguments)

    ActivitySubprocess.final_state = property(final_state)
    task_runner._handle_current_task_failed = handle_current_task_failed  # noqa: SLF001


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
