# SPDX-License-Identifier: Apache-2.0
"""Airflow's metadata database as other constructs use it; it also stores Celery's results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdktn import ITerraformDependable
from constructs import Construct

from cdktf_app.base.stack_context import StackContext
from cdktf_app.security.roles import Roles


class MetadataDatabase(Construct):
    """A PostgreSQL server, new or existing."""

    host: str
    """Host name of the writer."""
    port: int
    sslmode: str
    """How clients check the certificate: libpq's `sslmode`."""
    master_secret_arn: str
    """Secret {"username", "password"} of the master user; only `prepare-database` reads it."""
    master_key_arn: str
    """KMS key of the master secret."""
    endpoint_ready: Sequence[ITerraformDependable] = ()
    """Resources that must exist before `host` accepts connections."""
    dimensions: Mapping[str, str] = {}
    """CloudWatch dimensions; empty for an existing server."""
    final_snapshot: str | None = None
    """Name of the snapshot that a destroy creates, if any."""


@dataclass(frozen=True)
class DatabaseProps:
    """Arguments of a database that the stack creates."""

    context: StackContext
    roles: Roles
    subnet_ids: Sequence[str]
    security_group_id: str
    unique_arn: str
    """An ARN whose last characters differ in each creation of the environment."""
