# SPDX-License-Identifier: Apache-2.0
"""One environment as one Terraform stack: foundation, data stores, services, monitoring, outputs."""

from __future__ import annotations

import itertools
from typing import Final, cast

from cdktn import TerraformElement, TerraformOutput, TerraformResource, TerraformStack
from constructs import Construct, Node

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.log_groups import GROUPS, LogGroups, group_arns
from cdktf_app.base.resource_names import PREFIX, escape_template
from cdktf_app.base.stack_context import StackContext
from cdktf_app.broker.factory import broker
from cdktf_app.compute.airflow_containers import AirflowContainers
from cdktf_app.compute.airflow_services import AirflowServices
from cdktf_app.compute.cluster import FargateCluster
from cdktf_app.compute.fargate_service import ServiceProps
from cdktf_app.compute.images import ContainerImages
from cdktf_app.compute.mwaa_description import DescribedParts, mwaa_description
from cdktf_app.compute.scaler_service import ScalerService, overrides_prefix
from cdktf_app.compute.task_policies import TaskPolicies
from cdktf_app.compute.worker_fleets import WorkerFleets
from cdktf_app.database.base import DatabaseProps
from cdktf_app.database.common import log_group_pattern
from cdktf_app.database.factory import metadata_database
from cdktf_app.environment_monitoring import monitor
from cdktf_app.errors import DuplicateAddressError
from cdktf_app.network.existing_vpc import ExistingNetwork
from cdktf_app.network.flow_logs import FlowLogs
from cdktf_app.network.own_vpc import OwnNetwork
from cdktf_app.network.security_groups import SecurityGroups
from cdktf_app.network.vpc import VpcNetwork
from cdktf_app.network.vpc_endpoints import VpcEndpoints
from cdktf_app.retained_resources import DESCRIPTION as RETAINED
from cdktf_app.retained_resources import retained_resources
from cdktf_app.security.kms_key import Keys
from cdktf_app.security.roles import Roles
from cdktf_app.security.secrets import EnvironmentSecrets, GeneratedSecret
from cdktf_app.storage.artefacts import Artefacts
from cdktf_app.storage.dag_bucket import DagBucket
from cdktf_app.storage.state_backend import add_state_backend
from cdktf_app.storage.task_log_bucket import TaskLogBucket
from cdktf_app.web.web_access import WebEntrypoints
from openmwaa.config.environment import Environment

TERRAFORM_VERSION: Final = ">= 1.11"  # ephemeral values and write-only arguments
PROVIDER_VERSION: Final = ">= 5.100, < 7"  # 5.100 was applied; 6.26 and newer read no secret
_DAG_SYNC_INTERVAL_S: Final = 9


class EnvironmentStack(TerraformStack):
    """All resources of one environment."""

    def __init__(self, scope: Construct, environment: Environment, *, stack_id: str) -> None:
        super().__init__(scope, stack_id)
        self._addresses: dict[str, str] = {}
        self.add_override("terraform.required_version", TERRAFORM_VERSION)
        self.add_override("terraform.required_providers.aws.version", PROVIDER_VERSION)
        add_state_backend(self, environment)
        self._environment = environment
        self._context = self._add_context()
        self._add_foundation()
        self._add_data_stores()
        self._add_services()
        monitor(
            self,
            self._context,
            logs=self._logs,
            broker=self._broker,
            database=self._database,
            access=self._access,
            healthy=self._healthy,
        )
        self._add_outputs()

    def _add_context(self) -> StackContext:
        """Add the provider and the key of all data."""
        environment, name = self._environment, f"{PREFIX}-{self._environment.name}"
        aws_scope = AwsScope(self, "place", environment=environment)
        log_groups = (*group_arns(environment.name, aws_scope), log_group_pattern(name, aws_scope))
        keys = Keys(
            self, "keys", name=name, log_groups=log_groups, aws_scope=aws_scope, existing_arn=environment.kms_key
        )
        return StackContext(environment, name, aws_scope, keys.arn)

    def _add_foundation(self) -> None:
        """Add what all other resources use: network, log groups, secrets, images, cluster, roles."""
        context, network = self._context, self._environment.network
        self._network: VpcNetwork = (
            OwnNetwork(self, "network", context)
            if network.vpc_id is None
            else ExistingNetwork(self, "network", self._environment)
        )
        self._groups = SecurityGroups(self, "security_groups", context, self._network)
        self._endpoints = VpcEndpoints(self, "endpoints", context, self._network, self._groups)
        self._logs = LogGroups(self, "logs", context)
        self._secrets = EnvironmentSecrets(self, "secrets", context)
        self._images = ContainerImages(self, "images", context)
        self._cluster = FargateCluster(self, "cluster", context)
        self._roles = Roles(self, "roles", context)
        if network.vpc_id is None and network.flow_logs != "NONE":
            FlowLogs(self, "flow_logs", context, vpc_id=self._network.vpc_id, roles=self._roles)

    def _add_data_stores(self) -> None:
        """Add the DAG bucket, the broker, the metadata database and the load balancers."""
        context = self._context
        self._storage = DagBucket(self, "storage", context)
        in_s3 = self._environment.logging_configuration.task_logs.destination == "S3"
        self._task_logs = TaskLogBucket(self, "task_logs", context) if in_s3 else None
        self._broker = broker(self, "broker", context, self._network, self._groups)
        self._database = metadata_database(
            self,
            "metadata_database",
            DatabaseProps(
                context=context,
                roles=self._roles,
                subnet_ids=self._network.private_subnet_ids,
                security_group_id=self._groups.id_of("database"),
                unique_arn=self._secrets.arn(GeneratedSecret.AIRFLOW_DATABASE_PASSWORD),
            ),
        )
        self._access = WebEntrypoints(self, context, self._network, self._groups)

    def _add_services(self) -> None:
        """Add the services: Airflow's control plane, the worker fleets, the scaler."""
        artefacts = Artefacts(self, "artefacts", self._context, self._storage)
        task_policies = TaskPolicies(
            self._context, self._storage, artefacts, self._broker, self._logs, self._cluster, self._task_logs
        )
        containers = AirflowContainers(
            context=self._context,
            image=self._images.airflow,
            secrets=self._secrets,
            database=self._database,
            broker=self._broker,
            access=self._access,
            bucket_name=self._storage.bucket_name,
            artefacts=artefacts,
            dag_sync_interval_s=overridable_local(self, "dag_sync_interval_s", str(_DAG_SYNC_INTERVAL_S)),
            logs=self._logs,
            task_log_bucket=None if self._task_logs is None else self._task_logs.bucket_name,
            mwaa_description=mwaa_description(self, self._context, self._described_parts(artefacts)),
            # Overridable, because the secret is in no emulator.
            git_secret_arn=overridable_local(self, "dags_secret_arn", git.secret_arn)
            if (git := self._environment.dags) and git.secret_arn
            else None,
        )
        service_props = self._service_props()
        airflow = AirflowServices(
            self,
            "airflow",
            service_props,
            containers=containers,
            statements=task_policies.control_plane(),
            access=self._access,
            groups=self._groups,
        )
        fleets = WorkerFleets(
            self,
            "fleets",
            service_props.with_dependencies(self._groups.rules_of("workers")),
            containers=containers,
            task_policies=task_policies,
            security_group_id=self._groups.id_of("workers"),
        )
        scaler = ScalerService(
            self,
            "scaler",
            service_props.with_dependencies(self._groups.rules_of("scaler")),
            image=self._images.scaler,
            secrets=self._secrets,
            logs=self._logs,
            task_policies=task_policies,
            database=self._database,
            broker=self._broker,
            security_group_id=self._groups.id_of("scaler"),
            target=self._access.internal.scaler,
            web_url=self._access.web_url,
            # The scaler changes the control plane of an environment that may sleep: it is created after and destroyed
            # before it.
            ready=[*fleets.services, *(airflow.healthy if self._environment.sleep else ())],
        )
        self._healthy = [*airflow.healthy, scaler.healthy]

    def _described_parts(self, artefacts: Artefacts) -> DescribedParts:
        return DescribedParts(
            roles=self._roles,
            storage=self._storage,
            artefacts=artefacts,
            broker=self._broker,
            logs=self._logs,
            subnet_ids=self._network.task_subnet_ids,
            security_group_ids=[self._groups.id_of("workers"), *self._environment.network.security_group_ids],
            web_url=self._access.web_url,
        )

    def _service_props(self) -> ServiceProps:
        return ServiceProps(
            context=self._context,
            cluster=self._cluster,
            roles=self._roles,
            subnet_ids=self._network.task_subnet_ids,
            assign_public_ip=self._network.public_tasks,
            ready=[
                *self._network.egress,
                *self._endpoints.ready,
                *self._database.endpoint_ready,
                *self._broker.ready,
                *self._secrets.values,
            ],
        )

    def _add_outputs(self) -> None:
        access, broker, images = self._access, self._broker, self._images
        outputs: dict[str, tuple[str, object]] = {
            "web_url": ("URL of the Airflow web server", access.web_url),
            "admin_password_secret_arn": (
                "Secret with the password of the user `admin`",
                self._secrets.arn(GeneratedSecret.ADMIN_PASSWORD)
                if GeneratedSecret.ADMIN_PASSWORD in self._secrets
                else None,
            ),
            "source_bucket": ("Bucket of the DAGs", self._storage.bucket_name),
            "dag_s3_path": ("Folder of the DAGs in the bucket", escape_template(self._environment.dag_s3_path)),
            "cluster_name": ("ECS cluster", self._cluster.name),
            "execution_api_url": ("URL of the execution API, for workers", access.execution_api_url),
            "scaler_url": (
                "URL of the scaler's page inside the VPC: it explains the number of workers",
                access.scaler_url,
            ),
            "private_web_url": (
                "URL of the web server inside the VPC, if it also has a public URL",
                access.private_web_url,
            ),
            "required_dns_records": (
                "DNS records that you must create: name to load balancer",
                access.required_dns_records,
            ),
            "scaling_override_parameters": (
                "SSM parameters of the overrides that `openmwaa scale` sets; an apply does not change them",
                {fleet: f"{overrides_prefix(self._environment)}{fleet}" for fleet in self._environment.fleets},
            ),
            "retained_resources": (RETAINED, retained_resources(self._context, self._database, self._secrets)),
            "queue_urls": ("URLs of the SQS queues, by Airflow queue", broker.urls),
            "dead_letter_queue_url": ("URL of the dead-letter queue", broker.dead_letter_queue_url),
            "log_groups": ("Log groups, by module", {module: self._logs.group(module).name for module in GROUPS}),
            "images": (
                "Container images of the tasks",
                {"airflow": images.airflow.reference, "scaler": images.scaler.reference},
            ),
        }
        for name, (description, value) in outputs.items():
            if value is None:
                continue
            TerraformOutput(self, f"output_{name}", description=description, value=value).override_logical_id(name)

    @property
    def taggable(self) -> frozenset[str]:
        """Addresses of the resources that support tags."""
        return frozenset(
            f"{element.terraform_resource_type}.{element.friendly_unique_id}"
            for element in self.node.find_all()
            if isinstance(element, TerraformResource) and hasattr(type(element), "tags_input")
        )

    def _allocate_logical_id(self, tf_element: Node | TerraformElement) -> str:
        """Return a resource's address: its construct path, without a last word that repeats the type.

        Example: `aws_ecs_service.airflow_scheduler`, not `aws_ecs_service.airflow_scheduler_service_9C2B41F0`.
        """
        element = cast("TerraformElement", tf_element)
        # A parent and a child of the same name appear once.
        parts = [part for part, _ in itertools.groupby(element.node.path.split("/")[1:])]
        kind = str(getattr(element, "terraform_resource_type", ""))
        if len(parts) > 1 and kind.endswith(f"_{parts[-1]}"):
            parts.pop()
        address = "_".join(parts)
        path = element.node.path
        taken = self._addresses.setdefault(f"{type(element).__name__}.{address}", path)
        if taken != path:
            raise DuplicateAddressError(f"{kind}.{address}", taken, path)
        return address
