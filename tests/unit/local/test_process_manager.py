# SPDX-License-Identifier: Apache-2.0
"""What is kept running, with tiny real processes."""

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
from tests.unit.local_ecs.runtime.conftest import eventually


async def at_once() -> None:
    return None


def running_after(one: ProcessManager, restarts: int) -> bool:
    return one.status.restarts == restarts and one.status.state == "running"


def part(folder: Path, script: str, ready: Callable[[], Awaitable[None]] = at_once) -> ManagedProcess:
    async def start() -> ContainerProcess:
        return await ContainerProcess.start(
            ("/bin/sh", "-c", script),
            environment={"PATH": os.defpath},
            home=folder,
            marks={"OPENMWAA_TEST": str(folder)},
            on_lines=lambda _lines: None,
        )

    return ManagedProcess(name="thing", start=start, ready=ready, stop_timeout_s=0.3)


@pytest.fixture
async def keep(tmp_path: Path) -> AsyncIterator[Callable[..., ProcessManager]]:
    made: list[ProcessManager] = []

    def make(script: str, ready: Callable[[], Awaitable[None]] = at_once) -> ProcessManager:
        made.append(ProcessManager(part(tmp_path, script, ready)))
        return made[-1]

    yield make
    for one in made:
        await one.stop()


async def test_what_is_killed_is_started_again(keep: Callable[..., ProcessManager]) -> None:
    one = keep("exec sleep 1000")
    await one.start()
    for restarts in (1, 2):
        assert one.pid
        os.kill(one.pid, signal.SIGKILL)
        await eventually(partial(running_after, one, restarts), "a restart")
    assert one.status.last_end == "ended with 137"


async def test_an_ordered_stop_and_start_is_no_restart(keep: Callable[..., ProcessManager]) -> None:
    one = keep("exec sleep 1000")
    await one.start()
    before = one.pid
    await one.stop_and_start()
    assert one.pid != before
    assert (one.status.state, one.status.restarts) == ("running", 0)
    assert one.pid
    os.kill(one.pid, signal.SIGKILL)
    await eventually(lambda: one.status.restarts == 1, "it to be watched after the ordered start")


async def test_what_ends_at_once_is_an_error_at_the_first_start(keep: Callable[..., ProcessManager]) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(LocalError, match="thing ended with 3 while it started"):
        await keep("exit 3", never).start()


async def test_what_does_not_get_ready_is_stopped(keep: Callable[..., ProcessManager]) -> None:
    async def refuse() -> None:
        raise InfrastructureError("it does not answer")

    one = keep("exec sleep 1000", refuse)
    with pytest.raises(InfrastructureError):
        await one.start()
    assert one.pid is None


async def test_what_ignores_its_stop_signal_is_killed(keep: Callable[..., ProcessManager]) -> None:
    one = keep("trap '' TERM; while :; do sleep 0.05; done")
    await one.start()
    await one.stop()
    assert (one.pid, one.status.state) == (None, "stopped")
