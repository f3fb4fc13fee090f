# SPDX-License-Identifier: Apache-2.0
"""Which secrets get new values; nothing else changes a secret that was made."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from openmwaa.config.strict_model import StrictModel


class Rotation(StrictModel):
    """Numbers to raise by one, each for new values of some secrets."""

    database_passwords: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Raised by one, the database's roles get new passwords; running workers go on with the old ones until the next."""
