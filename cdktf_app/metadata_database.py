# SPDX-License-Identifier: Apache-2.0
"""Airflow's metadata database, which also holds Celery's results: Aurora PostgreSQL, serverless v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cdktn import ITerraformDependable
from cdktn_provider_aws.db_subnet_group import DbSubnetGroup
from cdktn_provider_aws.rds_cluster import RdsCluster, RdsClusterServerlessv2ScalingConfiguration
from cdktn_provider_aws.rds_cluster_instance import RdsClusterInstance
from cdktn_provider_aws.rds_cluster_parameter_group import (
    RdsClusterParameterGroup,
    RdsClusterParameterGroupParameter,
)
from constructs import Construct

from cdktf_app.names import PREFIX, host_name
from cdktf_app.overridable import overridable
from cdktf_app.ports import DATABASE_PORT

ENGINE: Final = "aurora-postgresql"
ENGINE_VERSION: Final = "16.8"
_FAMILY: Final = "aurora-postgresql16"
# An Aurora capacity unit is about 2 GiB: the most is the memory that MWAA's database of the class has.
_MIN_CAPACITY: Final = 0.5
_MAX_CAPACITY: Final[Mapping[str, int]] = {
    "mw1.micro": 2,
    "mw1.small": 2,
    "mw1.medium": 4,
    "mw1.large": 4,
    "mw1.xlarge": 16,
    "mw1.2xlarge": 32,
}
_BACKUP_DAYS: Final = 7
_NAME_LIMIT: Final = 50


class MetadataDatabase(Construct):
    """The cluster and its one instance, in the private subnets; the writer answers at `host`, port 5432."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        environment_class: str,
        subnet_ids: list[str],
        security_group_id: str,
        key_arn: str,
    ) -> None:
        super().__init__(scope, construct_id)
        identifier = host_name(name, limit=_NAME_LIMIT)
        subnets = DbSubnetGroup(self, "subnet_group", name=identifier, subnet_ids=subnet_ids)
        parameters = RdsClusterParameterGroup(
            self,
            "parameters",
            name=identifier,
            family=_FAMILY,
            description=f"{name}: TLS only",
            parameter=[RdsClusterParameterGroupParameter(name="rds.force_ssl", value="1")],
        )
        self._cluster = RdsCluster(
            self,
            "cluster",
            cluster_identifier=identifier,
            engine=ENGINE,
            engine_version=ENGINE_VERSION,
            engine_mode="provisioned",  # what serverless v2 calls itself
            serverlessv2_scaling_configuration=RdsClusterServerlessv2ScalingConfiguration(
                min_capacity=_MIN_CAPACITY, max_capacity=_MAX_CAPACITY[environment_class]
            ),
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[security_group_id],
            db_cluster_parameter_group_name=parameters.name,
            port=DATABASE_PORT,
            # RDS keeps and rotates the master password by itself; `prepare-database` alone reads it.
            master_username=PREFIX,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key_arn,
            storage_encrypted=True,
            kms_key_id=key_arn,
            backup_retention_period=_BACKUP_DAYS,
            copy_tags_to_snapshot=True,
            deletion_protection=False,
            # A final snapshot has a fixed name, and the second destroy of an environment would fail on the first one's.
            skip_final_snapshot=True,
        )
        self._instance = RdsClusterInstance(
            self,
            "instance",
            identifier=f"{identifier}-1",
            cluster_identifier=self._cluster.id,
            engine=ENGINE,
            engine_version=self._cluster.engine_version,
            instance_class="db.serverless",
            db_subnet_group_name=subnets.name,
            publicly_accessible=False,
            copy_tags_to_snapshot=True,
            # AWS would move past the version above by itself, and Terraform would then plan a downgrade.
            auto_minor_version_upgrade=False,
        )
        self.host = overridable(self, "host", self._cluster.endpoint)
        self.sslmode = overridable(self, "sslmode", "require")

    @property
    def master_secret_arn(self) -> str:
        """The secret that RDS keeps the master user's name and password in."""
        return self._cluster.master_user_secret.get(0).secret_arn

    @property
    def answers(self) -> ITerraformDependable:
        """What has to exist before anybody answers at `host`."""
        return self._instance
