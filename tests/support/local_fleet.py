# SPDX-License-Identifier: Apache-2.0
"""Where a fleet lives on this machine: a local ECS in a thread of its own, a queue, two generations and a scaler."""

import asyncio
import base64
import json
import sys
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import boto3
import psutil
from botocore.config import Config

from local_ecs.api import BlockAddresses, LocalEcs, LocalEcsSettings
from local_ecs.runtime.api import LocalImage, LocalImages, SecretResolver
from local_ecs.runtime.log_files import LogFiles
from local_ecs.runtime.process_tree import ENVIRONMENT_MARK, Trace, find, works_below
from local_ecs.runtime.processes import ProcessSettings, ProcessTaskRunner
from openmwaa.local.addresses import AddressBlock, choose_block, listeners_in_use
from scaler.adapters.worker_agent import signing_key
from tests.support.fleet_audit import OPERATOR
from tests.support.redis_queue import RedisQueue
from tests.support.sqs_queue import SqsQueue
from tests.support.worker import REPOSITORY

T = TypeVar("T")

CLUSTER = "openmwaa-fleet"
A, B = "worker-default-a", "worker-default-b"
GENERATIONS = (A, B)
SCALER = "scaler"
ON_DEMAND, SPOT = "FARGATE", "FARGATE_SPOT"
SEED, SEED_ARN = "a seed for tests", "arn:aws:secretsmanager:us-east-1:123456789012:secret:scaler-seed"
AGENT_PORT = 8790


@dataclass(frozen=True)
class LocalFleetSettings:
    """The fleet, and how it is scaled; seconds."""

    slots: int = 3
    minimum: int = 1
    maximum: int = 4
    interval_s: float = 1.0
    scale_in_window_s: float = 3.0
    visibility_s: int = 600
    stop_timeout_s: int = 20
    max_receives: int | None = None
    """After so many receives a message is a dead letter."""
    workers_sqs: str = ""
    scaler_sqs: str = ""
    """Where workers and scaler find SQS; by default the emulator itself."""
    database: Mapping[str, Any] | None = None
    database_password: str = ""
    """Airflow's metadata database as the scaler's settings name it; plain Celery has none."""
    redis_port: int | None = None
    """The broker is the Redis on this port of 127.0.0.1, and there is no SQS."""
    redis_passwords: Mapping[str, str] = field(default_factory=dict)
    """Of the users `celery` and `scaler`, where workers and scaler log in to Redis as these."""
    demand_metric: Mapping[str, Any] | None = None
    scaler_cloudwatch: str = ""
    """A CloudWatch metric of the fleet as the scaler's settings name it, and the URL of CloudWatch."""
    secrets: SecretResolver | None = None
    """Where ECS reads the secrets of tasks; None: the scaler's seed alone."""
    services: tuple[str, ...] = GENERATIONS
    """The fleet's ECS services; a fleet that is not openmwaa's own may have one."""


class _Seed:
    async def resolve(self, value_from: str) -> str:
        return {SEED_ARN: SEED}[value_from]


class _NoCloudWatch:
    def write(self, options: Mapping[str, str], stream: str, lines: Sequence[str]) -> None:
        """Drop the lines; `LogFiles` keeps them."""


class LocalFleet:
    """The ECS, the queue and the files of one fleet, until `close`."""

    def __init__(self, emulator: str, folder: Path, settings: LocalFleetSettings) -> None:
        self.settings = settings
        self.queue: SqsQueue | RedisQueue
        if settings.redis_port is None:
            self.queue = SqsQueue.of_its_own(
                emulator, "fleet", settings.visibility_s, max_receives=settings.max_receives
            )
        else:
            self.queue = RedisQueue.of_its_own(settings.redis_port, "fleet")
        self._emulator = emulator
        self.folder = folder
        self.task_journal_file = folder / "task_journal"
        self._scaler_file = folder / "scaler.json"
        self._mark = f"fleet-{uuid4().hex}"
        addresses = choose_block(folder, folder / "block", is_free=lambda block: not listeners_in_use(block))
        self._files = LogFiles(folder / "logs")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local ECS", daemon=True)
        self._thread.start()
        self.ecs = self.call(self._start(addresses))
        self.client = boto3.client(
            "ecs",
            endpoint_url=self.ecs.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(user_agent_extra=f"app/{OPERATOR}"),
        )

    def close(self) -> None:
        """Stop all; asserts that no process is left."""
        self.client.close()
        self.queue.client.close()
        self.call(self.ecs.stop())
        self._files.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=120)
        self._loop.close()
        # By the mark and, for programs that write their title over it, by the folder they work in.
        left = find(Trace(marks={ENVIRONMENT_MARK: self._mark}))
        left += [process for process in psutil.process_iter() if works_below(process.pid, self.folder / "tasks")]
        assert not left, f"processes are left: {left}"

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in ECS's own thread, the only one that may touch it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=240)

    def register_worker(self, *, cpu: str = "256", **environment: str) -> str:
        """Register a revision of the workers' task definition; returns its ARN."""
        public = signing_key(SEED).public_key().public_bytes_raw()
        command = ["worker", "-Q", self.queue.name, "-c", str(self.settings.slots), "-l", "INFO"]
        return self._register(
            "worker",
            image="celery-worker",
            command=[*command, "--without-gossip", "--without-mingle", "--without-heartbeat"],
            cpu=cpu,
            stopTimeout=self.settings.stop_timeout_s,
            environment={
                "AWS_ENDPOINT_URL_SQS": self.settings.workers_sqs or self._emulator,
                "WORKER_AGENT_PUBLIC_KEY": base64.b64encode(public).decode(),
                "FLEET_TASK_JOURNAL": str(self.task_journal_file),
                "FLEET_QUEUES": json.dumps({self.queue.name: self.queue.url}),
                "FLEET_BROKER": self._broker("celery"),
                "FLEET_VISIBILITY_S": str(self.settings.visibility_s),
                **environment,
            },
        )

    def configure_scaler(self, **changes: Any) -> None:
        """Write the scaler's file; a scaler that runs takes the change over by itself."""
        settings = self.settings = replace(self.settings, **changes)
        fleet = {
            "name": "default",
            "services": settings.services,
            "queues": {self.queue.name: self.queue.url},
            "slots": settings.slots,
            "min": settings.minimum,
            "max": settings.maximum,
            "demand_metric": settings.demand_metric,
        }
        config = {
            "version": 2,
            "environment": "fleet",
            "region": "us-east-1",
            "cluster": CLUSTER,
            "interval_s": settings.interval_s,
            "scale_in_window_s": settings.scale_in_window_s,
            "agent_port": AGENT_PORT,
            "database": settings.database,
            "fleets": [fleet],
        }
        if settings.redis_port is not None:
            user = "scaler@" if self.settings.redis_passwords else ""
            config["broker"] = {"kind": "redis", "url": self.queue.broker.replace("//", f"//{user}")}
        written = self._scaler_file.with_suffix(".new")
        written.write_text(json.dumps(config))
        written.replace(self._scaler_file)

    def _broker(self, user: str) -> str:
        password = self.settings.redis_passwords.get(user)
        return self.queue.broker.replace("//", f"//{user}:{password}@") if password else self.queue.broker

    def _register_scaler(self) -> str:
        return self._register(
            "scaler",
            image="scaler",
            stopTimeout=5,
            environment={
                "AWS_ENDPOINT_URL_SQS": self.settings.scaler_sqs or self._emulator,
                "AWS_ENDPOINT_URL_CLOUDWATCH": self.settings.scaler_cloudwatch or self._emulator,
                "SCALER_CONFIG_FILE": str(self._scaler_file),
                "SCALER_DATABASE_PASSWORD": self.settings.database_password,
                "SCALER_REDIS_PASSWORD": self.settings.redis_passwords.get("scaler", ""),
            },
            secrets=[{"name": "SCALER_SIGNING_SEED", "valueFrom": SEED_ARN}],
        )

    def _register(self, name: str, *, image: str, environment: Mapping[str, str], cpu: str = "256", **more: Any) -> str:
        container: Any = {
            "name": name,
            "image": image,
            "dockerLabels": {"openmwaa.image": image},
            "environment": [{"name": key, "value": value} for key, value in environment.items()],
            **more,
        }
        answer = self.client.register_task_definition(
            family=f"{CLUSTER}-{name}",
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu=cpu,
            memory="1024",
            containerDefinitions=[container],
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def create_services(self) -> None:
        """Create the fleet's services and the scaler's, as the stack does."""
        self.client.create_cluster(clusterName=CLUSTER)
        self.client.put_cluster_capacity_providers(
            cluster=CLUSTER, capacityProviders=[ON_DEMAND, SPOT], defaultCapacityProviderStrategy=[]
        )
        revision = self.register_worker()
        for service in self.settings.services:
            self.client.create_service(
                cluster=CLUSTER,
                serviceName=service,
                taskDefinition=revision,
                desiredCount=self.settings.minimum if service == A else 0,
                capacityProviderStrategy=[{"capacityProvider": ON_DEMAND, "weight": 1}],
                deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 200},
            )
        self.configure_scaler()
        self.client.create_service(
            cluster=CLUSTER,
            serviceName=SCALER,
            taskDefinition=self._register_scaler(),
            desiredCount=1,
            launchType="FARGATE",
            deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 100},
        )

    def roll(self, revision: str, *, capacity: str = ON_DEMAND) -> str:
        """Deploy a revision as the stack does: odd ones to generation a, even ones to b; returns the service's name."""
        service = A if int(revision.rpartition(":")[2]) % 2 else B
        self.client.update_service(
            cluster=CLUSTER,
            service=service,
            taskDefinition=revision,
            capacityProviderStrategy=[{"capacityProvider": capacity, "weight": 1}],
            forceNewDeployment=True,
        )
        return service

    async def _start(self, addresses: AddressBlock) -> LocalEcs:
        runner = ProcessTaskRunner(
            ProcessSettings(
                environment_id=self._mark,
                work_dir=self.folder / "tasks",
                task_environment=self._task_environment(addresses),
                longest_stop_on_close_s=8,
            ),
            images=_images(),
            secrets=self.settings.secrets or _Seed(),
            logs=_NoCloudWatch(),
            files=self._files,
        )
        settings = LocalEcsSettings(
            host=addresses.ecs, port=addresses.ecs_port, provisioning_s=0.1, pending_s=0.1, journal_length=20_000
        )
        ecs = LocalEcs(settings, runner=runner, addresses=BlockAddresses(addresses.block))
        await ecs.start()
        return ecs

    def _task_environment(self, addresses: AddressBlock) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self._emulator,
            "AWS_ENDPOINT_URL_ECS": addresses.ecs_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def _images() -> LocalImages:
    """The two container images: this Python with this repository."""
    environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    celery = (sys.executable, "-m", "celery", "-A", "tests.support.fleet_app")
    scaler = LocalImage("scaler", (sys.executable, "-m", "scaler.main"), environment)
    return LocalImages(
        by_label={"celery-worker": LocalImage("celery-worker", celery, environment), "scaler": scaler},
        by_reference={"scaler": scaler},
    )
