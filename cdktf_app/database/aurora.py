# SPDX-License-Identifier: Apache-2.0
"""Aurora PostgreSQL, serverless v2: a cluster with one to three instances in different zones."""

from typing import Final

from cdktn import TerraformResourceLifecycle
from cdktn_provider_aws.data_aws_rds_cluster import DataAwsRdsCluster
from cdktn_provider_aws.data_aws_rds_clusters import DataAwsRdsClusters, DataAwsRdsClustersFilter
from cdktn_provider_aws.data_aws_rds_engine_version import DataAwsRdsEngineVersion
from cdktn_provider_aws.rds_cluster import RdsCluster, RdsClusterServerlessv2ScalingConfiguration
from cdktn_provider_aws.rds_cluster_instance import RdsClusterInstance
from cdktn_provider_aws.rds_cluster_parameter_group import RdsClusterParameterGroup, RdsClusterParameterGroupParameter
from constructs import Construct

from cdktf_app.base.expressions import max_expr
from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.resource_names import PREFIX, collision_free
from cdktf_app.database.base import DatabaseProps
from cdktf_app.database.common import ManagedServer
from openmwaa.config.metadata_database import AuroraServerless

ENGINE: Final = "aurora-postgresql"
_PAUSE_AFTER_S: Final = 300  # the minimum


class Aurora(ManagedServer[AuroraServerless]):
    """The cluster in the private subnets; `host` is the endpoint of the writer."""

    def __init__(self, scope: Construct, construct_id: str, props: DatabaseProps, database: AuroraServerless) -> None:
        super().__init__(scope, construct_id, props, database)
        self._cluster = self._create()
        self.endpoint_ready = [self._instance(*item) for item in enumerate(self._instance_identifiers(), start=1)]
        self.host = overridable_local(self, "host", self._cluster.endpoint)
        self.master_secret_arn = self._cluster.master_user_secret.get(0).secret_arn
        self.dimensions = {"DBClusterIdentifier": self._identifier}

    def _create(self) -> RdsCluster:
        database = self._database
        parameters = RdsClusterParameterGroup(
            self,
            "parameters",
            parameter=[RdsClusterParameterGroupParameter(name="rds.force_ssl", value="1")],
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
            **self._parameter_group_arguments(ENGINE),
        )
        return RdsCluster(
            self,
            "cluster",
            cluster_identifier=self._identifier,
            engine=ENGINE,
            engine_version=self._engine_version(),
            engine_mode="provisioned",  # AWS's value for serverless v2
            serverlessv2_scaling_configuration=RdsClusterServerlessv2ScalingConfiguration(
                min_capacity=database.min_capacity,
                max_capacity=self._max_capacity(),
                # With connections, an instance never pauses.
                seconds_until_auto_pause=None if database.min_capacity else _PAUSE_AFTER_S,
            ),
            db_cluster_parameter_group_name=parameters.name,
            master_username=PREFIX,
            preferred_backup_window=database.backup_window,
            preferred_maintenance_window=database.maintenance_window,
            depends_on=self._log_group("cluster"),
            **self._server_arguments(),
        )

    def _engine_version(self) -> str:
        """Return the version of the file; for a major one, an expression for a minor version.

        That is the version of the running cluster, which AWS upgrades, else AWS's default. A plan neither upgrades the
        cluster nor takes an upgrade back.
        """
        version = self._database.engine_version
        if "." in version:
            return version
        by_name = DataAwsRdsClustersFilter(name="db-cluster-id", values=[self._identifier])
        running = DataAwsRdsClusters(self, "running", filter=[by_name])
        cluster = DataAwsRdsCluster(self, "running_cluster", cluster_identifier="${each.key}")
        cluster.add_override("for_each", f"${{toset({running.fqn}.cluster_identifiers)}}")
        default = DataAwsRdsEngineVersion(self, "version", engine=ENGINE, version=version, default_only=True)
        own = f"for cluster in {cluster.fqn} : cluster.engine_version"
        same_major = f'startswith(cluster.engine_version, "{version}.")'
        return f"${{coalesce(one([{own} if {same_major}]), {default.fqn}.version_actual)}}"

    def _max_capacity(self) -> float:
        class_capacity = self._context.environment.size.database_capacity
        return max_expr(self._database.max_capacity or class_capacity, self._database.min_capacity)

    def _instance_identifiers(self) -> list[str]:
        # NAME-1 could be the RDS instance of an environment NAME-1.
        words = [f"instance-{number}" for number in range(1, self._database.instances + 1)]
        return [f"{self._identifier}-{collision_free(word)}" for word in words]

    def _instance(self, number: int, identifier: str) -> RdsClusterInstance:
        return RdsClusterInstance(
            self,
            f"instance_{number}",
            identifier=identifier,
            cluster_identifier=self._cluster.id,
            engine=ENGINE,
            engine_version=self._cluster.engine_version_actual,
            instance_class="db.serverless",
            db_subnet_group_name=self._subnets.name,
            copy_tags_to_snapshot=True,
            apply_immediately=True,
            # A reader of tier 0 or 1 scales with the writer and can take over its load.
            promotion_tier=0 if number == 1 else 1,
            depends_on=list(self._monitoring.ready) or None,
            **self._instance_arguments(),
        )
