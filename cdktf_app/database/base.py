# SPDX-License-Identifier: Apache-2.0
"""Airflow's metadata database, which also holds Celery's results: what the rest of a stack uses of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cdktn import ITerraformDependable

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.security.roles import Roles
from openmwaa.config.environment import Environment


class MetadataDatabase(Protocol):
    """A PostgreSQL server, whoever made it."""

    @property
    def host(self) -> str:
        """Where the writer answers."""

    @property
    def port(self) -> int:
        """At which port."""

    @property
    def sslmode(self) -> str:
        """How clients check its certificate, in libpq's words."""

    @property
    def master_secret_arn(self) -> str:
        """The secret {"username", "password"} of who may make roles and databases, for `prepare-database` alone."""

    @property
    def master_key_arn(self) -> str:
        """The key that the secret is encrypted with."""

    @property
    def endpoint_ready(self) -> Sequence[ITerraformDependable]:
        """What has to exist before anybody answers at `host`."""

    @property
    def dimensions(self) -> Mapping[str, str]:
        """By which CloudWatch knows it; empty when it is not ours."""

    @property
    def final_snapshot(self) -> str | None:
        """The name of the snapshot that destroy leaves, if any."""


@dataclass(frozen=True)
class DatabaseProps:
    """What a database of ours stands on."""

    environment: Environment
    name: str
    aws_scope: AwsScope
    roles: Roles
    subnet_ids: Sequence[str]
    security_group_id: str
    key_arn: str
    creation: str
    """A text with letters and digits at its end that are others in every creation of the environment: an ARN."""
