# SPDX-License-Identifier: Apache-2.0
"""Creates the broker of the environment."""

from constructs import Construct

from cdktf_app.base.stack_context import StackContext
from cdktf_app.broker.base import CeleryBroker
from cdktf_app.network.security_groups import SecurityGroups
from cdktf_app.network.traffic_rules import BROKER
from cdktf_app.network.vpc import VpcNetwork
from openmwaa.config.broker import Sqs


def broker(
    scope: Construct, construct_id: str, context: StackContext, network: VpcNetwork, groups: SecurityGroups
) -> CeleryBroker:
    """Return a new broker as `environment.broker` configures it."""
    config = context.environment.broker
    # Imported here, because each one loads provider bindings that the other does not need.
    if isinstance(config, Sqs):
        from cdktf_app.broker.sqs import SqsBroker  # noqa: PLC0415

        return SqsBroker(scope, construct_id, context, config)
    from cdktf_app.broker.elasticache import ElastiCacheBroker  # noqa: PLC0415

    return ElastiCacheBroker(
        scope,
        construct_id,
        context,
        config,
        subnet_ids=network.private_subnet_ids,
        security_group_id=groups.id_of(BROKER),
    )
