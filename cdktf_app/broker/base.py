# SPDX-License-Identifier: Apache-2.0
"""Celery's broker as other constructs use it: SQS, or Redis on ElastiCache."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from cdktn import ITerraformDependable
from constructs import Construct

from cdktf_app.security.secrets import GeneratedSecret

BrokerClient = Literal["celery", "scaler"]
"""Clients of the broker: `celery` is schedulers and workers; `scaler` only counts messages."""


class CeleryBroker(Construct):
    """The message broker of Celery; what only one kind of broker has is empty for the other."""

    urls: Mapping[str, str]
    """SQS queue URL or Redis list key, by worker queue."""
    for_scaler: Mapping[str, Any]
    """The broker settings of the scaler."""
    ready: Sequence[ITerraformDependable] = ()
    """Resources that a task needs to reach the broker."""

    arns: Mapping[str, str] = {}
    """ARN of the SQS queue, by worker queue."""
    dead_letter_queue_url: str | None = None

    variables: Mapping[str, str] = {}
    """Environment variables of Airflow's containers with Redis."""
    secrets: Mapping[BrokerClient, GeneratedSecret] = {}
    """Password secret of Redis by client; SQS uses IAM."""
    user_arns: Sequence[str] = ()
    """ARNs of the users that `prepare-broker` configures in Redis."""
    users: Mapping[str, str] = {}
    """Environment variables of `prepare-broker`."""
