# SPDX-License-Identifier: Apache-2.0
"""The scaler as a process: reads its settings, opens its resources, runs until SIGTERM."""

import argparse
import asyncio
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from scaler.adapters.clock import ScalerClock
from scaler.adapters.worker_agent import public_key
from scaler.config.environment import ScalerSecrets, read_settings, signing_seed
from scaler.config.reload import ConfigFile
from scaler.config.schedule import Schedules
from scaler.config.settings import FleetSettings, ScalerConfig
from scaler.errors import ConfigurationError, ScalerError, SourceError
from scaler.reporting import replay
from scaler.reporting.airflow_problems import AirflowReport
from scaler.reporting.cloudwatch_publisher import CloudWatchPublisher
from scaler.reporting.decision_log import DecisionLog
from scaler.reporting.http import application, serving, task_address
from scaler.reporting.override_api import OverrideApi
from scaler.reporting.prometheus_metrics import PrometheusMetrics
from scaler.reporting.restored_history import RestoredHistory
from scaler.reporting.tick_recorder import TickRecorder
from scaler.runtime.agent_concurrency import AgentPlaces, LimitedWorkers
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.observe import Observer
from scaler.runtime.sleep_loop import SleepLoop, SleepStatus
from scaler.runtime.supervisor import FleetSupervisor
from scaler.runtime.tick_result import TickListener
from scaler.wiring import Resources, open_resources

EXIT_CONFIGURATION = 2
EXIT_FAILED = 1


def main() -> int:
    """Run the scaler. Exit codes: 0 success (SIGTERM or SIGINT), 1 failure, 2 wrong settings.

    `replay FILE` decides recorded ticks again instead. `public-key` prints the workers' key.
    """
    if sys.argv[1:2] == ["replay"]:
        return replay.main(sys.argv[2:])
    options = _arguments()
    try:
        if options.command == "public-key":
            print(public_key(signing_seed(os.environ)))
            return 0
        settings, secrets = read_settings(os.environ)
        asyncio.run(run(settings, secrets, os.environ, dry_run=options.dry_run))
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"openmwaa-scaler: {problem}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (ScalerError, OSError) as error:
        print(f"openmwaa-scaler: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _arguments() -> argparse.Namespace:
    more = "`openmwaa-scaler replay FILE` decides recorded ticks again."
    parser = argparse.ArgumentParser("openmwaa-scaler", description=__doc__.splitlines()[0], epilog=more)
    key = "print the workers' key for SCALER_SIGNING_SEED"
    parser.add_argument("command", nargs="?", choices=("public-key",), help=key)
    parser.add_argument("--dry-run", action="store_true", help="read everything, log each decision, change nothing")
    return parser.parse_args()


async def run(
    settings: ScalerConfig, secrets: ScalerSecrets, environment: Mapping[str, str], *, dry_run: bool = False
) -> None:
    """Run until SIGTERM or SIGINT. The end needs no cleanup: drains are leases, counts are absolute."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _raise_file_limit()
    clock = ScalerClock()
    async with open_resources(settings, secrets, clock) as resources:
        with _process(settings, resources, clock, dry_run=dry_run) as process:
            host = await task_address(resources.session, environment.get("ECS_CONTAINER_METADATA_URI_V4"))
            file = process.file(environment.get("SCALER_CONFIG_FILE", ""))
            app = application(
                process.supervisor,
                process.log,
                process.metrics,
                config=lambda: file.problem if file else None,
                overrides=process.override_api(secrets.overrides_key),
            )
            async with serving(app, host, settings.http_port):
                names = [fleet.name for fleet in settings.fleets]
                process.log.event("started", fleets=list(names), address=host, port=settings.http_port, dry_run=dry_run)
                await _until(stop, process, file)
                process.log.event("stopped")


async def _until(stop: asyncio.Event, process: "Process", file: ConfigFile | None) -> None:
    """Run all permanent tasks until `stop` is set or one of them fails."""

    async def end() -> None:
        await stop.wait()
        for task in running:
            task.cancel()

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(process.supervisor.run())]
        if file is not None:
            running.append(group.create_task(file.watch()))
        if process.publisher is not None:
            running.append(group.create_task(process.publisher.run()))
        if process.airflow is not None:
            running.append(group.create_task(process.airflow.run()))
        if process.sleep is not None:
            running.append(group.create_task(process.sleep.run()))
        if process.history is not None:
            running.append(group.create_task(process.history.run()))
        group.create_task(end())


class Process:
    """What one process runs for all fleets."""

    def __init__(
        self,
        settings: ScalerConfig,
        resources: Resources,
        clock: ScalerClock,
        recorder: TickRecorder | None,
        *,
        dry_run: bool = False,
    ) -> None:
        self._dry_run = dry_run
        self._resources = resources
        self._settings = settings
        self._agent_places = AgentPlaces()
        self._sleep_status = SleepStatus() if settings.sleep and not dry_run else None
        self.log = DecisionLog(settings.environment, sys.stdout, clock.wall)
        self.metrics = PrometheusMetrics()
        self.supervisor = FleetSupervisor((), clock, on_lag=self.metrics.lagged, on_removed=self._removed)
        self.metrics.watch(resources.calls, self.supervisor.tick_intervals)
        self.publisher = None
        if resources.sink is not None and settings.metrics_namespace is not None and not dry_run:
            self.publisher = CloudWatchPublisher(
                settings.environment,
                settings.metrics_namespace,
                resources.sink,
                clock,
                intervals=self.supervisor.tick_intervals,
                on_failure=self._not_published,
                health=resources.airflow_health,
            )
        self.airflow = None
        if resources.airflow_health is not None and not dry_run:
            self.airflow = AirflowReport(resources.airflow_health, clock, self.log.event)
        self.sleep = self._sleep_loop(settings, resources, clock)
        if self.sleep is not None and self.publisher is not None:
            self.publisher.waking_s = self.sleep.waking_s
        self.history = None
        if resources.own_log is not None:
            self.history = RestoredHistory(self.log, resources.own_log, clock, self.supervisor.tick_intervals)
        listeners: Sequence[TickListener | None] = (self.log, self.metrics, self.publisher, recorder)
        self._listeners = [listener for listener in listeners if listener is not None]
        self.apply(settings)

    def apply(self, settings: ScalerConfig) -> None:
        """Use these settings from the next tick of each fleet on."""
        self._settings = settings
        loops = [self._loop(settings, fleet) for fleet in settings.fleets]
        if self._resources.ports.overrides is not None:
            self._resources.ports.overrides.watch([fleet.name for fleet in settings.fleets])
        self._resources.write_rate_limit.resize(per_s=settings.calls.writes_per_s, burst=settings.calls.burst)
        self.log.links = {"airflow": settings.web_url, "log": settings.log_url}
        self.log.prices = {fleet.name: fleet.worker_hour_usd for fleet in settings.fleets}
        self.supervisor.apply(loops)

    def file(self, path: str) -> ConfigFile | None:
        """Return the settings' file to watch; None without one."""
        return ConfigFile(path, self._settings, self.apply, self._config_changed) if path else None

    def override_api(self, key: str | None) -> OverrideApi | None:
        """Return the handler of writes; None without a key or overrides, and in a dry run."""
        store = self._resources.override_store
        if key is None or store is None or self._dry_run:
            return None

        def maxima() -> dict[str, int]:
            return {fleet.name: fleet.max for fleet in self._settings.fleets}

        wall = self._resources.ports.clock.wall
        return OverrideApi(store, key, wall, started=wall(), event=self.log.event, maxima=maxima)

    def _config_changed(self, problems: tuple[str, ...]) -> None:
        self.metrics.config_changed(problems)
        if problems:
            self.log.event("config_rejected", problems=list(problems))
        else:
            self.log.event("config_applied")

    def _loop(self, settings: ScalerConfig, fleet: FleetSettings) -> FleetLoop:
        shared = self._resources.ports
        workers = LimitedWorkers(shared.workers, shared.clock, settings.interval_s, self._agent_places)
        ports = replace(shared, workers=workers)
        if self._sleep_status is not None:
            ports = replace(ports, held=self._sleep_status.overrides)
            if not self._sleep_status.reads_database:
                ports = replace(ports, database=None, plan=None)
        core, schedule = replace(settings.core_fleet(fleet), dry_run=self._dry_run), Schedules(fleet.schedule)
        demand = self._resources.demand_metrics
        metric = partial(demand.value, fleet.demand_metric) if fleet.demand_metric else None
        observer = Observer(core, fleet.services, fleet.queues, ports, schedule=schedule.at, metric=metric)
        return FleetLoop(core, observer, ports, self._listeners)

    def _sleep_loop(self, settings: ScalerConfig, resources: Resources, clock: ScalerClock) -> SleepLoop | None:
        if self._sleep_status is None or settings.sleep is None or resources.sleep is None:
            return None
        return SleepLoop(
            settings.sleep,
            resources.sleep,
            resources.ports.cluster,
            resources.ports.broker,
            clock,
            self.log.event,
            self._sleep_changed,
            workers=lambda: [service for fleet in self._settings.fleets for service in fleet.services],
            queues=lambda: [address for fleet in self._settings.fleets for address in fleet.queues.values()],
            hold_s=3 * settings.interval_s,
        )

    def _sleep_changed(self, status: SleepStatus) -> None:
        self._sleep_status = status
        for database in self._resources.databases:
            database.rest(resting=not status.reads_database)
        if self.publisher is not None:
            self.publisher.quiet = not status.reads_database
        self.apply(self._settings)

    def _not_published(self, error: SourceError) -> None:
        self.metrics.not_published()
        self.log.event("not_published", error=str(error))

    def _removed(self, fleet: str) -> None:
        self.log.removed(fleet)
        self.metrics.removed(fleet)
        if self.publisher is not None:
            self.publisher.removed(fleet)
        self.log.event("fleet_removed", fleet=fleet)


@contextmanager
def _process(settings: ScalerConfig, resources: Resources, clock: ScalerClock, *, dry_run: bool) -> Iterator[Process]:
    """Create the process, with the recorder's thread around it if ticks are recorded."""
    with ExitStack() as stack:
        recorder = None
        if settings.record_dir is not None:
            recorder = TickRecorder(Path(settings.record_dir))
        process = Process(settings, resources, clock, recorder, dry_run=dry_run)
        if recorder is not None:
            recorder.start(on_dropped=process.metrics.not_recorded)
            stack.callback(recorder.close)
        yield process


def _raise_file_limit() -> None:
    """Allow as many open files as the system permits: a thousand fleets keep some thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = 65536 if hard == resource.RLIM_INFINITY else hard
    if soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


if __name__ == "__main__":
    sys.exit(main())
