# SPDX-License-Identifier: Apache-2.0
"""Creates the broker of the environment."""

from __future__ import annotations

from constructs import Construct

from cdktf_app.broker.base import BrokerProps, CeleryBroker
from openmwaa.config.broker import Sqs


def broker(scope: Construct, construct_id: str, props: BrokerProps) -> CeleryBroker:
    """Return a new broker as `environment.broker` configures it."""
    config = props.environment.broker
    # Imported here, because each one loads provider bindings that the other does not need.
    if isinstance(config, Sqs):
        from cdktf_app.broker.sqs import SqsBroker  # noqa: PLC0415

        return SqsBroker(scope, construct_id, props, config)
    from cdktf_app.broker.elasticache import ElastiCacheBroker  # noqa: PLC0415

    return ElastiCacheBroker(scope, construct_id, props, config)
