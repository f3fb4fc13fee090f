# SPDX-License-Identifier: Apache-2.0
"""The end of the processes that a killed daemon left, with small real processes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK
from openmwaa.local.child_environment import COMMAND, DAEMON, EMULATOR
from openmwaa.local.daemon import orphans
from openmwaa.local.paths import LocalPaths
from tests.emulated.local_ecs.runtime.conftest import eventually

SAVES = (
    "import signal, sys, pathlib; signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('saved').touch(), sys.exit()))"
)


class Left:
    """Starts processes of an environment without a daemon."""

    def __init__(self, folder: Path) -> None:
        self.paths = LocalPaths(folder / "left")
        self.paths.make()
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, container: str, script: str = "") -> subprocess.Popen[bytes]:
        marks = {ENVIRONMENT_MARK: self.paths.environment_id, CONTAINER_MARK: container}
        wait = f"{script}\nimport pathlib, time; pathlib.Path('{container}.up').touch(); time.sleep(1000)"
        self.started.append(subprocess.Popen([sys.executable, "-c", wait], env=marks, cwd=self.paths.root))
        return self.started[-1]

    async def up(self) -> None:
        names = [f"{name}.up" for name in ("scheduler", "worker", EMULATOR)]
        await eventually(lambda: all((self.paths.root / name).exists() for name in names), "the processes to be up")


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    left = Left(tmp_path)
    yield left
    for process in left.started:
        process.kill()
        process.wait()


async def test_every_process_stops_before_one_is_killed_and_the_emulator_ends_by_itself(
    left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, scheduler, emulator = left.start("worker"), left.start("scheduler"), left.start(EMULATOR, SAVES)
    await left.up()
    states: list[set[str]] = []
    kill = psutil.Process.kill

    def record(process: psutil.Process) -> None:
        if process.pid in {worker.pid, scheduler.pid}:
            states.append({psutil.Process(other.pid).status() for other in (worker, scheduler)})
        kill(process)

    monkeypatch.setattr(psutil.Process, "kill", record)
    assert await orphans.end_orphans(left.paths) == 3
    assert states[0] == {psutil.STATUS_STOPPED}, "a process still ran when the first was killed"
    assert (worker.wait(), scheduler.wait(), emulator.wait()) == (-signal.SIGKILL, -signal.SIGKILL, 0)
    assert (left.paths.root / "saved").exists()


async def test_spared_processes_run_on(left: Left) -> None:
    spared = [left.start(COMMAND), left.start(DAEMON)]
    ended = left.start("worker")
    assert await orphans.end_orphans(left.paths, spare=(COMMAND, DAEMON)) == 1
    assert ended.wait() == -signal.SIGKILL
    assert [psutil.Process(process.pid).status() in {"running", "sleeping"} for process in spared] == [True, True]


async def test_the_folders_of_tasks_are_removed(left: Left) -> None:
    for folder in (left.paths.tasks / "b7e1" / "worker", left.paths.runtime / "tmp" / "b7e1"):
        folder.mkdir(parents=True)
    await orphans.end_orphans(left.paths)
    assert not list(left.paths.tasks.iterdir())
    assert not (left.paths.runtime / "tmp").exists()
