# SPDX-License-Identifier: Apache-2.0
"""Celery's broker as other constructs use it: SQS, or Redis on ElastiCache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from cdktn import ITerraformDependable

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.security.secrets import GeneratedSecret
from openmwaa.config.environment import Environment

BrokerClient = Literal["celery", "scaler"]
"""Clients of the broker: `celery` is schedulers and workers; `scaler` only counts messages."""


class CeleryBroker(Protocol):
    """The message broker of Celery."""

    @property
    def urls(self) -> Mapping[str, str]:
        """SQS queue URL or Redis list key, by worker queue."""

    @property
    def arns(self) -> Mapping[str, str]:
        """ARN of the SQS queue, by worker queue; empty for Redis."""

    @property
    def dead_letter_queue_url(self) -> str | None:
        """URL of the dead-letter queue; None for Redis."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Further environment variables of Airflow's containers."""

    @property
    def secrets(self) -> Mapping[BrokerClient, GeneratedSecret]:
        """Password secret by client; empty for SQS."""

    @property
    def user_arns(self) -> Sequence[str]:
        """ARNs of the users that `prepare-broker` configures; empty for SQS, which uses IAM."""

    @property
    def users(self) -> Mapping[str, str]:
        """Environment variables of `prepare-broker`; empty for SQS."""

    @property
    def for_scaler(self) -> Mapping[str, Any]:
        """The broker settings of the scaler."""

    @property
    def ready(self) -> Sequence[ITerraformDependable]:
        """Resources that a task needs to reach the broker."""


@dataclass(frozen=True)
class BrokerProps:
    """Arguments of all brokers."""

    environment: Environment
    name: str
    aws_scope: AwsScope
    subnet_ids: Sequence[str]
    security_group_id: str | None
    """The broker's security group; None for SQS, which is not in the VPC."""
    key_arn: str
