# SPDX-License-Identifier: Apache-2.0
"""Makes the broker that the environment file names."""

from __future__ import annotations

from constructs import Construct

from cdktf_app.broker.base import BrokerProps, CeleryBroker
from openmwaa.config.broker import Sqs


def broker(scope: Construct, construct_id: str, props: BrokerProps) -> CeleryBroker:
    """Return the broker that the environment asks for, made in `scope`."""
    config = props.environment.broker
    # Each of them brings bindings that the other does not need.
    if isinstance(config, Sqs):
        from cdktf_app.broker.sqs import SqsBroker  # noqa: PLC0415

        return SqsBroker(scope, construct_id, props, config)
    from cdktf_app.broker.elasticache import ElastiCacheBroker  # noqa: PLC0415

    return ElastiCacheBroker(scope, construct_id, props, config)
