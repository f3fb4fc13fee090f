# SPDX-License-Identifier: Apache-2.0
"""Refuses fields that are not supported on this machine, before anything is started."""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from openmwaa.commands import command
from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS, applied_major
from openmwaa.config.broker import ElastiCache
from openmwaa.config.environment import Environment
from openmwaa.config.metadata_database import ExistingPostgresql
from openmwaa.local.errors import UnsupportedError


def check(environment: Environment) -> None:
    """Check that the environment can run on this machine.

    Raises:
        UnsupportedError: names every unsupported field, and the alternative.
    """
    problems = list(_problems(environment))
    if problems:
        raise UnsupportedError(
            "This environment cannot run on this machine:\n"
            + "\n".join(f"- {problem}" for problem in problems)
            + "\nUse a second file for this machine that differs in these fields only; fleets and DAGs stay the same."
        )


def check_applied(environment: Environment, terraform_state: Path, file: Path) -> None:
    """Check that the data of the last `up` is of the same major version of Airflow.

    Raises:
        UnsupportedError: it is not, with the remedy.
    """
    names: list[str] = []
    with suppress(OSError, ValueError, KeyError):  # nothing is applied yet
        names = [item["name"] for item in json.loads(terraform_state.read_text())["resources"]]
    applied = applied_major(names)
    if applied not in (None, environment.airflow.number):
        raise UnsupportedError(
            f"`airflow_version: {environment.airflow_version}`: the data of this environment is of Airflow {applied}, "
            "and its tasks and database cannot change to another major version. Restore the version, give the file "
            f"another `name`, or delete the data with `{command('local', 'down', '--delete-data', file=file)}`."
        )


def _problems(environment: Environment) -> Iterator[str]:
    pythons, python = AIRFLOW_VERSIONS[environment.airflow_version].pythons, "{}.{}".format(*sys.version_info)
    if python not in pythons:
        yield (
            f"`airflow_version: {environment.airflow_version}`: it runs with Python {', '.join(pythons)}, and this is "
            f"Python {python}. Install openmwaa with one of them."
        )
    if isinstance(environment.broker, ElastiCache):
        yield (
            "`broker.kind: ELASTICACHE`: the emulated ElastiCache has no Redis server and no users. Use `SQS` here; "
            "the worker agent and the scaler work in the same way with both."
        )
    if isinstance(environment.metadata_database, ExistingPostgresql):
        yield (
            "`metadata_database.kind: EXISTING`: its server and secret are in your account, and a trial must not "
            "change them. Use `AURORA_SERVERLESS_V2` here; PostgreSQL on this machine replaces it."
        )
    if environment.network.vpc_id is not None:
        yield "`network.vpc_id`: that VPC is in your account. Leave out `network` here; this machine has no VPC."
    if environment.source_bucket is not None:
        yield "`source_bucket`: that bucket is in your account. Leave it out here; the emulator has a bucket."
