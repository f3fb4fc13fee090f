# SPDX-License-Identifier: Apache-2.0
"""Celery's broker: SQS, or Redis on ElastiCache."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from openmwaa.config.metadata_database import WeeklyWindow
from openmwaa.config.strict_model import StrictModel


class Sqs(StrictModel):
    """One SQS queue per Airflow queue, and a dead-letter queue."""

    kind: Literal["SQS"] = "SQS"
    max_receive_count: Annotated[int, Field(ge=20, le=1000)] = 100
    """Receives of a message before it moves to the dead-letter queue; each return by a draining worker counts."""


class ElastiCache(StrictModel):
    """Valkey on ElastiCache, with TLS and its own users."""

    kind: Literal["ELASTICACHE"]
    node_type: Annotated[str, StringConstraints(pattern=r"^cache\.[a-z0-9]+\.[a-z0-9]+$")] = "cache.t4g.small"
    replicas: Annotated[int, Field(ge=0, le=5)] = 1
    """Replicas in other zones, for failover; with 0 a failure of the node loses the messages in it."""
    maintenance_window: WeeklyWindow = "sun:05:00-sun:06:00"
    """Window for AWS's patches, in UTC, at least an hour."""


Broker = Annotated[Sqs | ElastiCache, Field(discriminator="kind")]
