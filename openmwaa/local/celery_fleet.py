# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local celery`: the workers of a Celery app on this machine, scaled by the scaler with its own settings.

The local ECS runs the workers and the scaler. The broker is the app's Redis, or the emulated SQS. Everything ends with
this process.
"""

import asyncio
import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from local_ecs.api import BlockAddresses, LocalEcs, LocalEcsSettings
from local_ecs.runtime.api import LocalImage, LocalImages, LogSink
from local_ecs.runtime.log_files import LogFiles
from local_ecs.runtime.process_tree import kill_all
from local_ecs.runtime.processes import ProcessSettings, ProcessTaskRunner
from openmwaa.local.addresses import AddressBlock, check_free, choose_block, listeners_in_use
from openmwaa.local.child_environment import LOCAL_AWS, child_environment, python_path
from openmwaa.local.daemon.orphans import daemon_lock, end_orphans, traces
from openmwaa.local.daemon.watchdog import watchdog
from openmwaa.local.errors import PrerequisiteError, UnsupportedError
from openmwaa.local.install import venvs
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services.aws import client
from openmwaa.local.services.emulator import emulator
from openmwaa.local.services.process_manager import ManagedProcess, ProcessManager
from openmwaa.local.services.secrets import EmulatedSecrets
from openmwaa.progress import Progress
from scaler.adapters.worker_agent import public_key
from scaler.config.environment import read_settings
from scaler.config.settings import ScalerConfig
from scaler.errors import ConfigurationError

SCALER, WORKER = "scaler", "worker"


def run(path: Path, command: Sequence[str], *, progress: Progress) -> None:
    """Run the fleet of the scaler's settings in `path` until SIGINT or SIGTERM; `command` starts one worker.

    Raises:
        LocalError: the settings, the command or an address cannot be used.
    """
    seed = secrets.token_urlsafe(32)
    environment = {"SCALER_SIGNING_SEED": seed, "SCALER_BROKER_URL": os.environ.get("SCALER_BROKER_URL", "")}
    try:
        settings, _ = read_settings({**environment, "SCALER_CONFIG_FILE": str(path)})
    except ConfigurationError as error:
        raise UnsupportedError(str(error)) from error
    if len(settings.fleets) > 1 or settings.database is not None or settings.broker.kind == "cloudwatch":
        raise UnsupportedError(f"{path}: on this machine there is one fleet, on SQS or Redis, without a database")
    program = shutil.which(command[0])
    if program is None:
        raise PrerequisiteError(f"There is no `{command[0]}` on PATH to start a worker.")
    here = os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH"))))
    worker = child_environment({"PYTHONPATH": here, "WORKER_AGENT_PUBLIC_KEY": public_key(seed)})
    images = {
        WORKER: LocalImage(WORKER, (program, *command[1:]), worker),
        SCALER: LocalImage(SCALER, (sys.executable, "-m", "scaler.main"), {**environment, "PYTHONPATH": python_path()}),
    }
    paths = LocalPaths.of(path, settings.environment)
    paths.make()
    with daemon_lock(paths):
        python = venvs.ensure(venvs.venv_of("emulator"), progress=progress) if settings.broker.kind == "sqs" else None
        asyncio.run(_run(paths, settings, images, python, progress))


async def _run(
    paths: LocalPaths,
    settings: ScalerConfig,
    images: Mapping[str, LocalImage],
    emulator_python: Path | None,
    progress: Progress,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    addresses = choose_block(paths.root, paths.block, is_free=lambda block: not listeners_in_use(block))
    files = LogFiles(paths.logs)
    urls = dict(settings.fleets[0].queues)
    await end_orphans(paths)
    check_free(addresses)
    async with AsyncExitStack() as stack:
        stack.callback(files.close)

        async def start(process: ManagedProcess) -> None:
            manager = ProcessManager(process)
            stack.push_async_callback(manager.stop)
            await manager.start()

        await start(watchdog(paths))
        if emulator_python is not None:
            emulated = emulator(
                python=emulator_python,
                folder=paths.emulator,
                addresses=addresses,
                region=settings.region,
                environment_id=paths.environment_id,
                log=files.of("emulator"),
            )
            await start(emulated)
            urls = await _create_queues(addresses, settings.region, urls)
        ecs = _local_ecs(paths, settings.region, addresses, images, files, _Decisions(progress))
        stack.push_async_callback(ecs.stop)
        await ecs.start()
        await _create_services(addresses, settings, urls)
        progress(f"The fleet is up; Ctrl-C stops it. Logs: {paths.logs}")
        if emulator_python is not None:
            variables = " ".join(f"{name}={value}" for name, value in _variables(addresses, settings.region).items())
            progress(f"To send tasks from another shell: export {variables}")
        await stop.wait()
        progress("Stopping the workers and the scaler")
    left = await kill_all(traces(paths))
    progress(f"Processes remain: {left}" if left else "Stopped; no processes remain.")


def _local_ecs(
    paths: LocalPaths,
    region: str,
    addresses: AddressBlock,
    images: Mapping[str, LocalImage],
    files: LogFiles,
    logs: LogSink,
) -> LocalEcs:
    runner = ProcessTaskRunner(
        ProcessSettings(
            environment_id=paths.environment_id,
            work_dir=paths.tasks,
            temporary_dir=paths.runtime / "tmp",
            task_environment=_variables(addresses, region),
            stop_first=lambda group: group != f"service:{SCALER}",  # so that it starts no further worker
        ),
        images=LocalImages(by_label={}, by_reference=images),
        secrets=EmulatedSecrets(addresses.emulator_url),
        logs=logs,
        files=files,
    )
    settings = LocalEcsSettings(host=addresses.ecs, port=addresses.ecs_port, region=region)
    return LocalEcs(settings, runner=runner, addresses=BlockAddresses(addresses.block))


def _variables(addresses: AddressBlock, region: str) -> dict[str, str]:
    return {**addresses.endpoint_variables, "AWS_DEFAULT_REGION": region, **LOCAL_AWS}


async def _create_queues(addresses: AddressBlock, region: str, urls: Mapping[str, str]) -> dict[str, str]:
    """Create an emulated queue with the name of each queue in AWS; return the URLs."""
    found = {}
    async with client("sqs", addresses.emulator_url, region=region) as sqs:
        for queue, url in urls.items():
            name = url.rpartition("/")[2]
            attributes = {"VisibilityTimeout": "3600"}
            attributes |= {"FifoQueue": "true"} if name.endswith(".fifo") else {}
            found[queue] = (await sqs.create_queue(QueueName=name, Attributes=attributes))["QueueUrl"]
    return found


async def _create_services(addresses: AddressBlock, settings: ScalerConfig, urls: Mapping[str, str]) -> None:
    (fleet,) = settings.fleets
    here: dict[str, Any] = dict.fromkeys(("overrides_prefix", "metrics_namespace", "record_dir", "sleep", "log_group"))
    here["fleets"] = (fleet.model_copy(update={"queues": urls}),)
    config = settings.model_copy(update=here).model_dump_json()
    async with client("ecs", addresses.ecs_url, region=settings.region) as ecs:
        await ecs.create_cluster(clusterName=settings.cluster)

        async def create(service: str, image: str, desired: int, **container: Any) -> None:
            definition = await ecs.register_task_definition(
                family=image,
                requiresCompatibilities=["FARGATE"],
                networkMode="awsvpc",
                cpu="256",
                memory="512",
                containerDefinitions=[{"name": image, "image": image, "stopTimeout": 30, **container}],
            )
            await ecs.create_service(
                cluster=settings.cluster,
                serviceName=service,
                taskDefinition=definition["taskDefinition"]["taskDefinitionArn"],
                desiredCount=desired,
                launchType="FARGATE",
                deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 100},
            )

        for index, service in enumerate(fleet.services):
            await create(service, WORKER, 0 if index else fleet.min)
        await create(
            SCALER,
            SCALER,
            1,
            environment=[{"name": "SCALER_CONFIG", "value": config}],
            logConfiguration={"logDriver": "awslogs", "options": {}},
        )


class _Decisions:
    """The scaler's log: prints the address of its page, and each decision that differs from the last."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last = ""

    def write(self, options: Mapping[str, str], stream: str, lines: Sequence[str]) -> None:
        """Print what is new."""
        for line in lines:
            event: dict[str, Any] = {}
            with suppress(ValueError):
                event = json.loads(line)
            if event.get("event") == "started":
                self._progress(f"The scaler's page: http://{event['address']}:{event['port']}")
            if event.get("event") == "decision":
                errors = [error["text"] for error in event["errors"] if error["source"] != "agent"]  # else each start
                if (text := " ".join([event["reason"], *errors])) != self._last:
                    self._last = text
                    self._progress(f"{datetime.now():%H:%M:%S}  {text}")  # noqa: DTZ005 - the reader's own clock
