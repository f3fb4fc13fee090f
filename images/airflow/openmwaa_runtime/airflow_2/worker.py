# SPDX-License-Identifier: Apache-2.0
"""The changes to Airflow 2 in a worker; `airflow_3.worker` has the same functions for Airflow 3.

A pool process forks Airflow's supervisor (LocalTaskJob), which starts the task and writes its state to the database.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from openmwaa_runtime import lost_worker
from openmwaa_runtime.airflow_2 import task_logging

CELERY_TASK: Final = "execute_command"


def watch_airflow(on_start: Callable[[], None]) -> bool:
    """Make Airflow call `on_start` after the database has the task as running, and use one version of the DAGs."""
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415 - only workers need it
    from airflow.providers.celery.executors import celery_executor_utils  # noqa: PLC0415

    change_state = TaskInstance.check_and_change_state_before_execution

    def check_and_change_state(self: Any, *arguments: Any, **options: Any) -> bool:
        if not change_state(self, *arguments, **options):
            return False
        on_start()
        return True

    execute = celery_executor_utils._execute_in_fork  # noqa: SLF001

    def execute_in_fork(command: Sequence[str], *arguments: Any) -> None:
        use_newest_dags()
        execute([own_file(word) for word in command], *arguments)

    TaskInstance.check_and_change_state_before_execution = check_and_change_state
    celery_executor_utils._execute_in_fork = execute_in_fork  # noqa: SLF001
    return True


def keep_lost_tasks(is_stopping: Callable[[], bool]) -> None:
    """Give tasks without retries that end while the worker is being stopped another try."""
    from airflow.exceptions import AirflowException  # noqa: PLC0415 - only workers need it
    from airflow.jobs.local_task_job_runner import LocalTaskJobRunner  # noqa: PLC0415

    lost_worker.install(lambda _task_instance: is_stopping())
    handle_exit = LocalTaskJobRunner.handle_task_exit

    def handle_task_exit(self: Any, return_code: int) -> None:
        handle_exit(self, return_code)
        if return_code < 0 and is_stopping():  # `airflow_2.dag_processor` distinguishes it from a crash
            raise AirflowException("The worker is being stopped and has ended this task")

    LocalTaskJobRunner.handle_task_exit = handle_task_exit


def prepare() -> None:
    """Keep what tasks need of the variables that are removed before the pool forks, in the configuration of Airflow."""
    from airflow.configuration import conf  # noqa: PLC0415

    for section, option in (("database", "sql_alchemy_conn"), ("core", "fernet_key")):
        value = conf.get_mandatory_value(section, option).replace("%", "%%")
        conf.read_dict({section: {option: value}})
    task_logging.load_models()


def use_newest_dags() -> None:
    """Use the newest version of the DAGs for the next task of this process, until its end.

    The syncer replaces a symbolic link. A task that reads its DAG file before and a helper after it would mix versions.
    """
    from airflow import settings  # noqa: PLC0415
    from airflow.configuration import conf  # noqa: PLC0415

    before, newest = settings.DAGS_FOLDER, str(Path(conf.get("core", "dags_folder")).resolve())
    sys.path[:] = [newest if path == before else path for path in sys.path]
    settings.DAGS_FOLDER = newest


def own_file(word: str) -> str:
    """Return the path of a DAG file below this worker's folder: the folder of the DAG processor may be another one."""
    folder, link, path = word.rpartition("/current/")
    return f"DAGS_FOLDER/{path}" if link and folder.startswith("/") else word


def send_logs() -> None:
    """Do nothing at the end of a pool process: a supervisor sends the logs of its task."""
