# SPDX-License-Identifier: Apache-2.0
"""Rotation of generated secrets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from openmwaa.config.strict_model import StrictModel


class Rotation(StrictModel):
    """Versions of secrets; increase one by 1 for new values."""

    database_passwords: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Increase by 1 for new database passwords; running workers use the old ones until the next rotation."""
