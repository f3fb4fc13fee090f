# SPDX-License-Identifier: Apache-2.0
"""RDS for PostgreSQL: one instance, and with `multi_az` a standby in another zone."""

from __future__ import annotations

from typing import Final

from cdktn import ITerraformDependable, TerraformResourceLifecycle
from cdktn_provider_aws.db_instance import DbInstance
from cdktn_provider_aws.db_parameter_group import DbParameterGroup, DbParameterGroupParameter
from constructs import Construct

from cdktf_app.base.local_values import overridable
from cdktf_app.base.ports import DATABASE_PORT
from cdktf_app.base.resource_names import PREFIX
from cdktf_app.database.base import Ground
from cdktf_app.database.common import (
    INSIGHTS_DAYS,
    family,
    identifier,
    log_group,
    moves_by_itself,
    snapshot_name,
    subnet_group,
    watched,
)
from openmwaa.config.metadata_database import RdsPostgresql

ENGINE: Final = "postgres"


class Rds(Construct):
    """The instance, in the private subnets; it answers at `host`."""

    def __init__(self, scope: Construct, construct_id: str, ground: Ground, database: RdsPostgresql) -> None:
        super().__init__(scope, construct_id)
        self._ground = ground
        self._database = database
        self.final_snapshot = snapshot_name(ground, database)
        instance = self._made()
        self.answers: list[ITerraformDependable] = [instance]
        self.host = overridable(self, "host", instance.address)
        self.port = DATABASE_PORT
        self.sslmode = overridable(self, "sslmode", database.sslmode)
        secret: str = instance.master_user_secret.get(0).secret_arn
        # No emulator has a secret of an instance.
        self.master_secret_arn = overridable(self, "master_secret_arn", secret)
        self.master_key_arn = ground.key_arn
        self.dimensions = {"DBInstanceIdentifier": identifier(ground)}

    def _parameters(self) -> DbParameterGroup:
        version = family(ENGINE, self._database)
        return DbParameterGroup(
            self,
            "parameters",
            # A new major version has parameters of its own, which are there before the old ones go.
            name=f"{identifier(self._ground)}-{version}",
            family=version,
            description=f"{self._ground.name}: TLS only",
            parameter=[DbParameterGroupParameter(name="rds.force_ssl", value="1")],
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )

    def _made(self) -> DbInstance:
        ground, database = self._ground, self._database
        watched_by, insights = watched(ground, database), database.performance_insights
        return DbInstance(
            self,
            "instance",
            identifier=identifier(ground),
            engine=ENGINE,
            engine_version=database.engine_version,
            allow_major_version_upgrade=True,
            auto_minor_version_upgrade=moves_by_itself(database),
            instance_class=database.instance_class,
            multi_az=database.multi_az,
            storage_type="gp3",
            allocated_storage=database.allocated_storage,
            max_allocated_storage=database.max_allocated_storage,
            storage_encrypted=True,
            kms_key_id=ground.key_arn,
            db_subnet_group_name=subnet_group(self, ground).name,
            vpc_security_group_ids=[ground.security_group_id],
            parameter_group_name=self._parameters().name,
            port=DATABASE_PORT,
            publicly_accessible=False,
            # RDS keeps and rotates the master password by itself; `prepare-database` alone reads it.
            username=PREFIX,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=ground.key_arn,
            backup_retention_period=database.backup_retention_days,
            backup_window=database.backup_window,
            maintenance_window=database.maintenance_window,
            # Whoever changes the file has read the plan: the next window is a surprise on a Sunday.
            apply_immediately=True,
            copy_tags_to_snapshot=True,
            delete_automated_backups=True,
            enabled_cloudwatch_logs_exports=["postgresql"] if database.log_exports else None,
            performance_insights_enabled=insights,
            performance_insights_kms_key_id=ground.key_arn if insights else None,
            performance_insights_retention_period=INSIGHTS_DAYS if insights else None,
            monitoring_interval=watched_by.interval_s,
            monitoring_role_arn=watched_by.role_arn,
            deletion_protection=database.deletion_protection,
            skip_final_snapshot=not database.final_snapshot,
            final_snapshot_identifier=self.final_snapshot,
            depends_on=[*watched_by.ready, *log_group(self, ground, database, "instance")] or None,
        )
