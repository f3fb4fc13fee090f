# SPDX-License-Identifier: Apache-2.0
"""Aurora PostgreSQL, serverless v2: a cluster and up to three instances, over zones."""

from __future__ import annotations

from typing import Final

from cdktn import ITerraformDependable, TerraformResourceLifecycle
from cdktn_provider_aws.rds_cluster import RdsCluster, RdsClusterServerlessv2ScalingConfiguration
from cdktn_provider_aws.rds_cluster_instance import RdsClusterInstance
from cdktn_provider_aws.rds_cluster_parameter_group import (
    RdsClusterParameterGroup,
    RdsClusterParameterGroupParameter,
)
from constructs import Construct

from cdktf_app.base.expressions import max_expr
from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.resource_names import PREFIX
from cdktf_app.database.base import DatabaseProps
from cdktf_app.database.common import (
    INSIGHTS_DAYS,
    EnhancedMonitoring,
    auto_minor_upgrade,
    enhanced_monitoring,
    family,
    identifier,
    log_group,
    snapshot_name,
    subnet_group,
)
from openmwaa.config.metadata_database import AuroraServerless
from openmwaa.config.ports import DATABASE_PORT

ENGINE: Final = "aurora-postgresql"


class Aurora(Construct):
    """The cluster, in the private subnets; its writer answers at `host`."""

    def __init__(self, scope: Construct, construct_id: str, props: DatabaseProps, database: AuroraServerless) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        self._database = database
        self._subnets = subnet_group(self, props)
        self._enhanced_monitoring: EnhancedMonitoring = enhanced_monitoring(props, database)
        self.final_snapshot = snapshot_name(props, database)
        self._cluster = self._create()
        self.endpoint_ready: list[ITerraformDependable] = [self._instance(n) for n in range(1, database.instances + 1)]
        self.host = overridable_local(self, "host", self._cluster.endpoint)
        self.port = DATABASE_PORT
        self.sslmode = overridable_local(self, "sslmode", database.sslmode)
        self.master_secret_arn: str = self._cluster.master_user_secret.get(0).secret_arn
        self.master_key_arn = props.key_arn
        self.dimensions = {"DBClusterIdentifier": identifier(props)}

    def _parameters(self) -> RdsClusterParameterGroup:
        version = family(ENGINE, self._database)
        return RdsClusterParameterGroup(
            self,
            "parameters",
            # A new major version has parameters of its own, which are there before the old ones go.
            name=f"{identifier(self._props)}-{version}",
            family=version,
            description=f"{self._props.name}: TLS only",
            parameter=[RdsClusterParameterGroupParameter(name="rds.force_ssl", value="1")],
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )

    def _create(self) -> RdsCluster:
        props, database = self._props, self._database
        return RdsCluster(
            self,
            "cluster",
            cluster_identifier=identifier(props),
            engine=ENGINE,
            engine_version=database.engine_version,
            allow_major_version_upgrade=True,
            engine_mode="provisioned",  # what serverless v2 calls itself
            serverlessv2_scaling_configuration=RdsClusterServerlessv2ScalingConfiguration(
                min_capacity=database.min_capacity, max_capacity=self._max_capacity()
            ),
            db_subnet_group_name=self._subnets.name,
            vpc_security_group_ids=[props.security_group_id],
            db_cluster_parameter_group_name=self._parameters().name,
            port=DATABASE_PORT,
            # RDS keeps and rotates the master password by itself; `prepare-database` alone reads it.
            master_username=PREFIX,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=props.key_arn,
            storage_encrypted=True,
            kms_key_id=props.key_arn,
            backup_retention_period=database.backup_retention_days,
            preferred_backup_window=database.backup_window,
            preferred_maintenance_window=database.maintenance_window,
            # Whoever changes the file has read the plan: the next window is a surprise on a Sunday.
            apply_immediately=True,
            copy_tags_to_snapshot=True,
            enabled_cloudwatch_logs_exports=["postgresql"] if database.log_exports else None,
            deletion_protection=database.deletion_protection,
            skip_final_snapshot=not database.final_snapshot,
            final_snapshot_identifier=self.final_snapshot,
            depends_on=log_group(self, props, database, "cluster"),
        )

    def _max_capacity(self) -> float:
        of_class = self._props.environment.size.database_capacity
        return max_expr(self._database.max_capacity or of_class, self._database.min_capacity)

    def _instance(self, number: int) -> RdsClusterInstance:
        props, database, monitoring = self._props, self._database, self._enhanced_monitoring
        insights = database.performance_insights
        return RdsClusterInstance(
            self,
            f"instance_{number}",
            identifier=f"{identifier(props)}-{number}",
            cluster_identifier=self._cluster.id,
            engine=ENGINE,
            engine_version=self._cluster.engine_version,
            instance_class="db.serverless",
            db_subnet_group_name=self._subnets.name,
            publicly_accessible=False,
            copy_tags_to_snapshot=True,
            auto_minor_version_upgrade=auto_minor_upgrade(database),
            apply_immediately=True,
            # A reader of a lower tier scales with the writer, and can bear its load at once.
            promotion_tier=0 if number == 1 else 1,
            performance_insights_enabled=insights,
            performance_insights_kms_key_id=props.key_arn if insights else None,
            performance_insights_retention_period=INSIGHTS_DAYS if insights else None,
            monitoring_interval=monitoring.interval_s,
            monitoring_role_arn=monitoring.role_arn,
            depends_on=list(monitoring.ready) or None,
        )
