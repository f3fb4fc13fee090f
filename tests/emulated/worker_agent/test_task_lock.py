# SPDX-License-Identifier: Apache-2.0
"""The lock of an ECS task: one holder, whatever the name's length, and free when the holder ends."""

import errno
import os
from uuid import uuid4

import pytest

from worker_agent.errors import TaskLockedError
from worker_agent.task_lock import TaskLock


@pytest.fixture
def task_arn() -> str:
    return f"arn:aws:ecs:us-east-1:123456789012:task/{'c' * 255}/{uuid4().hex}"


def test_one_worker_of_a_task_has_the_lock_and_the_next_one_takes_it_over(task_arn: str) -> None:
    first, other_task = TaskLock(task_arn), TaskLock(f"{task_arn}1")
    for _ in range(2):
        with pytest.raises(TaskLockedError, match="--concurrency"):
            TaskLock(task_arn)
    first.release()
    TaskLock(task_arn).release()
    other_task.release()


def test_a_forked_pool_process_does_not_keep_the_lock(task_arn: str) -> None:
    lock = TaskLock(task_arn)
    (reads, child_writes), (child_reads, writes) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(writes)
        os.write(child_writes, b"ready")
        os.read(child_reads, 1)  # until the test ends
        os._exit(0)
    os.read(reads, 5)
    lock.release()
    try:
        TaskLock(task_arn).release()
    finally:
        os.close(writes)
        os.waitpid(child, 0)
        for pipe in (reads, child_writes, child_reads):
            os.close(pipe)


def test_an_error_that_is_no_other_worker_keeps_its_reason(task_arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        closed = False

        def bind(self, _name: str) -> None:
            raise OSError(errno.EACCES, "not allowed")

        def close(self) -> None:
            Broken.closed = True

    monkeypatch.setattr("worker_agent.task_lock.socket.socket", lambda *_: Broken())
    with pytest.raises(PermissionError, match="not allowed"):
        TaskLock(task_arn)
    assert Broken.closed
