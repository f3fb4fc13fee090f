# SPDX-License-Identifier: Apache-2.0
"""An existing PostgreSQL server: `prepare-database` creates databases and roles on it."""

from constructs import Construct

from cdktf_app.base.local_values import overridable_local
from cdktf_app.database.base import MetadataDatabase
from openmwaa.config.metadata_database import ExistingPostgresql


class ExistingDatabase(MetadataDatabase):
    """The configured server; no resource is created."""

    def __init__(self, scope: Construct, construct_id: str, database: ExistingPostgresql, *, key_arn: str) -> None:
        super().__init__(scope, construct_id)
        self.host = overridable_local(self, "host", database.host)
        self.port = database.port
        self.sslmode = overridable_local(self, "sslmode", database.sslmode)
        self.master_secret_arn = database.master_secret_arn
        self.master_key_arn = database.master_secret_kms_key or key_arn
