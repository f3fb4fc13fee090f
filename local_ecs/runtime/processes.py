# SPDX-License-Identifier: Apache-2.0
"""`ProcessTaskRunner`: a `TaskRunner` whose containers are processes of this machine."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local_ecs.runtime.api import ContainerState, LocalImages, LogSink, SecretResolver, StopCode, TaskEvent, TaskToRun
from local_ecs.runtime.container_plan import ContainerPlan, plan_containers
from local_ecs.runtime.errors import SecretError
from local_ecs.runtime.log_files import LogFiles
from local_ecs.runtime.process_tree import ENVIRONMENT_MARK, TASK_MARK, Trace, kill_all
from local_ecs.runtime.sessions import SessionRegister
from local_ecs.runtime.task import RunningTask, TaskContext

logger = logging.getLogger(__name__)

SECRET_DEADLINE_S = 20.0
"""For one secret; longer than a restart of the emulator."""


async def no_host_names() -> Callable[[str], str]:
    """Return a mapping without changes."""
    return lambda value: value


@dataclass(frozen=True)
class ProcessSettings:
    """The settings for tasks of one environment."""

    environment_id: str
    """The value of the marker variable that identifies the environment's processes."""
    work_dir: Path
    """The folders of a running task are in `work_dir/TASK_ID`."""
    temporary_dir: Path | None = None
    """A folder with a short path for each task's /tmp; None: in `work_dir`."""
    task_environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that AWS would set: region, endpoints, credentials."""
    host_names: Callable[[], Awaitable[Callable[[str], str]]] = no_host_names
    """Reads the emulator's host names. Returns a mapping for values of the environment."""
    stop_first: Callable[[str], int] = lambda _group: 0
    """The order in which `close()` stops groups of tasks, smallest first."""
    longest_stop_on_close_s: float = 30.0
    """Maximum wait of `close()` for each group, so that `down` does not take two minutes."""


class ProcessTaskRunner:
    """Starts the containers of tasks as processes, watches and stops them."""

    def __init__(
        self,
        settings: ProcessSettings,
        *,
        images: LocalImages,
        secrets: SecretResolver,
        logs: LogSink,
        files: LogFiles,
    ) -> None:
        self._settings = settings
        self._images = images
        self._secrets = secrets
        self._logs = logs
        self._files = files
        self._tasks: dict[str, RunningTask] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._sessions = SessionRegister(settings.work_dir)

    async def start(self, task: TaskToRun, on_event: Callable[[TaskEvent], None]) -> None:
        """Start a task; see `TaskRunner`."""
        running = RunningTask(task, self._context(task), on_event)
        self._tasks[task.task_arn] = running
        self._runs[task.task_arn] = asyncio.create_task(self._run(running), name=f"task {task.task_id}")

    async def stop(self, task_arn: str, *, reason: str) -> None:
        """Start the stop sequence. An unknown task has already stopped."""
        if running := self._tasks.get(task_arn):
            by_service = reason.startswith("Scaling activity initiated by")
            code: StopCode = "ServiceSchedulerInitiated" if by_service else "UserInitiated"
            running.stop(code, reason)

    def containers(self, task_arn: str) -> tuple[ContainerState, ...]:
        """The containers of a task that has not ended."""
        running = self._tasks.get(task_arn)
        return running.states() if running else ()

    def environment_of(self, container: str) -> Mapping[str, str] | None:
        """The variables of a container of this name that runs, with its secrets; None: none runs."""
        found = (running.environment_of(container) for running in self._tasks.values())
        return next((environment for environment in found if environment is not None), None)

    async def close(self) -> None:
        """Stop every task, one group after another. Tasks that do not end in time are killed."""
        limit = self._settings.longest_stop_on_close_s
        for order in sorted({self._settings.stop_first(running.task.group) for running in self._tasks.values()}):
            group = [task for task in self._tasks.values() if self._settings.stop_first(task.task.group) == order]
            for running in group:
                running.stop("UserInitiated", "The environment is being stopped", at_most_s=limit)
            runs = [self._runs[running.task.task_arn] for running in group if running.task.task_arn in self._runs]
            if runs:
                _, late = await asyncio.wait(runs, timeout=limit + 5)
                if late:
                    await asyncio.gather(*(running.kill() for running in group))
                    await asyncio.wait(late, timeout=10)

    def _context(self, task: TaskToRun) -> TaskContext:
        home = self._settings.work_dir / task.task_id
        marks = {ENVIRONMENT_MARK: self._settings.environment_id, TASK_MARK: task.task_id}
        names: list[Callable[[str], str]] = []

        async def prepare() -> tuple[ContainerPlan, ...]:
            names.append(await self._settings.host_names())
            return plan_containers(task, self._images)

        async def environment(container: ContainerPlan) -> Mapping[str, str]:
            return await self._environment(task, container, home, names[0])

        service = task.group.split(":", 1)[-1]
        file = self._files.of(service)

        def on_lines(container: ContainerPlan, lines: Sequence[str]) -> None:
            file.write(lines, prefix=f"{task.task_id[:8]} {container.name} | ")
            if container.awslogs is not None:
                prefix = container.awslogs.get("awslogs-stream-prefix", service)
                self._logs.write(container.awslogs, f"{prefix}/{container.name}/{task.task_id}", lines)

        return TaskContext(
            home=home,
            marks=marks,
            prepare=prepare,
            environment=environment,
            on_lines=on_lines,
            on_started=lambda container, pid: self._sessions.add(task.task_id, container.name, pid),
        )

    async def _run(self, running: RunningTask) -> None:
        task = running.task
        try:
            await running.run()
        except Exception:  # an error of one task must not end the others; it has been reported as stopped
            logger.exception("task %s ended by an error of the runner", task.task_id)
            await kill_all(Trace(marks={TASK_MARK: task.task_id}))
        finally:
            self._tasks.pop(task.task_arn, None)
            self._runs.pop(task.task_arn, None)
            self._sessions.forget(task.task_id)
            for folder in (self._settings.work_dir / task.task_id, self._temporary(task)):
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _environment(
        self, task: TaskToRun, container: ContainerPlan, home: Path, rename: Callable[[str], str]
    ) -> Mapping[str, str]:
        folder = home / container.name
        volumes = {path: home / "volumes" / volume for path, volume in container.mounts.items()}
        for volume in volumes.values():
            volume.mkdir(parents=True, exist_ok=True)
        temporary = self._temporary(task) / container.name
        temporary.mkdir(parents=True, exist_ok=True)
        secrets = {name: await self._secret(value_from) for name, value_from in container.secrets.items()}
        return {
            "PATH": _path(container),
            "HOME": str(folder),
            "TMPDIR": str(temporary),
            "LANG": "C.UTF-8",
            **container.image.environment,
            **self._settings.task_environment,
            **{name: rename(_mounted(value, volumes)) for name, value in container.environment.items()},
            **secrets,
            **task.ecs_environment,
        }

    def _temporary(self, task: TaskToRun) -> Path:
        """The task's own /tmp, with a short path: socket paths are limited to 108 bytes."""
        return (self._settings.temporary_dir or self._settings.work_dir / "tmp") / task.task_id[:12]

    async def _secret(self, value_from: str) -> str:
        try:
            async with asyncio.timeout(SECRET_DEADLINE_S):
                return await self._secrets.resolve(value_from)
        except TimeoutError:
            reason = f"no answer within {SECRET_DEADLINE_S:g} s"
        except Exception as error:  # noqa: BLE001 - for every error the task fails to start
            reason = str(error)
        raise SecretError(f"ResourceInitializationError: unable to retrieve secret {value_from}: {reason}")


def _path(container: ContainerPlan) -> str:
    """PATH, with the folder of the program first, so that `python` is the image's."""
    standard = container.image.environment.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    prefix = container.image.argv_prefix
    return f"{Path(prefix[0]).parent}:{standard}" if prefix and Path(prefix[0]).is_absolute() else standard


def _mounted(value: str, volumes: Mapping[str, Path]) -> str:
    """Replace a mounted path at the start of a value by its local folder."""
    for path, folder in volumes.items():
        if value == path or value.startswith(f"{path}/"):
            return f"{folder}{value[len(path) :]}"
    return value
