# SPDX-License-Identifier: Apache-2.0
"""Creates the metadata database of the environment."""

from constructs import Construct

from cdktf_app.database.base import DatabaseProps, MetadataDatabase
from openmwaa.config.metadata_database import AuroraServerless, RdsPostgresql


def metadata_database(scope: Construct, construct_id: str, props: DatabaseProps) -> MetadataDatabase:
    """Return the metadata database as `environment.metadata_database` configures it."""
    # Imported here, because each one loads provider bindings that the others do not need.
    database = props.context.environment.metadata_database
    if isinstance(database, AuroraServerless):
        from cdktf_app.database.aurora import Aurora  # noqa: PLC0415

        return Aurora(scope, construct_id, props, database)
    if isinstance(database, RdsPostgresql):
        from cdktf_app.database.rds import Rds  # noqa: PLC0415

        return Rds(scope, construct_id, props, database)
    from cdktf_app.database.existing import ExistingDatabase  # noqa: PLC0415

    return ExistingDatabase(scope, construct_id, database, key_arn=props.context.key_arn)
