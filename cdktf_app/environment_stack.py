# SPDX-License-Identifier: Apache-2.0
"""One environment as one Terraform stack: the architecture picture, in the order in which it stands."""

from __future__ import annotations

import itertools
from typing import Final, cast

from cdktn import TerraformElement, TerraformOutput, TerraformStack
from constructs import Construct, Node

from cdktf_app.airflow_containers import AirflowContainers, Connections
from cdktf_app.airflow_services import AirflowServices
from cdktf_app.broker import Broker
from cdktf_app.cluster import Cluster
from cdktf_app.errors import AddressTakenError
from cdktf_app.fargate_service import Surroundings
from cdktf_app.fleets import Fleets
from cdktf_app.identities import Identities
from cdktf_app.images import Images
from cdktf_app.keys import Keys
from cdktf_app.load_balancer import LoadBalancer
from cdktf_app.logs import GROUPS, Logs, group_pattern
from cdktf_app.metadata_database import MetadataDatabase
from cdktf_app.names import PREFIX
from cdktf_app.network import Network
from cdktf_app.overridable import overridable
from cdktf_app.place import Place
from cdktf_app.roles import Roles
from cdktf_app.scaler_service import ScalerService
from cdktf_app.secrets import Generated, Secrets
from cdktf_app.security_groups import SecurityGroups
from cdktf_app.storage import Storage
from openmwaa.environment import Environment

TERRAFORM_VERSION: Final = ">= 1.11"  # ephemeral values and write-only arguments
PROVIDER_VERSION: Final = "~> 5.100"  # what was applied
_DAG_SYNC_INTERVAL_S: Final = 30


class EnvironmentStack(TerraformStack):
    """Everything that an environment is made of."""

    def __init__(self, scope: Construct, environment: Environment) -> None:
        super().__init__(scope, environment.name)
        self._addresses: dict[str, str] = {}
        self.add_override("terraform.required_version", TERRAFORM_VERSION)
        self.add_override("terraform.required_providers.aws.version", PROVIDER_VERSION)
        name = f"{PREFIX}-{environment.name}"
        place = Place(self, "place", environment=environment)
        log_groups = group_pattern(environment.name, place)

        key = Keys(self, "keys", name=name, log_groups=log_groups, place=place, given=environment.kms_key).arn
        network = Network(self, "network", name=name, region=place.region, cidr=environment.network.vpc_cidr)
        groups = SecurityGroups(self, "security_groups", name=name, network=network)
        logs = Logs(self, "logs", environment=environment, key_arn=key)
        secrets = Secrets(self, "secrets", name=name, key_arn=key)
        images = Images(self, "images", environment=environment, name=name, place=place, key_arn=key)
        storage = Storage(self, "storage", name=name, place=place, key_arn=key, given=environment.source_bucket)
        broker = Broker(
            self,
            "broker",
            environment_name=environment.name,
            queues=environment.queues,
            place=place,
            key_arn=key,
        )
        database = MetadataDatabase(
            self,
            "metadata_database",
            name=name,
            environment_class=environment.environment_class,
            subnet_ids=network.private_subnet_ids,
            security_group_id=groups.id_of("database"),
            key_arn=key,
        )
        load_balancer = LoadBalancer(
            self, "load_balancer", name=name, network=network, security_group_id=groups.id_of("load_balancer")
        )
        cluster = Cluster(self, "cluster", name=name, place=place)

        roles = Roles(self, "roles", name=name, place=place, key_arn=key)
        identities = Identities(place, key, storage, broker, logs, log_groups, cluster)
        containers = AirflowContainers(
            Connections(
                environment=environment,
                image=images.airflow,
                secrets=secrets,
                database=database,
                queue_urls=broker.urls,
                load_balancer=load_balancer,
                bucket_name=storage.bucket_name,
                dag_sync_interval_s=overridable(self, "dag_sync_interval_s", str(_DAG_SYNC_INTERVAL_S)),
                logs=logs,
            )
        )
        surroundings = Surroundings(
            name=name,
            cluster=cluster,
            subnet_ids=network.private_subnet_ids,
            ready=[network.way_out, database.answers, *secrets.values],
        )
        AirflowServices(
            self,
            "airflow",
            environment=environment,
            surroundings=surroundings,
            containers=containers,
            roles=roles,
            statements=identities.control_plane(),
            load_balancer=load_balancer,
            security_group_id=groups.id_of("control_plane"),
        )
        Fleets(
            self,
            "fleets",
            environment=environment,
            surroundings=surroundings,
            containers=containers,
            roles=roles,
            identities=identities,
            security_group_id=groups.id_of("workers"),
        )
        ScalerService(
            self,
            "scaler",
            environment=environment,
            surroundings=surroundings,
            image=images.scaler,
            secrets=secrets,
            logs=logs,
            roles=roles,
            identities=identities,
            database=database,
            queue_urls=broker.urls,
            security_group_id=groups.id_of("scaler"),
        )
        self._say(
            {
                "web_url": ("Where the web server is, from within the VPC", load_balancer.web_url),
                "admin_password_secret_arn": (
                    "The secret with the password of the user `admin`",
                    secrets.arn(Generated.ADMIN_PASSWORD),
                ),
                "source_bucket": ("The bucket that DAGs are read from", storage.bucket_name),
                "dag_s3_path": ("The folder of the bucket", environment.dag_s3_path),
                "cluster_name": ("The ECS cluster", cluster.name),
                "execution_api_url": ("Where workers find the execution API", load_balancer.execution_api_url),
                "queue_urls": ("SQS queues by worker queue", broker.urls),
                "dead_letters_url": ("The queue of messages given back too often", broker.dead_letters_url),
                "log_groups": ("Log groups by module", {module: logs.group(module).name for module in GROUPS}),
                "images": ("What tasks run", {"airflow": images.airflow.reference, "scaler": images.scaler.reference}),
            }
        )

    def _say(self, outputs: dict[str, tuple[str, object]]) -> None:
        for name, (description, value) in outputs.items():
            TerraformOutput(self, f"output_{name}", description=description, value=value).override_logical_id(name)

    def _allocate_logical_id(self, tf_element: Node | TerraformElement) -> str:
        """Name a resource by its construct's path, without a last word that its type says already.

        `aws_ecs_service.airflow_scheduler`, not `aws_ecs_service.airflow_scheduler_service_9C2B41F0`.
        """
        element = cast("TerraformElement", tf_element)
        # A construct that holds one thing of its own name says it once.
        parts = [part for part, _ in itertools.groupby(element.node.path.split("/")[1:])]
        kind = str(getattr(element, "terraform_resource_type", ""))
        if len(parts) > 1 and kind.endswith(f"_{parts[-1]}"):
            parts.pop()
        address = "_".join(parts)
        path = element.node.path
        taken = self._addresses.setdefault(f"{type(element).__name__}.{address}", path)
        if taken != path:
            raise AddressTakenError(f"{kind}.{address}", taken, path)
        return address
