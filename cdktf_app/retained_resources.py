# SPDX-License-Identifier: Apache-2.0
"""Resources that `terraform destroy` does not delete, by name."""

from cdktf_app.base.stack_context import StackContext
from cdktf_app.compute.scaler_service import overrides_prefix, sleep_parameters
from cdktf_app.compute.worker_fleets import family
from cdktf_app.database.base import MetadataDatabase
from cdktf_app.security.secrets import EnvironmentSecrets, GeneratedSecret
from openmwaa.config.metadata_database import ExistingPostgresql

DESCRIPTION = (
    "Resources that destroy does not delete: task definition families, scaling overrides in Parameter Store, "
    "the key until KMS deletes it, and the final snapshot of the database"
)


def retained_resources(context: StackContext, database: MetadataDatabase, secrets: EnvironmentSecrets) -> list[str]:
    """Return the names of the resources that remain after a destroy, and the host of an existing database server.

    Not listed: inactive task definitions of the other services, and RDS's log group, which the whole account shares.
    """
    environment = context.environment
    kept = [family(context.name, fleet) for fleet in environment.fleets]
    kept += [f"{overrides_prefix(environment)}{fleet}" for fleet in environment.fleets]
    if environment.sleep:
        kept += sleep_parameters(environment).values()
    if environment.kms_key is None:
        kept.append(context.key_arn)
    if database.final_snapshot is not None:
        # The Fernet key decrypts the connections in the snapshot.
        kept += [database.final_snapshot, secrets.arn(GeneratedSecret.FERNET_KEY)]
    if isinstance(environment.metadata_database, ExistingPostgresql):
        kept.append(database.host)
    return kept
