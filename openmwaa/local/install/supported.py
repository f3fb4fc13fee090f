# SPDX-License-Identifier: Apache-2.0
"""What an environment may not ask for on this machine, said before anything is started."""

from __future__ import annotations

from collections.abc import Iterator

from openmwaa.config.broker import ElastiCache
from openmwaa.config.environment import Environment
from openmwaa.config.metadata_database import ExistingPostgresql
from openmwaa.local.errors import UnsupportedError


def check(environment: Environment) -> None:
    """Return if the environment can run on this machine.

    Raises:
        UnsupportedError: names every field that keeps it from that, and what to say instead.
    """
    problems = list(_problems(environment))
    if problems:
        raise UnsupportedError(
            "This environment cannot run on this machine:\n"
            + "\n".join(f"- {problem}" for problem in problems)
            + "\nKeep a file beside it for this machine, the same but for these fields; fleets and DAGs do not notice."
        )


def _problems(environment: Environment) -> Iterator[str]:
    if isinstance(environment.broker, ElastiCache):
        yield (
            "`broker.kind: ELASTICACHE`: the emulated ElastiCache has no Redis behind it, nor users to log in as. "
            "Progress `SQS` here; the worker agent and the scaler drain and count either alike."
        )
    if isinstance(environment.metadata_database, ExistingPostgresql):
        yield (
            "`metadata_database.kind: EXISTING`: its server and secret are in your account, and a trial must not "
            "change them. Progress `AURORA_SERVERLESS_V2` here: PostgreSQL on this machine takes its place."
        )
    if environment.network.vpc_id is not None:
        yield "`network.vpc_id`: that VPC is in your account. Leave `network` out here: there is no network to be in."
    if environment.source_bucket is not None:
        yield "`source_bucket`: that bucket is in your account. Leave it out here: the emulated one is yours."
