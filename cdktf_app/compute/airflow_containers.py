# SPDX-License-Identifier: Apache-2.0
"""Environment variables and secrets of every Airflow container: the contract with the image's runtime.

DAG code runs in workers, so a worker gets only the password of Celery's results (and of the Redis broker). It uses
Airflow's database through the execution API. Airflow 2 has none: there a worker has a role of its own in the database.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cdktn import Fn

from cdktf_app.base.expressions import ceiling_step, expression_of, min_expr
from cdktf_app.base.log_groups import LogGroups, level
from cdktf_app.base.resource_names import escape_template
from cdktf_app.base.stack_context import StackContext
from cdktf_app.broker.base import CeleryBroker
from cdktf_app.compute.container_definition import (
    LONGEST_STOP_TIMEOUT_S,
    STOP_TIMEOUT_S,
    ContainerHealthCheck,
    ContainerSpec,
    DependencyCondition,
    Mount,
)
from cdktf_app.compute.images import Image
from cdktf_app.compute.login_variables import login_variables
from cdktf_app.database.base import MetadataDatabase
from cdktf_app.security.secrets import EnvironmentSecrets, GeneratedSecret
from cdktf_app.storage.artefacts import Artefacts
from cdktf_app.web.web_access import WebEntrypoints
from openmwaa.config.environment import Environment, option_variable
from openmwaa.config.fleet import ResolvedFleet
from openmwaa.config.ports import AGENT_PORT, EXECUTION_API_PORT, WEB_PORT

DAG_FOLDER: Final = "/opt/openmwaa/dags"
_DAG_VOLUME: Final = "dags"
_SYNCER: Final = "dag-syncer"
_MASTER: Final = "OPENMWAA_DATABASE_MASTER"

# Secrets of each component.
SECRETS: Final[Mapping[str, tuple[GeneratedSecret, ...]]] = {
    "prepare-database": (
        GeneratedSecret.AIRFLOW_DATABASE_PASSWORD,
        GeneratedSecret.CELERY_DATABASE_PASSWORD,
        GeneratedSecret.SCALER_DATABASE_PASSWORD,
        GeneratedSecret.SCALER_SIGNING_SEED,
    ),
    "scheduler": (
        GeneratedSecret.AIRFLOW_DATABASE_PASSWORD,
        GeneratedSecret.CELERY_DATABASE_PASSWORD,
        GeneratedSecret.FERNET_KEY,
        GeneratedSecret.JWT_SECRET,
    ),
    "dag-processor": (GeneratedSecret.AIRFLOW_DATABASE_PASSWORD, GeneratedSecret.FERNET_KEY),
    "triggerer": (GeneratedSecret.AIRFLOW_DATABASE_PASSWORD, GeneratedSecret.FERNET_KEY),
    "execution-api": (
        GeneratedSecret.AIRFLOW_DATABASE_PASSWORD,
        GeneratedSecret.FERNET_KEY,
        GeneratedSecret.API_SECRET_KEY,
        GeneratedSecret.JWT_SECRET,
    ),
    "web-server": (
        GeneratedSecret.AIRFLOW_DATABASE_PASSWORD,
        GeneratedSecret.FERNET_KEY,
        GeneratedSecret.API_SECRET_KEY,
        GeneratedSecret.ADMIN_PASSWORD,
        GeneratedSecret.SCALER_OVERRIDES_KEY,
    ),
    "worker": (GeneratedSecret.CELERY_DATABASE_PASSWORD,),
}

# Further secrets without an execution API. Workers decrypt connections themselves.
_OF_DATABASE_CLIENTS: Final[Mapping[str, tuple[GeneratedSecret, ...]]] = {
    "prepare-database": (GeneratedSecret.WORKER_DATABASE_PASSWORD,),
    "worker": (GeneratedSecret.WORKER_DATABASE_PASSWORD, GeneratedSecret.FERNET_KEY),
}

# Components that use the broker, and get its password if it has one.
_CELERY_CLIENTS: Final = frozenset({"scheduler", "worker"})

# Component -> log module, for log group and level.
_LOG_MODULES: Final[Mapping[str, str]] = {
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
_SERVERS: Final = frozenset({"execution-api", "web-server"})
_STOP_TIMEOUT_S: Final[Mapping[str, int]] = {
    "scheduler": 60,
    "triggerer": 60,
    "execution-api": 60,  # time to finish requests of running tasks
    "worker": LONGEST_STOP_TIMEOUT_S,
}

# A check costs 0.2 s of CPU, which is 0.7 % of a vCPU. Workers have none: high load could fail it.
_HEALTH_CHECKED: Final = frozenset({"scheduler", "dag-processor", "triggerer", "execution-api", "web-server"})
# Writable folders, as volumes of the task: Airflow's configuration, logs and process files, home and temporary files.
# A volume starts with the content of the image's folder.
_WRITABLE: Final[Mapping[str, str]] = {"airflow": "/opt/airflow", "home": "/home/airflow", "tmp": "/tmp"}  # noqa: S108
# Healthy while the last sync, whose time the file has, is at most 5 minutes old. So a reader never starts without DAGs.
# A shell takes a few ms of CPU for this, Python 200 ms.
_RECENT_SYNC: Final = ContainerHealthCheck(
    command=("CMD-SHELL", 'test -n "$(find "$OPENMWAA_DAG_FOLDER/status.json" -mmin -5)"'),
    interval_s=5,
    timeout_s=5,
    retries=10,
    start_period_s=300,
)


def _health_check(component: str) -> ContainerHealthCheck:
    """Return the health check of `component`.

    ECS replaces an unhealthy task after 1.5 minutes, or after 5.5 minutes if it was never healthy. Three such tasks (17
    minutes) roll the deployment back; an apply waits 20 minutes.
    """
    return ContainerHealthCheck(
        command=("CMD", "python", "-m", "openmwaa_runtime", "health", component),
        interval_s=30,
        timeout_s=20,
        retries=3,
        start_period_s=240,
    )


_SLOT_STEP: Final = 100
_SLOT_CAP: Final = 500


@dataclass(frozen=True)
class AirflowContainers:
    """Builds the containers of Airflow's components."""

    context: StackContext
    image: Image
    secrets: EnvironmentSecrets
    database: MetadataDatabase
    broker: CeleryBroker
    access: WebEntrypoints
    bucket_name: str
    artefacts: Artefacts
    dag_sync_interval_s: str
    logs: LogGroups
    task_log_bucket: str | None
    git_secret_arn: str | None = None
    mwaa_description: str = ""

    @property
    def _environment(self) -> Environment:
        return self.context.environment

    def prepare_database(self) -> ContainerSpec:
        """Return the init container that creates databases, roles and tables."""
        container = self._component("prepare-database")
        secrets = {**container.secrets, _MASTER: self.database.master_secret_arn}
        keys = (self.database.master_key_arn,)
        return replace(container, secrets=secrets, secret_keys=keys, essential=False)

    def prepare_artefacts(self) -> ContainerSpec:
        """Return the container that installs the requirements into the bucket; the components wait for its result."""
        database = self.prepare_database()
        variables = {
            **self._connection_variables(),
            "OPENMWAA_ARCHITECTURES": self.artefacts.architectures,
        }
        return replace(
            database,
            name="prepare-artefacts",
            command=("prepare-artefacts",),
            environment={**self._base_variables(), **variables, **self.artefacts.variables},
            more_environment=None,
            secrets={_MASTER: self.database.master_secret_arn},
            mounts=tuple(Mount(f"artefacts-{word}", path, read_only=False) for word, path in _WRITABLE.items()),
            depends_on={database.name: "SUCCESS"},
            log_stream="requirements_install",
        )

    def prepare_broker(self) -> ContainerSpec:
        """Return the init container that sets passwords and permissions of the broker's users."""
        broker, scheduler = self.broker, self._component("scheduler")
        return replace(
            scheduler,
            name="prepare-broker",
            command=("prepare-broker",),
            environment={**self._base_variables(), **broker.variables, **broker.users},
            secrets=self._secret_variables(broker.secrets.values()),
            health=None,
            mounts=(),
            essential=False,
        )

    def control_plane(self, components: Sequence[str]) -> list[ContainerSpec]:
        """Return the containers of a task that runs `components`."""
        preparation = self._preparation() if "scheduler" in components else []
        prepared: dict[str, DependencyCondition] = {container.name: "SUCCESS" for container in preparation[-1:]}
        # The containers of a task share its address: servers have their ports before DAG code runs.
        serving: dict[str, DependencyCondition] = {name: "HEALTHY" for name in components if name in _SERVERS}
        containers = [
            replace(self._component(name), depends_on={**prepared, **(serving if name in _READS_DAGS else {})})
            for name in components
        ]
        if preparation and self.artefacts.built_arn:
            preparation.append(self.prepare_artefacts())
        return [*preparation, *self._with_dags(*containers)]

    def _preparation(self) -> list[ContainerSpec]:
        # All components wait for the database, so the broker is prepared first.
        init = [self.prepare_broker()] if self.broker.users else []
        return [*init, replace(self.prepare_database(), depends_on={container.name: "SUCCESS" for container in init})]

    def worker(self, fleet: ResolvedFleet) -> list[ContainerSpec]:
        """Return the containers of a worker task of `fleet`."""
        # Workers never allow ECS Exec, so the root filesystem is always read-only.
        container = replace(self._component("worker"), readonly=True)
        urls = self.broker.urls
        worker_variables = {
            "OPENMWAA_WORKER_QUEUES": ",".join(fleet.queues),
            "OPENMWAA_WORKER_SLOTS": str(fleet.slots),
            # Only the fleet's own queues: otherwise a new fleet would create a new revision of all fleets.
            "OPENMWAA_QUEUES": Fn.jsonencode({queue: urls[queue] for queue in fleet.queues if queue in urls}),
            # Tasks have their own log level.
            "AIRFLOW__LOGGING__LOGGING_LEVEL": level(self._environment.logging_configuration, "task"),
            "AIRFLOW__LOGGING__CELERY_LOGGING_LEVEL": level(self._environment.logging_configuration, "worker"),
        }
        return self._with_dags(
            replace(container, environment={**container.environment, **worker_variables, **self._option_variables()})
        )

    def _component(self, component: str) -> ContainerSpec:
        module = _LOG_MODULES[component]
        environment = {
            **self._base_variables(),
            **self._connection_variables(),
            # A new password must create a new revision: ECS reads secrets only when a container starts.
            "OPENMWAA_DATABASE_PASSWORDS": str(self._environment.rotation.database_passwords),
            **self._slot_variables(component),
            **self._artefact_variables(component),
            **(self._web_variables() if component == "web-server" else {}),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": level(self._environment.logging_configuration, module),
            **self._option_variables(),
        }
        return ContainerSpec(
            name=component,
            image=self.image,
            log_group=self.logs.group(module),
            region=self._environment.region,
            command=(component,),
            environment=environment,
            more_environment=expression_of(self._environment.airflow_configuration_options),
            secrets=self._secret_variables(self._secrets_of(component)),
            port=_PORT.get(component),
            health=_health_check(component) if component in _HEALTH_CHECKED else None,
            mounts=tuple(Mount(f"{component}-{word}", path, read_only=False) for word, path in _WRITABLE.items()),
            readonly=not self._environment.enable_execute_command,
            stop_timeout_s=_STOP_TIMEOUT_S.get(component, STOP_TIMEOUT_S),
        )

    def _web_variables(self) -> dict[str, str]:
        private = self.access.private_web_url
        for_iam = {
            "OPENMWAA_MWAA_ENVIRONMENT": self.mwaa_description,
            "OPENMWAA_SCALER_URL": self.access.scaler_url,
            **({"OPENMWAA_PRIVATE_WEB_URL": private} if private else {}),
        }
        return {
            # Variable of uvicorn: trust the X-Forwarded headers of the load balancers, which terminate TLS. No other
            # client can reach the port.
            "FORWARDED_ALLOW_IPS": self.access.proxies,
            **login_variables(self.context),
            **(for_iam if self._environment.web_access.uses_iam else {}),
        }

    def _with_dags(self, *containers: ContainerSpec) -> list[ContainerSpec]:
        """Return the containers of a task, with one syncer if any of them reads DAGs."""
        readers = [container for container in containers if container.name in _READS_DAGS]
        if not readers:
            return [*containers]
        syncer = ContainerSpec(
            name=_SYNCER,
            image=self.image,
            log_group=readers[0].log_group,
            region=self._environment.region,
            command=("sync-dags",),
            environment={**self._base_variables(), **self._dag_variables(), **self._git_variables()},
            secrets={"OPENMWAA_DAG_GIT_SECRET": self.git_secret_arn} if self.git_secret_arn else {},
            secret_keys=(key,) if (key := self._environment.dags and self._environment.dags.secret_kms_key) else (),
            essential=False,
            # Otherwise one exit, such as for lack of memory, leaves the task with old DAGs until its end.
            restarted=True,
            health=_RECENT_SYNC,
            mounts=(Mount(_DAG_VOLUME, DAG_FOLDER, read_only=False),),
            readonly=readers[0].readonly,
        )
        dags = Mount(_DAG_VOLUME, DAG_FOLDER, read_only=True)
        synced = {
            reader.name: replace(
                reader, depends_on={**reader.depends_on, _SYNCER: "HEALTHY"}, mounts=(*reader.mounts, dags)
            )
            for reader in readers
        }
        return [syncer, *(synced.get(container.name, container) for container in containers)]

    def _secret_variables(self, secrets: Iterable[GeneratedSecret]) -> dict[str, str]:
        return {f"OPENMWAA_{secret.name}": self.secrets.arn(secret) for secret in secrets}

    def _secrets_of(self, component: str) -> list[GeneratedSecret]:
        broker = self.broker.secrets if component in _CELERY_CLIENTS else {}
        more = () if self._environment.airflow.has_execution_api else _OF_DATABASE_CLIENTS.get(component, ())
        own = (secret for secret in (*SECRETS[component], *more) if secret in self.secrets)
        return [*own, *(secret for client, secret in broker.items() if client == "celery")]

    def _base_variables(self) -> dict[str, str]:
        return {"OPENMWAA_ENVIRONMENT": self._environment.name, "AWS_DEFAULT_REGION": self._environment.region}

    def _dag_variables(self) -> dict[str, str]:
        return {
            "OPENMWAA_DAG_BUCKET": self.bucket_name,
            "OPENMWAA_DAG_PREFIX": escape_template(self._environment.dag_s3_path),
            "OPENMWAA_DAG_FOLDER": DAG_FOLDER,
            "OPENMWAA_DAG_SYNC_INTERVAL_S": self.dag_sync_interval_s,
        }

    def _git_variables(self) -> dict[str, str]:
        """Return the repository of the DAGs. Only the syncer's container gets its secret; no task role reads it."""
        if (git := self._environment.dags) is None:
            return {}
        found = {
            "OPENMWAA_DAG_GIT_URL": git.repository,
            "OPENMWAA_DAG_GIT_REF": git.ref,
            "OPENMWAA_DAG_GIT_FOLDER": escape_template(git.folder),
            "OPENMWAA_DAG_GIT_KNOWN_HOSTS": escape_template(git.known_hosts or ""),
            # A new value must create a new revision: ECS reads secrets only when a container starts.
            "OPENMWAA_DAG_GIT_SECRET_VERSION": str(self._environment.rotation.dags_secret),
        }
        return {name: value for name, value in found.items() if value}

    def _connection_variables(self) -> dict[str, str]:
        return {
            **self._dag_variables(),
            "OPENMWAA_DATABASE_HOST": self.database.host,
            "OPENMWAA_DATABASE_PORT": str(self.database.port),
            "OPENMWAA_DATABASE_SSLMODE": self.database.sslmode,
            "OPENMWAA_QUEUES": Fn.jsonencode(self.broker.urls),
            **self.broker.variables,
            **({"OPENMWAA_EXECUTION_API_URL": url} if (url := self.access.execution_api_url) else {}),
            "OPENMWAA_WEB_URL": self.access.web_url,
            "OPENMWAA_TASK_LOG_GROUP_ARN": self.logs.group("task").arn,
            **({"OPENMWAA_TASK_LOG_BUCKET": self.task_log_bucket} if self.task_log_bucket else {}),
        }

    def _slot_variables(self, component: str) -> dict[str, str]:
        slots: float = self._environment.total_slots
        if component == "worker":
            # Rounded up to hundreds, at most 500: the runtime slows heartbeats in these steps. With the exact number, a
            # new `max` of one fleet would create a new revision of all fleets.
            slots = min_expr(_SLOT_CAP, ceiling_step(slots, _SLOT_STEP))
        return {"OPENMWAA_TOTAL_SLOTS": str(slots)}

    def _artefact_variables(self, component: str) -> dict[str, str]:
        if component == "prepare-database" or not self.artefacts.variables:
            return {}
        return {**self.artefacts.variables, "OPENMWAA_LOG_GROUP": self.logs.group(_LOG_MODULES[component]).name}

    def _option_variables(self) -> dict[str, str]:
        """Return the user's Airflow options, which override all defaults."""
        options = self._environment.airflow_configuration_options
        return {option_variable(key): escape_template(value) for key, value in options.items()}
