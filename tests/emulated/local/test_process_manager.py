# SPDX-License-Identifier: Apache-2.0
"""Restarts of processes, with small real processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from local_ecs.runtime.process import ContainerProcess
from openmwaa.local.errors import InfrastructureError, LocalError
from openmwaa.local.services.process_manager import ManagedProcess, ProcessManager
from tests.emulated.local_ecs.runtime.conftest import eventually


async def at_once() -> bool:
    return True


def running_after(manager: ProcessManager, restarts: int) -> bool:
    return manager.status.restarts == restarts and manager.status.state == "running"


def managed(folder: Path, script: str, answers: Callable[[], Awaitable[bool]], ready_within_s: float) -> ManagedProcess:
    async def start() -> ContainerProcess:
        return await ContainerProcess.start(
            ("/bin/sh", "-c", script),
            environment={"PATH": os.defpath},
            home=folder,
            marks={"OPENMWAA_TEST": str(folder)},
            on_lines=lambda _lines: None,
        )

    return ManagedProcess("thing", start, answers, what="The thing", ready_within_s=ready_within_s, stop_timeout_s=0.3)


@pytest.fixture
async def keep(tmp_path: Path) -> AsyncIterator[Callable[..., ProcessManager]]:
    made: list[ProcessManager] = []

    def make(
        script: str, answers: Callable[[], Awaitable[bool]] = at_once, ready_within_s: float = 60.0
    ) -> ProcessManager:
        made.append(ProcessManager(managed(tmp_path, script, answers, ready_within_s)))
        return made[-1]

    yield make
    for manager in made:
        await manager.stop()


async def test_a_killed_process_is_restarted(keep: Callable[..., ProcessManager]) -> None:
    manager = keep("exec sleep 1000")
    await manager.start()
    for restarts in (1, 2):
        assert manager.pid
        os.kill(manager.pid, signal.SIGKILL)
        await eventually(partial(running_after, manager, restarts), "a restart")
    assert manager.status.last_end == "ended with exit code 137"


async def test_an_end_during_the_first_start_is_an_error(keep: Callable[..., ProcessManager]) -> None:
    async def never() -> bool:
        return await asyncio.Event().wait()

    with pytest.raises(LocalError, match="thing ended with exit code 3 during its start"):
        await keep("exit 3", never).start()


async def test_a_process_that_does_not_become_ready_is_stopped(keep: Callable[..., ProcessManager]) -> None:
    async def refuse() -> bool:
        return False

    manager = keep("exec sleep 1000", refuse, 0.3)
    with pytest.raises(InfrastructureError, match=r"The thing does not answer after 0\.3 s"):
        await manager.start()
    assert manager.pid is None


async def test_a_process_whose_readiness_raises_is_stopped(keep: Callable[..., ProcessManager]) -> None:
    async def fail() -> bool:
        raise OSError("no such file")

    manager = keep("exec sleep 1000", fail)
    with pytest.raises(OSError, match="no such file"):
        await manager.start()
    assert manager.pid is None


async def test_a_process_that_ignores_its_stop_signal_is_killed(keep: Callable[..., ProcessManager]) -> None:
    manager = keep("trap '' TERM; while :; do sleep 0.05; done")
    await manager.start()
    await manager.stop()
    assert (manager.pid, manager.status.state) == (None, "stopped")
