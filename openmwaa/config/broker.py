# SPDX-License-Identifier: Apache-2.0
"""Celery's broker: SQS, or Redis on ElastiCache."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from openmwaa.config.strict_model import StrictModel
from openmwaa.config.text_rules import NodeType, WeeklyWindow
from openmwaa.config.windows import check_length


class Sqs(StrictModel):
    """One SQS queue per Airflow queue, and a dead-letter queue."""

    kind: Literal["SQS"] = "SQS"
    max_receive_count: Annotated[int, Field(ge=20, le=1000)] = 100
    """Receives of a message before it moves to the dead-letter queue; each return by a draining worker counts."""


class ElastiCache(StrictModel):
    """Valkey on ElastiCache, with TLS and its own users."""

    kind: Literal["ELASTICACHE"]
    node_type: NodeType = "cache.t4g.small"
    replicas: Annotated[int, Field(ge=0, le=5)] = 1
    """Replicas in other zones, for failover; with 0 a failure of the node loses the messages in it."""
    maintenance_window: WeeklyWindow = "sun:05:00-sun:06:00"
    """Window for AWS's patches, in UTC, at least an hour."""

    @field_validator("maintenance_window")
    @classmethod
    def _window_is_accepted(cls, value: str) -> str:
        check_length(value, 60, "elasticache PreferredMaintenanceWindow")
        return value


Broker = Annotated[Sqs | ElastiCache, Field(discriminator="kind")]
