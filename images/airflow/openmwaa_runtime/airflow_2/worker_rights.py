# SPDX-License-Identifier: Apache-2.0
"""The rights of workers of Airflow 2 in the metadata database, table by table.

Workers run tasks, and DAG code beside them. Not here: users and their roles, sessions, and every right to change a
connection, a pool or a DAG. They prevent mistakes only: Airflow reads some columns of these tables as pickles.
"""

from collections.abc import Mapping
from typing import Final

READ: Final = ("SELECT",)
ADD: Final = ("SELECT", "INSERT")
CHANGE: Final = ("SELECT", "INSERT", "UPDATE")
REPLACE: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")

WORKER_RIGHTS: Final[Mapping[str, tuple[str, ...]]] = {
    # what a task is
    **dict.fromkeys(("connection", "dag", "dag_tag", "log_template", "serialized_dag", "slot_pool"), READ),
    **dict.fromkeys(("dataset", "dataset_alias", "dag_schedule_dataset_reference"), READ),
    **dict.fromkeys(("dag_schedule_dataset_alias_reference", "task_outlet_dataset_reference"), READ),
    "dag_run_note": READ,
    "task_instance_note": READ,
    # state of tasks; TriggerDagRunOperator adds and clears runs
    "task_instance": CHANGE,
    "dag_run": CHANGE,
    "task_instance_history": ADD,
    "task_fail": ADD,
    "task_reschedule": REPLACE,
    "task_map": REPLACE,
    "trigger": ADD,
    "job": CHANGE,
    "log": ADD,
    # values of tasks
    "xcom": REPLACE,
    "rendered_task_instance_fields": REPLACE,
    "variable": REPLACE,
    # events of datasets
    "dataset_event": ADD,
    "dataset_dag_run_queue": ADD,
    "dataset_alias_dataset": ADD,
    "dataset_alias_dataset_event": ADD,
    "dagrun_dataset_event": READ,
}
