# SPDX-License-Identifier: Apache-2.0
"""The base of all models of the file."""

from typing import Final

from pydantic import BaseModel, BeforeValidator, ConfigDict


class FieldError(ValueError):
    """An error of a field inside the model whose validator raises it: the line in the file is that of the field."""

    def __init__(self, message: str, *at: int | str) -> None:
        super().__init__(message)
        self.at = at


def _whole_number(value: object) -> object:
    if type(value) is not int:
        raise FieldError(f"must be a whole number (got {value!r})")
    return value


WHOLE_NUMBER: Final = BeforeValidator(_whole_number)
"""For a Literal of numbers, which pydantic compares by value: `true` equals 1, and 3.0 equals 3."""


class StrictModel(BaseModel):
    """An immutable model that rejects unknown fields; docstrings of fields are the reference documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
