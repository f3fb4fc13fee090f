# SPDX-License-Identifier: Apache-2.0
"""The manual overrides of one fleet: the JSON document in SSM, written by `openmwaa scale` and read by the scaler.

Both sides use one strict model. An error in any field makes the whole document invalid: a part of an override is never
applied.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from scaler.core.model import Overrides

D = TypeVar("D", bound=BaseModel)

VERSION: Literal[1] = 1
SIZE_LIMIT = 4096
"""SSM's limit for the value of a standard parameter."""

Count = Annotated[int, Field(ge=0, le=5000)]
"""ECS runs at most 5 000 tasks a service."""
LONGEST = 512
Words = Annotated[str, Field(max_length=LONGEST)]
Pause = Literal["none", "in", "out", "both"]


class OverrideDocumentError(ValueError):
    """The text is not a valid override document; the message names the field."""


class OverrideDocument(BaseModel):
    """One fleet's overrides."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = VERSION
    min: Count | None = None
    max: Count | None = None
    fixed: Count | None = None
    pause: Pause = "none"
    dry_run: bool = False
    by: Words = ""
    at: Words = ""
    reason: Words = ""
    until: str | None = None

    @field_validator("until")
    @classmethod
    def _until_is_a_time(cls, until: str | None) -> str | None:
        if until is not None:
            parse_time(until)
        return until

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.fixed is not None and (self.min is not None or self.max is not None):
            raise ValueError("fixed cannot be combined with min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) must not be above max ({self.max})")
        return self

    @property
    def active(self) -> bool:
        """Whether the document overrides anything."""
        return (self.min, self.max, self.fixed, self.pause, self.dry_run) != (None, None, None, "none", False)

    def expired(self, now: datetime) -> bool:
        """Whether `until` has passed."""
        return self.until is not None and parse_time(self.until) <= now

    def to_text(self) -> str:
        """Return the document as stored in SSM, without the fields that have their defaults."""
        return json.dumps({"version": self.version, **self.model_dump(exclude_defaults=True)}, ensure_ascii=False)

    @classmethod
    def of_core(cls, overrides: Overrides) -> Self:
        """Return the document of overrides as the core uses them."""
        values = {"minimum": "min", "maximum": "max"}
        return cls.model_validate({values.get(name, name): value for name, value in asdict(overrides).items()})

    def to_core(self) -> Overrides:
        """Return the overrides as the core uses them."""
        return Overrides(
            minimum=self.min,
            maximum=self.max,
            fixed=self.fixed,
            pause=self.pause,
            dry_run=self.dry_run,
            by=self.by,
            at=self.at,
            reason=self.reason,
            until=self.until,
        )


def parse(text: str) -> OverrideDocument:
    """Return the override in `text`; raise OverrideDocumentError if it is not valid."""
    return parse_as(OverrideDocument, text)


def parse_as(model: type[D], text: str) -> D:
    """Return the document in `text`; raise OverrideDocumentError if it is not valid."""
    if len(text) > SIZE_LIMIT:
        raise OverrideDocumentError(f"has {len(text)} characters; the limit is {SIZE_LIMIT}")
    try:
        found = json.loads(text, object_pairs_hook=_unique_fields)
    except OverrideDocumentError:
        raise
    except (ValueError, RecursionError) as error:
        raise OverrideDocumentError(f"is not JSON: {error}") from error
    if not isinstance(found, dict) or "version" not in found:
        raise OverrideDocumentError("is not a JSON object with a version")
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise OverrideDocumentError(
            "; ".join(_problem(details) for details in error.errors(include_url=False))
        ) from error


def in_force(overrides: Overrides, now: datetime) -> Overrides:
    """Return the overrides, or none after their `until`; remembered overrides expire in the same way."""
    return overrides if overrides.until is None or now < parse_time(overrides.until) else Overrides()


def parse_time(text: str) -> datetime:
    """Return a time with its offset from UTC; raise ValueError if it is not a time or has no offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError(f"{text!r} is not a time with an offset, such as 2027-03-01T18:00:00+00:00")
    return found


def _unique_fields(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise OverrideDocumentError("has a field twice")
    return found


def _problem(details: Any) -> str:
    place = ".".join(str(part) for part in details["loc"])
    message = str(details["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
