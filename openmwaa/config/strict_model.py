# SPDX-License-Identifier: Apache-2.0
"""The base of all models of the file."""

from pydantic import BaseModel, ConfigDict


class FieldError(ValueError):
    """An error of a field inside the model whose validator raises it: the line in the file is that of the field."""

    def __init__(self, message: str, *at: int | str) -> None:
        super().__init__(message)
        self.at = at


class StrictModel(BaseModel):
    """An immutable model that rejects unknown fields; docstrings of fields are the reference documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)
