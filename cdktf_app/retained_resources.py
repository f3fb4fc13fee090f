# SPDX-License-Identifier: Apache-2.0
"""What a destroy leaves of an environment, by name: what people are told before they destroy."""

from __future__ import annotations

from cdktf_app.compute.scaler_service import controls_prefix
from cdktf_app.compute.worker_fleets import family
from cdktf_app.database.base import MetadataDatabase
from cdktf_app.security.secrets import EnvironmentSecrets, GeneratedSecret
from openmwaa.config.environment import Environment
from openmwaa.config.metadata_database import ExistingPostgresql

DESCRIPTION = (
    "What destroy leaves: task definitions of these families, orders of people in Parameter Store, "
    "the key until KMS deletes it, and of the database what the file asks for"
)


def retained_resources(
    environment: Environment, name: str, *, key_arn: str, database: MetadataDatabase, secrets: EnvironmentSecrets
) -> list[str]:
    """Return the names of everything that outlives a destroy and is not given by the user, but for a server of theirs.

    The other services' inactive revisions, and RDS's log group for the whole account, are nobody's in particular.
    """
    kept = [family(name, fleet) for fleet in environment.fleets]
    kept += [f"{controls_prefix(environment)}{fleet}" for fleet in environment.fleets]
    if environment.kms_key is None:
        kept.append(key_arn)
    if database.final_snapshot is not None:
        # And the Fernet key of the connections in it.
        kept += [database.final_snapshot, secrets.arn(GeneratedSecret.FERNET_KEY)]
    if isinstance(environment.metadata_database, ExistingPostgresql):
        kept.append(database.host)
    return kept
