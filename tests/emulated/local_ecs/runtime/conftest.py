# SPDX-License-Identifier: Apache-2.0
"""A runner of small processes, and waits for conditions with a time-out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from local_ecs.runtime.api import LocalImage, LocalImages, TaskEvent, TaskStopped, TaskToRun
from local_ecs.runtime.log_files import LogFiles
from local_ecs.runtime.process_tree import ENVIRONMENT_MARK, Trace, find, kill_all
from local_ecs.runtime.processes import ProcessSettings, ProcessTaskRunner

DEADLINE_S = 120.0


class FakeSecrets:
    """Secrets by name. A missing one raises an error, as in the real resolver."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def resolve(self, value_from: str) -> str:
        if value_from not in self.values:
            raise LookupError("there is no such secret")
        return self.values[value_from]


@dataclass
class RecordingSink:
    """Records the lines for `awslogs`."""

    written: list[tuple[str, str, str]] = field(default_factory=list)

    def write(self, options: Mapping[str, str], stream: str, lines: Sequence[str]) -> None:
        self.written += [(options["awslogs-group"], stream, line) for line in lines]


async def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds. Fails with `what`."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # there is no event for this
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"after {DEADLINE_S:g} s still waiting for: {what}")


class Bench:
    """A runner, its events, and helpers to start tasks."""

    def __init__(self, folder: Path) -> None:
        self.mark = f"test-{folder.name}"
        self.folder = folder
        self.secrets = FakeSecrets()
        self.sink = RecordingSink()
        self.events: list[TaskEvent] = []
        self.files = LogFiles(folder / "logs")
        shell = LocalImage("shell", ("/bin/sh", "-c"), {"FROM_IMAGE": "yes", "BOTH": "image"})
        self.names: dict[str, str] = {}
        self.runner = ProcessTaskRunner(
            ProcessSettings(
                environment_id=self.mark,
                work_dir=folder / "tasks",
                task_environment={"AWS_ENDPOINT_URL": "http://127.20.0.1:4566"},
                host_names=self._host_names,
                stop_first=lambda group: 0 if group == "service:scaler" else 1,
                longest_stop_on_close_s=5,
            ),
            images=LocalImages(by_label={"shell": shell}, by_reference={"registry/shell:1": shell}),
            secrets=self.secrets,
            logs=self.sink,
            files=self.files,
        )

    async def _host_names(self) -> Callable[[str], str]:
        return lambda value: self.names.get(value, value)

    async def start(self, *containers: Mapping[str, Any], task_id: str = "t1", group: str = "service:web") -> str:
        arn = f"arn:aws:ecs:us-east-1:123456789012:task/c/{task_id}"
        definitions = [{"image": "registry/shell:1", **container} for container in containers]
        await self.runner.start(
            TaskToRun(
                task_arn=arn,
                task_id=task_id,
                group=group,
                address="127.20.1.1",
                task_definition={"family": "f", "containerDefinitions": definitions},
                overrides={},
                ecs_environment={"ECS_AGENT_URI": "http://127.20.0.2:4670/api/x"},
            ),
            self.events.append,
        )
        return arn

    def of(self, kind: type[Any], arn: str) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind) and event.task_arn == arn]

    async def stopped(self, arn: str) -> TaskStopped:
        await eventually(lambda: self.of(TaskStopped, arn), f"the task to stop; events {self.events}; log {self.log()}")
        (event,) = self.of(TaskStopped, arn)
        assert isinstance(event, TaskStopped)
        return event

    def log(self, service: str = "web") -> list[str]:
        file = self.folder / "logs" / f"{service}.log"
        return [line.split(" | ", 1)[1] for line in file.read_text().splitlines()] if file.exists() else []

    async def printed(self, line: str, service: str = "web") -> None:
        await eventually(lambda: line in self.log(service), f"{line!r} in the log, which has {self.log(service)}")

    def processes(self) -> list[psutil.Process]:
        return find(Trace(marks={ENVIRONMENT_MARK: self.mark}))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.runner.close()
    bench.files.close()
    remaining = await kill_all(Trace(marks={ENVIRONMENT_MARK: bench.mark}))
    assert not remaining, f"processes remain: {remaining}"
