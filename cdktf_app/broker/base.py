# SPDX-License-Identifier: Apache-2.0
"""Celery's broker: what the rest of a stack uses of it, be it SQS or Redis by ElastiCache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from cdktn import ITerraformDependable

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.security.secrets import GeneratedSecret
from openmwaa.config.environment import Environment

BrokerClient = Literal["celery", "scaler"]
"""Who talks to the broker: schedulers and workers, or the scaler, which counts and no more."""


class CeleryBroker(Protocol):
    """Where messages wait for workers."""

    @property
    def urls(self) -> Mapping[str, str]:
        """What the broker calls each worker queue: an SQS queue's URL, a Redis list's key."""

    @property
    def arns(self) -> Mapping[str, str]:
        """SQS queues by worker queue; none of Redis."""

    @property
    def dead_letter_queue_url(self) -> str | None:
        """The queue of messages that were given back too often; Redis has none."""

    @property
    def variables(self) -> Mapping[str, str]:
        """What Airflow's containers are told of it besides `urls`."""

    @property
    def secrets(self) -> Mapping[BrokerClient, GeneratedSecret]:
        """The password of each who needs one."""

    @property
    def user_arns(self) -> Sequence[str]:
        """Users that `prepare-broker` gives their passwords and rights; none of SQS, where IAM does."""

    @property
    def users(self) -> Mapping[str, str]:
        """What `prepare-broker` is told of them; empty where there is nothing to prepare."""

    @property
    def for_scaler(self) -> Mapping[str, Any]:
        """The scaler's settings of its broker."""

    @property
    def ready(self) -> Sequence[ITerraformDependable]:
        """What has to exist before a task can reach it."""


@dataclass(frozen=True)
class BrokerProps:
    """What a broker stands on."""

    environment: Environment
    name: str
    aws_scope: AwsScope
    subnet_ids: Sequence[str]
    security_group_id: str | None
    """The broker's own group; None for SQS, which is not in the VPC."""
    key_arn: str
