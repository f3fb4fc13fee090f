# SPDX-License-Identifier: Apache-2.0
"""RDS for PostgreSQL: one instance, and with `multi_az` a standby in another zone."""

from __future__ import annotations

from typing import Final

from cdktn import ITerraformDependable, TerraformResourceLifecycle
from cdktn_provider_aws.db_instance import DbInstance
from cdktn_provider_aws.db_parameter_group import DbParameterGroup, DbParameterGroupParameter
from constructs import Construct

from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.resource_names import PREFIX
from cdktf_app.database.base import DatabaseProps
from cdktf_app.database.common import (
    INSIGHTS_DAYS,
    auto_minor_upgrade,
    enhanced_monitoring,
    family,
    identifier,
    log_group,
    snapshot_name,
    subnet_group,
)
from openmwaa.config.metadata_database import RdsPostgresql
from openmwaa.config.ports import DATABASE_PORT

ENGINE: Final = "postgres"


class Rds(Construct):
    """The instance, in the private subnets; it answers at `host`."""

    def __init__(self, scope: Construct, construct_id: str, props: DatabaseProps, database: RdsPostgresql) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        self._database = database
        self.final_snapshot = snapshot_name(props, database)
        instance = self._create()
        self.endpoint_ready: list[ITerraformDependable] = [instance]
        self.host = overridable_local(self, "host", instance.address)
        self.port = DATABASE_PORT
        self.sslmode = overridable_local(self, "sslmode", database.sslmode)
        secret: str = instance.master_user_secret.get(0).secret_arn
        # No emulator has a secret of an instance.
        self.master_secret_arn = overridable_local(self, "master_secret_arn", secret)
        self.master_key_arn = props.key_arn
        self.dimensions = {"DBInstanceIdentifier": identifier(props)}

    def _parameters(self) -> DbParameterGroup:
        version = family(ENGINE, self._database)
        return DbParameterGroup(
            self,
            "parameters",
            # A new major version has parameters of its own, which are there before the old ones go.
            name=f"{identifier(self._props)}-{version}",
            family=version,
            description=f"{self._props.name}: TLS only",
            parameter=[DbParameterGroupParameter(name="rds.force_ssl", value="1")],
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )

    def _create(self) -> DbInstance:
        props, database = self._props, self._database
        monitoring, insights = enhanced_monitoring(props, database), database.performance_insights
        return DbInstance(
            self,
            "instance",
            identifier=identifier(props),
            engine=ENGINE,
            engine_version=database.engine_version,
            allow_major_version_upgrade=True,
            auto_minor_version_upgrade=auto_minor_upgrade(database),
            instance_class=database.instance_class,
            multi_az=database.multi_az,
            storage_type="gp3",
            allocated_storage=database.allocated_storage,
            max_allocated_storage=database.max_allocated_storage,
            storage_encrypted=True,
            kms_key_id=props.key_arn,
            db_subnet_group_name=subnet_group(self, props).name,
            vpc_security_group_ids=[props.security_group_id],
            parameter_group_name=self._parameters().name,
            port=DATABASE_PORT,
            publicly_accessible=False,
            # RDS keeps and rotates the master password by itself; `prepare-database` alone reads it.
            username=PREFIX,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=props.key_arn,
            backup_retention_period=database.backup_retention_days,
            backup_window=database.backup_window,
            maintenance_window=database.maintenance_window,
            # Whoever changes the file has read the plan: the next window is a surprise on a Sunday.
            apply_immediately=True,
            copy_tags_to_snapshot=True,
            delete_automated_backups=True,
            enabled_cloudwatch_logs_exports=["postgresql"] if database.log_exports else None,
            performance_insights_enabled=insights,
            performance_insights_kms_key_id=props.key_arn if insights else None,
            performance_insights_retention_period=INSIGHTS_DAYS if insights else None,
            monitoring_interval=monitoring.interval_s,
            monitoring_role_arn=monitoring.role_arn,
            deletion_protection=database.deletion_protection,
            skip_final_snapshot=not database.final_snapshot,
            final_snapshot_identifier=self.final_snapshot,
            depends_on=[*monitoring.ready, *log_group(self, props, database, "instance")] or None,
        )
