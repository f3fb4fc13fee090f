# SPDX-License-Identifier: Apache-2.0
"""A task that lost its worker gets another try and a failed one none, in real Airflow on a SQLite in memory.

The programs run with the Python of the Airflow environment, without any service.
"""

from pathlib import Path

import pytest

from tests.support.airflow import run_airflow_program

WAYS = """
import json
from airflow.sdk import DAG, BaseOperator, TaskGroup, setup, task, task_group, teardown
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.python import PythonSensor
from openmwaa_runtime.lost_worker import write_all_retries

write_all_retries()
write_all_retries()  # the DAG processor creates its bundle more than once

class OwnDefault(BaseOperator):
    def __init__(self, retries=0, **arguments):
        super().__init__(retries=retries, **arguments)
    def execute(self, context): ...

class SetAfterwards(BaseOperator):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.retries = 0
    def execute(self, context): ...

class Deferrable(BaseOperator):
    def __init__(self, deferrable=True, value=0, **arguments):
        super().__init__(**arguments)
    def execute(self, context): ...

def work(value=0): ...

with DAG("said", schedule=None) as said:
    EmptyOperator(task_id="zero_argument", retries=0)
    Deferrable(task_id="zero_deferrable", retries=0)
    Deferrable.partial(task_id="zero_deferrable_partial", retries=0).expand(value=[1, 2])
    PythonSensor(task_id="zero_sensor", python_callable=work, retries=0)
    task(retries=0, task_id="zero_decorator")(work)()
    task(retries=0, task_id="zero_decorator_expand")(work).expand(value=[1, 2])
    task(task_id="zero_override")(work).override(retries=0)()
    task(task_id="zero_override_expand")(work).override(retries=0).expand(value=[1, 2])
    setup(task(retries=0, task_id="zero_setup")(work))() >> teardown(task(retries=0, task_id="zero_teardown")(work))()
    OwnDefault(task_id="zero_default_of_the_class")
    SetAfterwards(task_id="zero_set_by_the_class")
    with TaskGroup("group", default_args={"retries": 0}):
        EmptyOperator(task_id="zero_group")
        Deferrable.partial(task_id="zero_group_partial").expand(value=[1, 2])
    @task_group(group_id="mapped", default_args={"retries": 0})
    def mapped(value):
        task(task_id="zero_mapped_group")(work)(value)
    mapped.expand(value=[1, 2])
    EmptyOperator(task_id="two_argument", retries=2)
    Deferrable.partial(task_id="two_partial", retries=2).expand(value=[1, 2])
    EmptyOperator(task_id="unsaid_plain")
    Deferrable.partial(task_id="unsaid_partial").expand(value=[1, 2])
with DAG("defaults", schedule=None, default_args={"retries": 0}) as defaults:
    EmptyOperator(task_id="zero_default_args")
    task(task_id="zero_default_args_expand")(work).expand(value=[1, 2])
    Deferrable.partial(task_id="zero_default_args_partial").expand(value=[1, 2])

from airflow.serialization.serialized_objects import DagSerialization
stored = [json.loads(json.dumps(DagSerialization.to_dict(dag))) for dag in (said, defaults)]
print(json.dumps({
    name: found.retries for dag in stored for name, found in DagSerialization.from_dict(dag).task_dict.items()
}))
"""

SCHEDULER = """
import json, sys
import uuid
from types import SimpleNamespace
from unittest.mock import Mock, patch
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
sys.argv = ["airflow", "scheduler"]
from openmwaa_runtime import celery_config
from openmwaa_runtime.lost_worker import EVENT
from airflow.models.base import Base
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow._shared.timezones import timezone
from airflow.utils.state import TaskInstanceState

engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
session = Session(engine, autoflush=False)  # as Airflow's
now = timezone.utcnow()
run = dict(dag_id="d", run_id="r", run_type="manual", run_after=now, clear_number=0)
session.execute(DagRun.__table__.insert().values(**run))

def lose(task, retries):
    # What process_executor_events does: the executor ended, and the task reported nothing.
    task.task = SimpleNamespace(retries=retries, owner="o", dag=None)
    is_retry = task.is_eligible_to_retry()
    TaskInstance.fetch_handle_failure_context(task, error="lost", session=session)
    session.commit()
    state = TaskInstanceState(task.state).value
    if state == "up_for_retry":
        task.state, task.try_number = TaskInstanceState.RUNNING, task.try_number + 1
        session.commit()
    return [is_retry, state]

def make(name, retries, config=None, state="running"):
    values = dict(id=uuid.uuid4(), task_id=name, dag_id="d", run_id="r", map_index=-1, try_number=1, state=state,
        max_tries=retries, hostname="h", unixname="u", pool="p", pool_slots=1, queue="q", priority_weight=1,
        executor_config=config or {}, operator="O", start_date=timezone.utcnow())
    session.execute(TaskInstance.__table__.insert().values(**values))
    session.commit()
    return session.scalars(select(TaskInstance).where(TaskInstance.task_id == name)).one()

found = {}
task = make("zero", 0)
found["zero"] = [lose(task, 0) for _ in range(3)]
found["zero_tries"] = [task.try_number, task.max_tries]
one = make("one", 1)
found["one"] = [lose(one, 1) for _ in range(4)]
found["opted_out"] = lose(make("opted_out", 0, {"lost_worker_retries": 0}), 0)
found["queued"] = lose(make("queued", 0, state="queued"), 0)
found["failed"] = make("failed", 0, state="failed").is_eligible_to_retry()
sent = []
executor = SimpleNamespace(send_callback=sent.append, change_state=lambda *_, **__: None)
runner = Mock(spec=SchedulerJobRunner, _multi_team=False, _task_instance_heartbeat_timeout_secs=1, executor=executor)
purged = make("purged", 0)
purged.dag_model = DagModel(dag_id="d", bundle_name="dags")
with patch("airflow.jobs.scheduler_job_runner._ensure_ti_has_dag_version_id", return_value=False):
    SchedulerJobRunner._purge_task_instances_without_heartbeats(runner, [purged], session=session)
found["purged"] = purged.max_tries
found["events"] = session.query(Log).filter(Log.event == EVENT, Log.task_id == "zero").count()
print(json.dumps(found))
"""

WORKER = """
import json, os
from types import SimpleNamespace
stopping = False
from openmwaa_runtime.airflow_3.worker import keep_lost_tasks
keep_lost_tasks(lambda: stopping)
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.supervisor import ActivitySubprocess, STATES_SENT_DIRECTLY

def supervisor(code, terminal=None, retry=False):
    found = SimpleNamespace(_exit_code=code, _terminal_state=terminal, _should_retry=retry)
    return str(getattr(state := ActivitySubprocess.final_state.fget(found), "value", state))

def task(should_retry):
    try:
        server = SimpleNamespace(should_retry=should_retry, max_tries=0)
        ti = SimpleNamespace(_ti_context_from_server=server, task=SimpleNamespace(retry_policy=None), stats_tags={},
            _failure_metrics_emitted=True, rendered_map_index=None, end_date=None)
        return task_runner._handle_current_task_failed(ti, ValueError("x"), None)[1].value
    except SystemExit as end:
        return f"exit {end.code}"

found = {}
for stopping in (False, True):
    found[str(stopping)] = [supervisor(-9), supervisor(1), supervisor(0), supervisor(0, "failed"),
        supervisor(-9, "SERVER_TERMINATED"), supervisor(-9, retry=True), task(False), task(True)]
found["not_sent"] = "up_for_retry" in STATES_SENT_DIRECTLY
print(json.dumps(found))
"""

AIRFLOW_2 = """
import json, sys
from types import SimpleNamespace
sys.argv = ["airflow", "scheduler"]
from airflow import models, settings
from airflow.jobs.job import Job, execute_job
from airflow.jobs.local_task_job_runner import LocalTaskJobRunner
from airflow.models.base import Base
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils import timezone
from sqlalchemy import select
from openmwaa_runtime import lost_worker
from openmwaa_runtime.airflow_2 import dag_processor, worker

stopping = False
models.import_all_models()
Base.metadata.create_all(settings.engine)
session = settings.Session()
now = timezone.utcnow()
session.execute(DagRun.__table__.insert().values(dag_id="d", run_id="r", run_type="manual", execution_date=now))

def job_state(end):
    # What the supervisor of a task writes at its own end.
    job = SimpleNamespace(state="running")
    supervisor = SimpleNamespace(terminating=False, _log_return_code_metric=print, log=SimpleNamespace(info=print),
        task_instance=SimpleNamespace(test_mode=True))
    try:
        execute_job(job, lambda: LocalTaskJobRunner.handle_task_exit(supervisor, end))
    except Exception as error:
        print(error)
    return job.state

def gets_a_try(name, ended_as, state="running"):
    job = Job(job_type="LocalTaskJob", state=ended_as)
    session.add(job)
    session.flush()
    session.execute(TaskInstance.__table__.insert().values(task_id=name, dag_id="d", run_id="r", map_index=-1,
        try_number=1, state=state, max_tries=0, pool="p", pool_slots=1, job_id=job.id, start_date=now))
    task = session.scalars(select(TaskInstance).where(TaskInstance.task_id == name)).unique().one()
    task.task = SimpleNamespace(retries=0)
    return bool(task.is_eligible_to_retry())

worker.keep_lost_tasks(lambda: stopping)
ends = {}
for stopping in (False, True):
    ends[str(stopping)] = [job_state(code) for code in (0, 1, 100, -9)]
stopping = False
lost_worker.install(dag_processor.worker_was_lost)
found = {"killed alone": gets_a_try("alone", ends["False"][3]), "killed with its worker": gets_a_try("with", "running"),
    "killed by the stop": gets_a_try("stop", ends["True"][3]), "queued": gets_a_try("queued", "success", "queued")}
print(json.dumps({"ends": ends, "tries": found}))
"""


@pytest.mark.parametrize("default", ["0", "3"])
def test_the_scheduler_reads_what_the_author_wrote(tmp_path: Path, default: str) -> None:
    found = run_airflow_program(WAYS, tmp_path, AIRFLOW__CORE__DEFAULT_TASK_RETRIES=default)
    expected = {"zero": 0, "two": 2, "unsaid": int(default)}
    assert len(found) == 22
    wrong = {name: retries for name, retries in found.items() if retries != expected[name.split(".")[-1].split("_")[0]]}
    assert wrong == {}


def test_a_task_without_retries_gets_another_try_only_if_its_worker_was_lost(tmp_path: Path) -> None:
    again, ended = [True, "up_for_retry"], [False, "failed"]
    assert run_airflow_program(SCHEDULER, tmp_path) == {
        "zero": [again, again, ended],
        "zero_tries": [3, 2],
        "one": [again, again, again, ended],
        "opted_out": ended,
        "queued": again,
        "failed": False,
        "purged": 1,
        "events": 2,
    }


def test_a_stopped_worker_leaves_the_decision_to_the_scheduler(tmp_path: Path) -> None:
    kept = ["success", "failed", "SERVER_TERMINATED", "up_for_retry"]
    assert run_airflow_program(WORKER, tmp_path) == {
        "False": ["failed", "failed", *kept, "failed", "up_for_retry"],
        "True": ["up_for_retry", "up_for_retry", *kept, "exit 1", "up_for_retry"],
        "not_sent": True,
    }


def test_a_task_of_airflow_2_that_crashes_has_failed_and_one_that_lost_its_worker_has_not(tmp_path: Path) -> None:
    logs = {"AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": "s3://bucket/logs"}
    assert run_airflow_program(AIRFLOW_2, tmp_path, "2.11.2", **logs) == {
        "ends": {"False": ["success"] * 4, "True": [*["success"] * 3, "failed"]},
        "tries": {"killed alone": False, "killed with its worker": True, "killed by the stop": True, "queued": True},
    }
