# SPDX-License-Identifier: Apache-2.0
"""A task whose message the broker has lost is queued again, in real Airflow on a SQLite file.

The program runs with the Python of the Airflow environment, without any service.
"""

import json
from pathlib import Path

import pytest

from tests.support.airflow import run_airflow_program

pytestmark = pytest.mark.emulated

PROGRAM = """
import json, sys, time, uuid
from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import Mock
import boto3
import redis
from sqlalchemy import create_engine, select
from airflow.configuration import conf
from airflow.models.base import Base
messages = {"lost": 0, "full": 1, "unknown": None}

class Queues:
    def get_queue_attributes(self, QueueUrl, AttributeNames):
        count = messages[QueueUrl.rpartition("/")[2]]
        if count is None:
            raise TimeoutError("no answer")
        return {"Attributes": {name: str(count if index == 0 else 0) for index, name in enumerate(AttributeNames)}}

class Lists:
    def llen(self, name):
        if messages.get(name, 0) is None:
            raise TimeoutError("no answer")
        return messages.get(name, 0)

    def hlen(self, name):
        return 0

boto3.client = lambda *_, **__: Queues()
redis.Redis.from_url = lambda url, **_: Lists()
sys.argv = ["airflow", "scheduler"]
clock, monotonic = 0.0, time.monotonic
time.monotonic = lambda: clock
from openmwaa_runtime import lost_messages  # keeps the clock
time.monotonic = monotonic
from openmwaa_runtime import celery_config, waiting_tasks
from airflow._shared.timezones import timezone
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session

Base.metadata.create_all(create_engine(conf.get("database", "sql_alchemy_conn")))
now = timezone.utcnow()

def make(session, name, queue, *, state="queued", queued_s=600, job=7):
    values = dict(id=uuid.uuid4(), task_id=name, dag_id="d", run_id="r", map_index=-1, try_number=1, state=state,
        max_tries=0, hostname="", unixname="u", pool="p", pool_slots=1, queue=queue, priority_weight=1,
        executor_config={}, operator="O", queued_dttm=now - timedelta(seconds=queued_s), queued_by_job_id=job)
    session.execute(TaskInstance.__table__.insert().values(**values))

with create_session() as session:
    run = dict(dag_id="d", run_id="r", run_type="manual", run_after=now, clear_number=0)
    session.execute(DagRun.__table__.insert().values(**run))
    for name in ("lost", "full", "unknown"):
        make(session, name, name)
    make(session, "new", "lost", queued_s=5)
    make(session, "running", "lost", state="running")
    make(session, "of_another_scheduler", "lost", job=8)
    make(session, "asleep", "full", queued_s=11 * 3600)

revoked, airflows_own = [], []
executor = Mock(revoke_task=lambda ti: revoked.append(ti.task_id))
SchedulerJobRunner._executor_to_workloads = lambda self, tasks, session: {executor: list(tasks)}

def stuck(self, session):
    late = TaskInstance.queued_dttm < now - timedelta(hours=1)
    found = session.scalars(select(TaskInstance).where(TaskInstance.state == "queued", late)).all()
    airflows_own.append([task.task_id for task in found])
    return found

SchedulerJobRunner._get_tis_stuck_in_queued = stuck
runner = SchedulerJobRunner.__new__(SchedulerJobRunner)
runner.job = SimpleNamespace(id=7)

def check():
    global clock
    with create_session() as session:
        runner._handle_tasks_stuck_in_queued(session=session)
    clock += 30.0

def states():
    with create_session() as session:
        return {task.task_id: (str(getattr(task.state, "value", task.state)), task.try_number)
            for task in session.scalars(select(TaskInstance))}

found = {}
for _ in range(4):
    check()
found["before"] = states()["lost"]
check()
found["after"] = states()
found["revoked"] = list(revoked)
for _ in range(4):  # it is lost again each time that the scheduler queues it
    with create_session() as session:
        task = session.scalars(select(TaskInstance).where(TaskInstance.task_id == "lost")).one()
        task.state, task.queued_dttm, task.queued_by_job_id = "queued", now - timedelta(seconds=600), 7
    check()
found["times"] = revoked.count("lost")
with create_session() as session:
    found["events"] = len(session.scalars(select(Log).where(Log.event == lost_messages.EVENT)).all())
    waiting = session.scalars(select(Log).where(Log.event == waiting_tasks.EVENT)).all()
    found["waiting"] = sorted([task.task_id, task.try_number, task.extra] for task in waiting)
found["airflows_own"] = airflows_own
print(json.dumps(found))
"""


@pytest.mark.parametrize("broker", ["SQS", "Redis"])
def test_a_task_is_queued_again_if_its_queue_has_been_empty(tmp_path: Path, broker: str) -> None:
    queues = {name: f"https://sqs.example/1/{name}" for name in ("lost", "full", "unknown")}
    found = run_airflow_program(PROGRAM, tmp_path, OPENMWAA_QUEUES=json.dumps(queues if broker == "SQS" else {}))
    assert found["before"] == ["queued", 1]
    assert found["after"] == {
        "lost": ["scheduled", 1],
        "full": ["queued", 1],
        "unknown": ["queued", 1],
        "new": ["queued", 1],
        "running": ["running", 1],
        "of_another_scheduler": ["queued", 1],
        "asleep": ["scheduled", 1],
    }
    assert found["revoked"] == ["asleep", "lost"]
    assert (found["times"], found["events"]) == (3, 3), "then Airflow's own timeout applies"
    assert [row[:2] for row in found["waiting"]] == [[name, 1] for name in ("asleep", "full", "lost", "unknown")], (
        "once"
    )
    assert "it is in the queue full. `openmwaa status` and the scaler's page show" in found["waiting"][1][2]
    assert found["airflows_own"] == [["asleep"], *[[]] * 17], "Airflow would count it, and fail it at the third time"
