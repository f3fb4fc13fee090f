# SPDX-License-Identifier: Apache-2.0
"""Redis as the broker: Valkey on ElastiCache, encrypted in transit and at rest, with a user per client.

Terraform creates the users disabled and without a password, so that its state contains none. `prepare-broker`, which
runs before each scheduler, sets passwords and permissions; Terraform ignores both afterwards.
"""

from collections.abc import Sequence
from typing import Final

from cdktn import Fn, TerraformResourceLifecycle
from cdktn_provider_aws.elasticache_parameter_group import ElasticacheParameterGroup, ElasticacheParameterGroupParameter
from cdktn_provider_aws.elasticache_replication_group import ElasticacheReplicationGroup
from cdktn_provider_aws.elasticache_subnet_group import ElasticacheSubnetGroup
from cdktn_provider_aws.elasticache_user import ElasticacheUser, ElasticacheUserAuthenticationMode
from cdktn_provider_aws.elasticache_user_group import ElasticacheUserGroup
from constructs import Construct

from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.resource_names import host_name
from cdktf_app.base.stack_context import StackContext
from cdktf_app.broker.base import BrokerClient, CeleryBroker
from cdktf_app.security.secrets import GeneratedSecret
from openmwaa.config.broker import ElastiCache
from openmwaa.config.ports import REDIS_PORT

ENGINE: Final = "valkey"
ENGINE_VERSION: Final = "8.0"
_FAMILY: Final = "valkey8"
# User groups of this engine also serve Valkey, and only they allow users without a password.
_USER_ENGINE: Final = "redis"
_OFF: Final = "off -@all"
# ElastiCache allows 40 characters for ids of replication groups, users and user groups.
_NAME_LIMIT: Final = 40 - len("-default")
_CLIENTS: Final[tuple[BrokerClient, ...]] = ("celery", "scaler")


class ElastiCacheBroker(CeleryBroker):
    """A replication group in the private subnets, with its users, parameters and subnet group."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        context: StackContext,
        config: ElastiCache,
        *,
        subnet_ids: Sequence[str],
        security_group_id: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self._context, self._config = context, config
        self._name = host_name(context.name, limit=_NAME_LIMIT)
        users = {client: self._user(client, client) for client in _CLIENTS}
        # ElastiCache's own `default` user has all permissions without a password; ours stays disabled.
        default_user = self._user("default", "default")
        group = ElasticacheUserGroup(
            self,
            "user_group",
            user_group_id=f"{self._name}-users",
            engine=_USER_ENGINE,
            user_ids=[default_user.user_id, *(user.user_id for user in users.values())],
        )
        redis = self._replication_group(group, subnet_ids, security_group_id)
        host = redis.primary_endpoint_address
        self.urls = {queue: queue for queue in context.environment.queues}
        self.variables = {
            "OPENMWAA_BROKER_URL": overridable_local(self, "url", f"rediss://celery@{host}:{REDIS_PORT}/0")
        }
        self.secrets = {"celery": GeneratedSecret.BROKER_PASSWORD, "scaler": GeneratedSecret.SCALER_BROKER_PASSWORD}
        self.user_arns = [user.arn for user in users.values()]
        self.users = {
            "OPENMWAA_BROKER_USER_IDS": Fn.jsonencode({client: user.user_id for client, user in users.items()})
        }
        scaler_url = overridable_local(self, "scaler_url", f"rediss://scaler@{host}:{REDIS_PORT}/0")
        self.for_scaler = {"kind": "redis", "url": scaler_url}
        self.ready = [redis]

    def _user(self, word: str, user_name: str) -> ElasticacheUser:
        return ElasticacheUser(
            self,
            f"user_{word}",
            user_id=f"{self._name}-{word}",
            user_name=user_name,
            engine=_USER_ENGINE,
            access_string=_OFF,
            authentication_mode=ElasticacheUserAuthenticationMode(type="no-password-required"),
            lifecycle=TerraformResourceLifecycle(
                ignore_changes=["access_string", "authentication_mode", "no_password_required", "passwords"]
            ),
        )

    def _replication_group(
        self, users: ElasticacheUserGroup, subnet_ids: Sequence[str], security_group_id: str
    ) -> ElasticacheReplicationGroup:
        context, config = self._context, self._config
        subnets = ElasticacheSubnetGroup(self, "subnet_group", name=self._name, subnet_ids=list(subnet_ids))
        # A full broker must reject messages; with eviction it would lose them silently.
        parameters = ElasticacheParameterGroup(
            self,
            "parameters",
            name=f"{self._name}-{_FAMILY}",
            family=_FAMILY,
            description=f"{self._name}: never evict",
            parameter=[ElasticacheParameterGroupParameter(name="maxmemory-policy", value="noeviction")],
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )
        has_replicas = config.replicas > 0
        return ElasticacheReplicationGroup(
            self,
            "replication_group",
            replication_group_id=self._name,
            description=f"{context.name}: Celery's broker",
            engine=ENGINE,
            engine_version=ENGINE_VERSION,
            node_type=config.node_type,
            num_cache_clusters=1 + config.replicas,
            automatic_failover_enabled=has_replicas,
            multi_az_enabled=has_replicas,
            port=REDIS_PORT,
            parameter_group_name=parameters.name,
            subnet_group_name=subnets.name,
            security_group_ids=[security_group_id],
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled="true",
            kms_key_id=context.key_arn,
            user_group_ids=[users.id],
            # No snapshots: old messages are worse than none, because Airflow queues lost tasks again.
            snapshot_retention_limit=0,
            maintenance_window=config.maintenance_window,
            auto_minor_version_upgrade="true",
            apply_immediately=True,
        )
