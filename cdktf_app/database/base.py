# SPDX-License-Identifier: Apache-2.0
"""Airflow's metadata database as other constructs use it; it also stores Celery's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cdktn import ITerraformDependable

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.security.roles import Roles
from openmwaa.config.environment import Environment


class MetadataDatabase(Protocol):
    """A PostgreSQL server, new or existing."""

    @property
    def host(self) -> str:
        """Host name of the writer."""

    @property
    def port(self) -> int:
        """TCP port."""

    @property
    def sslmode(self) -> str:
        """How clients check the certificate: libpq's `sslmode`."""

    @property
    def master_secret_arn(self) -> str:
        """Secret {"username", "password"} of the master user; only `prepare-database` reads it."""

    @property
    def master_key_arn(self) -> str:
        """KMS key of the master secret."""

    @property
    def endpoint_ready(self) -> Sequence[ITerraformDependable]:
        """Resources that must exist before `host` accepts connections."""

    @property
    def dimensions(self) -> Mapping[str, str]:
        """CloudWatch dimensions; empty for an existing server."""

    @property
    def final_snapshot(self) -> str | None:
        """Name of the snapshot that a destroy creates, if any."""


@dataclass(frozen=True)
class DatabaseProps:
    """Arguments of a database that the stack creates."""

    environment: Environment
    name: str
    aws_scope: AwsScope
    roles: Roles
    subnet_ids: Sequence[str]
    security_group_id: str
    key_arn: str
    unique_arn: str
    """An ARN whose last characters differ in each creation of the environment."""
