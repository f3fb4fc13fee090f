# SPDX-License-Identifier: Apache-2.0
"""RDS for PostgreSQL: one instance; `multi_az` adds a standby in another zone."""

from typing import Final

from cdktn import TerraformResourceLifecycle
from cdktn_provider_aws.db_instance import DbInstance
from cdktn_provider_aws.db_parameter_group import DbParameterGroup, DbParameterGroupParameter
from constructs import Construct

from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.resource_names import PREFIX
from cdktf_app.database.base import DatabaseProps
from cdktf_app.database.common import ManagedServer
from openmwaa.config.metadata_database import RdsPostgresql

ENGINE: Final = "postgres"


class Rds(ManagedServer[RdsPostgresql]):
    """The instance in the private subnets."""

    def __init__(self, scope: Construct, construct_id: str, props: DatabaseProps, database: RdsPostgresql) -> None:
        super().__init__(scope, construct_id, props, database)
        instance = self._create()
        self.endpoint_ready = [instance]
        self.host = overridable_local(self, "host", instance.address)
        secret: str = instance.master_user_secret.get(0).secret_arn
        # Overridable, because emulators create no master secret of an instance.
        self.master_secret_arn = overridable_local(self, "master_secret_arn", secret)
        self.dimensions = {"DBInstanceIdentifier": self._identifier}

    def _instance_identifiers(self) -> list[str]:
        return [self._identifier]

    def _create(self) -> DbInstance:
        database = self._database
        parameters = DbParameterGroup(
            self,
            "parameters",
            parameter=[DbParameterGroupParameter(name="rds.force_ssl", value="1")],
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
            **self._parameter_group_arguments(ENGINE),
        )
        return DbInstance(
            self,
            "instance",
            identifier=self._identifier,
            engine=ENGINE,
            engine_version=database.engine_version,
            instance_class=database.instance_class,
            multi_az=database.multi_az,
            storage_type="gp3",
            allocated_storage=database.allocated_storage,
            max_allocated_storage=database.max_allocated_storage,
            parameter_group_name=parameters.name,
            username=PREFIX,
            backup_window=database.backup_window,
            maintenance_window=database.maintenance_window,
            delete_automated_backups=True,
            depends_on=[*self._monitoring.ready, *self._log_group("instance")] or None,
            **self._server_arguments(),
            **self._instance_arguments(),
        )
