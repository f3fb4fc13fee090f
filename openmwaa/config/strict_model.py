# SPDX-License-Identifier: Apache-2.0
"""What every part of the file is: unknown fields are refused, values are checked, nothing changes afterwards."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A part of the file: unknown fields are refused, and the docstrings are the reference."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)
