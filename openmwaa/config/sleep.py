# SPDX-License-Identifier: Apache-2.0
"""Sleep: no worker, no control plane and no database, by command or by the clock."""

from typing import Self

from pydantic import model_validator

from openmwaa.config.metadata_database import AuroraServerless, MetadataDatabase
from openmwaa.config.strict_model import FieldError, StrictModel
from openmwaa.config.time_rules import CronExpression, TimeZone


class Sleep(StrictModel):
    """When an environment sleeps; `openmwaa sleep` and `openmwaa wake` are effective until the next of these times."""

    sleep_at: CronExpression | None = None
    """Cron expression of the times to fall asleep, such as `0 20 * * 1-5`; left out, only by command."""
    wake_at: CronExpression | None = None
    """Cron expression of the times to wake, such as `0 7 * * 1-5`; left out, only by command."""
    timezone: TimeZone = "UTC"
    """A name of the IANA time zone database, such as Europe/Zurich."""
    wake_on_message: bool = False
    """Whether a message that another program sends to a queue also wakes the environment."""

    @model_validator(mode="after")
    def _times_differ(self) -> Self:
        if self.sleep_at is not None and self.sleep_at == self.wake_at:
            raise FieldError("`sleep_at` and `wake_at` are the same times; one of them must differ", "sleep_at")
        return self

    def check(self, database: MetadataDatabase) -> None:
        """Raise FieldError if the database cannot pause."""
        if isinstance(database, AuroraServerless) and database.min_capacity:
            raise FieldError(
                f"Aurora pauses only with a minimum of 0; with `sleep`, write `min_capacity: 0` instead of "
                f"{database.min_capacity:g}, or use RDS_POSTGRESQL",
                *("metadata_database", "min_capacity"),
            )
