# SPDX-License-Identifier: Apache-2.0
"""The scaler as a process: reads its settings, opens the world, runs until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scaler.adapters.clock import SystemClock
from scaler.config.reload import ConfigFile
from scaler.config.schedule import Schedules
from scaler.config.settings import FleetSettings, Secrets, Settings, read_settings
from scaler.errors import ConfigurationError, ScalerError, SourceError
from scaler.reporting import replay
from scaler.reporting.cloudwatch_publisher import Publisher
from scaler.reporting.decision_log import DecisionLog
from scaler.reporting.http import application, serving, task_address
from scaler.reporting.prometheus_metrics import Metrics
from scaler.reporting.tick_recorder import Recorder
from scaler.runtime.agent_concurrency import BoundedWorkers
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.observe import Observer, World
from scaler.runtime.supervisor import Supervisor
from scaler.runtime.tick_result import Listener
from scaler.wiring import Opened, opened

EXIT_CONFIGURATION = 2
EXIT_FAILED = 1


def main() -> int:
    """Run the scaler; return the exit code: 0 after SIGTERM or SIGINT, 2 for wrong settings.

    `openmwaa-scaler replay FILE` decides recorded ticks again instead.
    """
    if sys.argv[1:2] == ["replay"]:
        return replay.main(sys.argv[2:])
    try:
        settings, hidden = read_settings(os.environ)
        asyncio.run(run(settings, hidden, os.environ))
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"openmwaa-scaler: {problem}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (ScalerError, OSError) as error:
        print(f"openmwaa-scaler: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


async def run(settings: Settings, hidden: Secrets, environment: Mapping[str, str]) -> None:
    """Run until SIGTERM or SIGINT. Nothing needs to be given back: drains are leases, counts are absolute."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _many_files()
    clock = SystemClock()
    async with opened(settings, hidden, clock) as given:
        with _process(settings, given, clock) as process:
            host = await task_address(given.session, environment.get("ECS_CONTAINER_METADATA_URI_V4"))
            file = process.file(environment.get("SCALER_CONFIG_FILE", ""))
            app = application(
                process.supervisor, process.log, process.metrics, config=lambda: file.problem if file else None
            )
            async with serving(app, host, settings.http_port):
                names = [fleet.name for fleet in settings.fleets]
                process.log.event("started", fleets=list(names), address=host, port=settings.http_port)
                await _until(stop, process, file)
                process.log.event("stopped")


async def _until(stop: asyncio.Event, process: Process, file: ConfigFile | None) -> None:
    """Run everything that runs for ever, until `stop` is set or one of it fails."""

    async def end() -> None:
        await stop.wait()
        for each in running:
            each.cancel()

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(process.supervisor.run())]
        if file is not None:
            running.append(group.create_task(file.watch()))
        if process.publisher is not None:
            running.append(group.create_task(process.publisher.run()))
        group.create_task(end())


class Process:
    """What runs in one process for all fleets."""

    def __init__(self, settings: Settings, given: Opened, clock: SystemClock, recorder: Recorder | None) -> None:
        self._given = given
        self._settings = settings
        self.log = DecisionLog(settings.environment, sys.stdout, clock.wall)
        self.metrics = Metrics()
        self.supervisor = Supervisor((), clock, on_lag=self.metrics.lagged, on_gone=self._gone)
        self.metrics.watch(given.calls, self.supervisor.paces)
        self.publisher = None
        if given.sink is not None and settings.metrics_namespace is not None:
            self.publisher = Publisher(
                settings.environment,
                settings.metrics_namespace,
                given.sink,
                clock,
                paces=self.supervisor.paces,
                on_failure=self._not_published,
                vitals=given.vitals,
            )
        everybody: Sequence[Listener | None] = (self.log, self.metrics, self.publisher, recorder)
        self._listeners = [each for each in everybody if each is not None]
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Take these settings from the next tick of each fleet on."""
        loops = [self._loop(settings, fleet) for fleet in settings.fleets]
        if self._given.world.controls is not None:
            self._given.world.controls.watch([fleet.name for fleet in settings.fleets])
        self._given.writes.resize(per_s=settings.calls.writes_per_s, burst=settings.calls.burst)
        self.supervisor.apply(loops)

    def file(self, path: str) -> ConfigFile | None:
        """Return the settings' file to watch, if there is one."""
        return ConfigFile(path, self._settings, self.apply, (self.metrics, self)) if path else None

    def config_applied(self) -> None:
        """Write that the settings' file is in force."""
        self.log.event("config_applied")

    def config_rejected(self, problems: tuple[str, ...]) -> None:
        """Write why the settings' file is not in force."""
        self.log.event("config_rejected", problems=list(problems))

    def _loop(self, settings: Settings, fleet: FleetSettings) -> FleetLoop:
        shared = self._given.world
        world = World(
            clock=shared.clock,
            cluster=shared.cluster,
            workers=BoundedWorkers(shared.workers),
            broker=shared.broker,
            database=shared.database,
            controls=shared.controls,
            writes=shared.writes,
        )
        core, schedule = settings.core_fleet(fleet), Schedules(fleet.schedule)
        observer = Observer(core, fleet.services, fleet.queues, world, schedule=schedule.at)
        return FleetLoop(core, observer, world, self._listeners)

    def _not_published(self, error: SourceError) -> None:
        self.metrics.not_published(error)
        self.log.event("not_published", error=str(error))

    def _gone(self, fleet: str) -> None:
        self.log.removed(fleet)
        self.metrics.removed(fleet)
        if self.publisher is not None:
            self.publisher.removed(fleet)
        self.log.event("fleet_removed", fleet=fleet)


@contextmanager
def _process(settings: Settings, given: Opened, clock: SystemClock) -> Iterator[Process]:
    """Assemble the process, with the recorder's thread around it where ticks are recorded."""
    with ExitStack() as stack:
        recorder = None
        if settings.record_dir is not None:
            recorder = Recorder(Path(settings.record_dir))
        process = Process(settings, given, clock, recorder)
        if recorder is not None:
            recorder.start(on_left_out=process.metrics.not_recorded)
            stack.callback(recorder.close)
        yield process


def _many_files() -> None:
    """Allow as many connections as the system does: a thousand fleets keep some thousands to their workers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else hard
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
