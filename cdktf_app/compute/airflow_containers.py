# SPDX-License-Identifier: Apache-2.0
"""What every Airflow container is told, and which secrets it is given: the contract with the image's runtime.

DAG code runs in workers, beside their agent: a worker gets the password of Celery's results and no other secret. It
reaches Airflow's database through the execution API alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from cdktn import Fn

from cdktf_app.base.expressions import ceiling_step, expression_of, least
from cdktf_app.base.log_groups import Logs, level
from cdktf_app.base.ports import AGENT_PORT, EXECUTION_API_PORT, WEB_PORT
from cdktf_app.base.resource_names import literal
from cdktf_app.broker.base import Broker
from cdktf_app.compute.container_definition import LONGEST_STOP_TIMEOUT_S, STOP_TIMEOUT_S, Container, Health, Mount
from cdktf_app.compute.images import Image
from cdktf_app.database.base import MetadataDatabase
from cdktf_app.security.secrets import Generated, Secrets
from cdktf_app.web.web_access import WebAccess
from openmwaa.config.environment import Environment, option_variable
from openmwaa.config.fleet import Fleet

DAG_FOLDER: Final = "/opt/openmwaa/dags"
_DAG_VOLUME: Final = "dags"
_SYNCER: Final = "dag-syncer"
_MASTER: Final = "OPENMWAA_DATABASE_MASTER"

_VARIABLE: Final[Mapping[Generated, str]] = {
    Generated.AIRFLOW_DATABASE_PASSWORD: "OPENMWAA_AIRFLOW_DATABASE_PASSWORD",
    Generated.CELERY_DATABASE_PASSWORD: "OPENMWAA_CELERY_DATABASE_PASSWORD",
    Generated.SCALER_DATABASE_PASSWORD: "OPENMWAA_SCALER_DATABASE_PASSWORD",
    Generated.FERNET_KEY: "OPENMWAA_FERNET_KEY",
    Generated.API_SECRET_KEY: "OPENMWAA_API_SECRET_KEY",
    Generated.JWT_SECRET: "OPENMWAA_JWT_SECRET",
    Generated.ADMIN_PASSWORD: "OPENMWAA_ADMIN_PASSWORD",
    Generated.SCALER_SIGNING_SEED: "OPENMWAA_SCALER_SIGNING_SEED",
    Generated.BROKER_PASSWORD: "OPENMWAA_BROKER_PASSWORD",
    Generated.SCALER_BROKER_PASSWORD: "OPENMWAA_SCALER_BROKER_PASSWORD",
}

# Who is given which secret.
SECRETS: Final[Mapping[str, tuple[Generated, ...]]] = {
    "prepare-database": (
        Generated.AIRFLOW_DATABASE_PASSWORD,
        Generated.CELERY_DATABASE_PASSWORD,
        Generated.SCALER_DATABASE_PASSWORD,
        Generated.SCALER_SIGNING_SEED,
    ),
    "scheduler": (
        Generated.AIRFLOW_DATABASE_PASSWORD,
        Generated.CELERY_DATABASE_PASSWORD,
        Generated.FERNET_KEY,
        Generated.JWT_SECRET,
    ),
    "dag-processor": (Generated.AIRFLOW_DATABASE_PASSWORD, Generated.FERNET_KEY),
    "triggerer": (Generated.AIRFLOW_DATABASE_PASSWORD, Generated.FERNET_KEY),
    "execution-api": (
        Generated.AIRFLOW_DATABASE_PASSWORD,
        Generated.FERNET_KEY,
        Generated.API_SECRET_KEY,
        Generated.JWT_SECRET,
    ),
    "web-server": (
        Generated.AIRFLOW_DATABASE_PASSWORD,
        Generated.FERNET_KEY,
        Generated.API_SECRET_KEY,
        Generated.JWT_SECRET,
        Generated.ADMIN_PASSWORD,
    ),
    "worker": (Generated.CELERY_DATABASE_PASSWORD,),
}

# Who talks to the broker, and is given the password where there is one.
_CELERY: Final = frozenset({"scheduler", "worker"})

# Component -> the log module whose group and level it has.
_MODULE: Final[Mapping[str, str]] = {
    "prepare-database": "scheduler",
    "scheduler": "scheduler",
    "dag-processor": "dag_processing",
    "triggerer": "scheduler",
    "execution-api": "webserver",
    "web-server": "webserver",
    "worker": "worker",
}
_PORT: Final[Mapping[str, int]] = {"execution-api": EXECUTION_API_PORT, "web-server": WEB_PORT, "worker": AGENT_PORT}
_READS_DAGS: Final = frozenset({"dag-processor", "triggerer", "worker"})
_STOP_TIMEOUT_S: Final[Mapping[str, int]] = {
    "scheduler": 60,
    "triggerer": 60,
    "execution-api": 60,  # requests of running tasks end first
    "worker": LONGEST_STOP_TIMEOUT_S,
}

# Healthy once the first sync is done: what depends on it starts then, and never without DAGs.
# A check costs 0.2 s of CPU: 0.7 % of a vCPU. None for workers, whose load alone could fail it.
_CHECKED: Final = frozenset({"scheduler", "dag-processor", "triggerer", "execution-api", "web-server"})
# Airflow writes its configuration, logs and process files; what it runs writes to the usual places. Volumes of the
# task, three a container, that begin as the image has these folders.
_WRITABLE: Final[Mapping[str, str]] = {"airflow": "/opt/airflow", "home": "/home/airflow", "tmp": "/tmp"}  # noqa: S108
_FIRST_SYNC: Final = Health(
    command=("python", "-m", "openmwaa_runtime", "health", "sync-dags"),
    interval_s=5,
    timeout_s=5,
    retries=10,
    start_period_s=300,
)


def _well(component: str) -> Health:
    """Return the health check of `component`: replaced after 1.5 minutes, or 5.5 where it never was well.

    ECS goes back to the older revision after three that never were: 17 minutes, of the 20 that an apply waits.
    """
    return Health(
        command=("python", "-m", "openmwaa_runtime", "health", component),
        interval_s=30,
        timeout_s=20,
        retries=3,
        start_period_s=240,
    )


_SLOT_STEP: Final = 100
_SLOWEST_SLOTS: Final = 500


@dataclass(frozen=True)
class Connections:
    """What the containers of an environment are connected to."""

    environment: Environment
    image: Image
    secrets: Secrets
    database: MetadataDatabase
    broker: Broker
    access: WebAccess
    bucket_name: str
    dag_sync_interval_s: str
    logs: Logs


class AirflowContainers:
    """Writes the containers of Airflow's components."""

    def __init__(self, connections: Connections) -> None:
        self._to = connections
        self._environment = connections.environment

    def prepare_database(self) -> Container:
        """Return the container that makes databases, roles and tables, and ends."""
        container = self._component("prepare-database")
        secrets = {**container.secrets, _MASTER: self._to.database.master_secret_arn}
        keys = (self._to.database.master_key_arn,)
        return replace(container, secrets=secrets, secret_keys=keys, essential=False)

    def prepare_broker(self) -> Container:
        """Return the container that gives the broker's users their passwords and rights, and ends."""
        broker, of_scheduler = self._to.broker, self._component("scheduler")
        return replace(
            of_scheduler,
            name="prepare-broker",
            command=("prepare-broker",),
            environment={**self._place(), **broker.variables, **broker.users},
            secrets={_VARIABLE[secret]: self._to.secrets.arn(secret) for secret in broker.secrets.values()},
            health=None,
            mounts=(),
            essential=False,
        )

    def control_plane(self, component: str) -> list[Container]:
        """Return the containers of one component's task."""
        if component == "scheduler":
            # Nothing else starts before the database is prepared, so the broker is prepared before it.
            before = [self.prepare_broker()] if self._to.broker.users else []
            database = replace(self.prepare_database(), after={one.name: "SUCCESS" for one in before})
            scheduler = replace(self._component("scheduler"), after={database.name: "SUCCESS"})
            return [*before, database, scheduler]
        return self._with_dags(self._component(component))

    def worker(self, fleet: Fleet) -> list[Container]:
        """Return the containers of a worker's task of `fleet`."""
        # Never open to ECS Exec, so always sealed.
        container = replace(self._component("worker"), sealed=True)
        urls = self._to.broker.urls
        mine = {
            "OPENMWAA_WORKER_QUEUES": ",".join(fleet.queues),
            "OPENMWAA_WORKER_SLOTS": str(fleet.slots),
            # Its own alone: with all of them a new fleet would be a new revision of every other one.
            "OPENMWAA_QUEUES": Fn.jsonencode({queue: urls[queue] for queue in fleet.queues if queue in urls}),
            # A worker's tasks write at their own level.
            "AIRFLOW__LOGGING__LOGGING_LEVEL": level(self._environment.logging_configuration, "task"),
            "AIRFLOW__LOGGING__CELERY_LOGGING_LEVEL": level(self._environment.logging_configuration, "worker"),
        }
        return self._with_dags(replace(container, environment={**container.environment, **mine, **self._options()}))

    def _component(self, component: str) -> Container:
        module = _MODULE[component]
        environment = {
            **self._place(),
            **self._addresses(),
            # New passwords are a new revision: ECS gives out secrets only when a container starts.
            "OPENMWAA_DATABASE_PASSWORDS": str(self._environment.rotation.database_passwords),
            **self._greatest(component),
            **(self._proxies() if component == "web-server" else {}),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": level(self._environment.logging_configuration, module),
            **self._options(),
        }
        return Container(
            name=component,
            image=self._to.image,
            log_group=self._to.logs.group(module),
            region=self._environment.region,
            command=(component,),
            environment=environment,
            more_environment=expression_of(self._environment.airflow_configuration_options),
            secrets={_VARIABLE[secret]: self._to.secrets.arn(secret) for secret in self._secrets_of(component)},
            port=_PORT.get(component),
            health=_well(component) if component in _CHECKED else None,
            mounts=tuple(Mount(f"{component}-{word}", path, read_only=False) for word, path in _WRITABLE.items()),
            sealed=not self._environment.enable_execute_command,
            stop_timeout_s=_STOP_TIMEOUT_S.get(component, STOP_TIMEOUT_S),
        )

    def _with_dags(self, container: Container) -> list[Container]:
        if container.name not in _READS_DAGS:
            return [container]
        syncer = Container(
            name=_SYNCER,
            image=self._to.image,
            log_group=container.log_group,
            region=self._environment.region,
            command=("sync-dags",),
            environment={**self._place(), **self._dags()},
            essential=False,
            health=_FIRST_SYNC,
            mounts=(Mount(_DAG_VOLUME, DAG_FOLDER, read_only=False),),
            sealed=container.sealed,
        )
        dags = Mount(_DAG_VOLUME, DAG_FOLDER, read_only=True)
        reader = replace(container, after={_SYNCER: "HEALTHY"}, mounts=(*container.mounts, dags))
        return [syncer, reader]

    def _secrets_of(self, component: str) -> list[Generated]:
        broker = self._to.broker.secrets if component in _CELERY else {}
        return [*SECRETS[component], *(secret for party, secret in broker.items() if party == "celery")]

    def _place(self) -> dict[str, str]:
        return {"OPENMWAA_ENVIRONMENT": self._environment.name, "AWS_DEFAULT_REGION": self._environment.region}

    def _dags(self) -> dict[str, str]:
        return {
            "OPENMWAA_DAG_BUCKET": self._to.bucket_name,
            "OPENMWAA_DAG_PREFIX": literal(self._environment.dag_s3_path),
            "OPENMWAA_DAG_FOLDER": DAG_FOLDER,
            "OPENMWAA_DAG_SYNC_INTERVAL_S": self._to.dag_sync_interval_s,
        }

    def _addresses(self) -> dict[str, str]:
        return {
            **self._dags(),
            "OPENMWAA_DATABASE_HOST": self._to.database.host,
            "OPENMWAA_DATABASE_PORT": str(self._to.database.port),
            "OPENMWAA_DATABASE_SSLMODE": self._to.database.sslmode,
            "OPENMWAA_QUEUES": Fn.jsonencode(self._to.broker.urls),
            **self._to.broker.variables,
            "OPENMWAA_EXECUTION_API_URL": self._to.access.execution_api_url,
            "OPENMWAA_WEB_URL": self._to.access.web_url,
            "OPENMWAA_TASK_LOG_GROUP_ARN": self._to.logs.group("task").arn,
        }

    def _proxies(self) -> dict[str, str]:
        # uvicorn's own name. Behind TLS that ends at a load balancer, it says what people asked and from where; nobody
        # else reaches the port.
        return {"FORWARDED_ALLOW_IPS": self._to.access.proxies}

    def _greatest(self, component: str) -> dict[str, str]:
        slots: float = self._environment.total_slots
        if component == "worker":
            # Its heartbeats slow down by the hundred, up to 500 slots. With the exact number a new `max` of one fleet
            # would be a new revision of all of them.
            slots = least(_SLOWEST_SLOTS, ceiling_step(slots, _SLOT_STEP))
        return {"OPENMWAA_TOTAL_SLOTS": str(slots)}

    def _options(self) -> dict[str, str]:
        """Return the user's own configuration, which wins over everything else."""
        options = self._environment.airflow_configuration_options
        return {option_variable(key): literal(value) for key, value in options.items()}
