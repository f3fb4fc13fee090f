# SPDX-License-Identifier: Apache-2.0
"""Celery's broker: SQS, or Redis by ElastiCache."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from openmwaa.config.metadata_database import WeeklyWindow
from openmwaa.config.strict_model import StrictModel


class Sqs(StrictModel):
    """A queue a worker queue, and one for dead letters."""

    kind: Literal["SQS"] = "SQS"
    max_receive_count: Annotated[int, Field(ge=20, le=1000)] = 100
    """How often a message may be received before it is a dead letter; every give-back by a draining worker counts."""


class ElastiCache(StrictModel):
    """Valkey by ElastiCache, with TLS and users of its own."""

    kind: Literal["ELASTICACHE"]
    node_type: Annotated[str, StringConstraints(pattern=r"^cache\.[a-z0-9]+\.[a-z0-9]+$")] = "cache.t4g.small"
    replicas: Annotated[int, Field(ge=0, le=5)] = 1
    """Nodes in other zones that take over; with 0 the broker's loss is a loss of the messages in it."""
    maintenance_window: WeeklyWindow = "sun:05:00-sun:06:00"
    """When AWS may patch it, in UTC, at least an hour."""


Broker = Annotated[Sqs | ElastiCache, Field(discriminator="kind")]
