# SPDX-License-Identifier: Apache-2.0
"""`python -m openmwaa_runtime run-dag DAG [TASK] --folder FOLDER`: runs a DAG in this process, with a terminal.

So `breakpoint()` in a task works. The database is one of the author's own. OPENMWAA_RUNNING has the variables of a
running environment: its connections, variables and pools are copied first.
"""

import argparse
import inspect
import json
import os
import pdb  # noqa: T100 - the option --pdb
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

from openmwaa_runtime.check_dags import import_finding, load_dags
from openmwaa_runtime.components import command_environment

RUNNING = "OPENMWAA_RUNNING"
_DATABASE, _FERNET_KEY = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__FERNET_KEY"


def copy_from(url: str) -> None:
    """Replace the connections, variables and pools of this database by those of another one."""
    from airflow.models import Connection, Pool, Variable  # noqa: PLC0415 - installed in the image only
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import create_engine, delete, insert, select  # noqa: PLC0415

    engine = create_engine(url)
    with engine.connect() as source, create_session() as session:
        for model in (Connection, Variable, Pool):
            table = model.__table__
            rows = [dict(row._mapping) for row in source.execute(select(table))]  # noqa: SLF001 - its public name
            session.execute(delete(table))
            if rows:
                session.execute(insert(table), rows)
    engine.dispose()


def watch_tasks(*, debug: bool) -> None:
    """End the run at Ctrl-C in a task, which Airflow takes for a failure; for `debug`, start the debugger at others."""
    try:
        from airflow.sdk.execution_time import supervisor  # noqa: PLC0415 - installed in the image only
    except ImportError:
        if debug:
            debug_failures_of_airflow_2()
        return  # Airflow 2 ends at Ctrl-C by itself

    run: Callable[..., Any] = supervisor.run_task_in_process

    @wraps(run)
    def run_and_watch(*arguments: Any, **options: Any) -> Any:
        result = run(*arguments, **options)
        if isinstance(result.error, KeyboardInterrupt):
            raise result.error
        if debug and result.error is not None:
            print(f"{type(result.error).__name__}: {result.error}", file=sys.stderr)
            pdb.post_mortem(result.error.__traceback__)
        return result

    supervisor.run_task_in_process = run_and_watch


def debug_failures_of_airflow_2() -> None:
    """Start the debugger where a task fails; Airflow 2 raises the error of a task."""
    from airflow.models import dag  # noqa: PLC0415 - as above

    run: Callable[..., Any] = dag._run_task  # noqa: SLF001

    @wraps(run)
    def run_and_debug(*arguments: Any, **options: Any) -> Any:
        try:
            return run(*arguments, **options)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            pdb.post_mortem(error.__traceback__)
            raise

    dag._run_task = run_and_debug  # noqa: SLF001


def others(task: str | None) -> re.Pattern[str] | None:
    """Return the pattern of the tasks that are marked as successful and do not run; None: every task runs."""
    return re.compile(rf"(?!{re.escape(task)}\Z).*", re.DOTALL) if task else None


def find_dag(folder: Path, dag_id: str, task: str | None) -> Any:
    """Return the DAG.

    Raises:
        SystemExit: there is no such DAG or task; the text lists those that exist.
    """
    bag = load_dags(folder)
    dag = bag.dags.get(dag_id)
    if dag is None:
        for file, text in sorted(bag.import_errors.items()):
            found = import_finding(folder, file, text)
            print(f"{folder / found.file}:{found.line}: {found.text}", file=sys.stderr)
        sys.exit(f"There is no DAG {dag_id} in {folder}. DAGs there: {', '.join(sorted(bag.dags)) or 'none'}")
    if task is not None and task not in dag.task_dict:
        sys.exit(f"{dag_id} has no task {task}. Its tasks: {', '.join(dag.task_dict)}")
    return dag


def main(words: Sequence[str]) -> NoReturn:
    """Run the DAG. Exit codes: 0 success, 1 a task failed, or there is no such DAG, 130 Ctrl-C."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dag")
    parser.add_argument("task", nargs="?")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--conf", type=json.loads)
    parser.add_argument("--logical-date", type=datetime.fromisoformat)
    parser.add_argument("--pdb", action="store_true")
    options = parser.parse_args(words)
    if RUNNING in os.environ:
        running = command_environment(json.loads(os.environ.pop(RUNNING)))
        os.environ[_FERNET_KEY] = running[_FERNET_KEY]  # before Airflow is imported: connections are encrypted
        copy_from(running[_DATABASE])
    dag = find_dag(options.folder, options.dag, options.task)
    watch_tasks(debug=options.pdb)
    for task in dag.tasks:
        task.retries = 0  # Airflow would wait here for the delay of each retry
    more: dict[str, Any] = {}
    if options.logical_date:
        name = "logical_date" if "logical_date" in inspect.signature(dag.test).parameters else "execution_date"
        more[name] = options.logical_date.astimezone()
    run = dag.test(run_conf=options.conf, mark_success_pattern=others(options.task), **more)
    instances = [found for found in run.get_task_instances() if options.task in (None, found.task_id)]
    print()
    for found in instances:
        index = f"[{found.map_index}]" if found.map_index >= 0 else ""
        print(f"{found.task_id}{index}: {found.state}")
    failed = any(found.state in ("failed", "upstream_failed") for found in instances)
    sys.exit(1 if failed or (run.state == "failed" and options.task is None) else 0)
