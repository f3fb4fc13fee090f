# SPDX-License-Identifier: Apache-2.0
"""The ECS cluster of all services, on Fargate."""

from __future__ import annotations

from typing import Final

from cdktn import ITerraformDependable
from cdktn_provider_aws.ecs_cluster import (
    EcsCluster,
    EcsClusterConfiguration,
    EcsClusterConfigurationManagedStorageConfiguration,
    EcsClusterSetting,
)
from cdktn_provider_aws.ecs_cluster_capacity_providers import (
    EcsClusterCapacityProviders,
    EcsClusterCapacityProvidersDefaultCapacityProviderStrategy,
)
from constructs import Construct

from cdktf_app.base.stack_context import StackContext

ON_DEMAND: Final = "FARGATE"
SPOT: Final = "FARGATE_SPOT"


class FargateCluster(Construct):
    """The cluster of an environment; the environment's key encrypts the disks of its tasks.

    Container Insights is optional, because it costs more than a small environment.
    """

    def __init__(self, scope: Construct, construct_id: str, context: StackContext) -> None:
        super().__init__(scope, construct_id)
        self.name = context.name
        self._aws_scope = context.aws_scope
        insights = "enabled" if context.environment.monitoring.container_insights else "disabled"
        storage = EcsClusterConfigurationManagedStorageConfiguration(
            fargate_ephemeral_storage_kms_key_id=context.key_arn
        )
        cluster = EcsCluster(
            self,
            "cluster",
            name=self.name,
            setting=[EcsClusterSetting(name="containerInsights", value=insights)],
            configuration=EcsClusterConfiguration(managed_storage_configuration=storage),
        )
        self.arn: str = cluster.arn
        self.capacity: ITerraformDependable = EcsClusterCapacityProviders(
            self,
            "capacity_providers",
            cluster_name=cluster.name,
            capacity_providers=[ON_DEMAND, SPOT],
            default_capacity_provider_strategy=[
                EcsClusterCapacityProvidersDefaultCapacityProviderStrategy(capacity_provider=ON_DEMAND, weight=1)
            ],
        )

    def service_arn(self, service: str) -> str:
        """Return the ARN of a service of the cluster."""
        return self._aws_scope.arn("ecs", f"service/{self.name}/{service}")

    @property
    def every_task(self) -> str:
        """The ARN pattern of the cluster's tasks, whose ids are not known in advance."""
        return self._aws_scope.arn("ecs", f"task/{self.name}/*")
