# SPDX-License-Identifier: Apache-2.0
"""What a person ordered for one fleet, as the JSON document in SSM: written by `openmwaa scale`, read by the scaler.

One strict model for both sides. A document that is wrong in any place is wrong as a whole: half an order is none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from scaler.core.model import Controls

VERSION: Literal[1] = 1
SIZE_LIMIT = 4096
"""SSM's own limit of a standard parameter's value."""

Count = Annotated[int, Field(ge=0, le=5000)]
"""ECS runs at most 5 000 tasks a service."""
Words = Annotated[str, Field(max_length=512)]
Pause = Literal["none", "in", "out", "both"]


class OverrideDocumentError(ValueError):
    """The text is no controls document; the message says where."""


class OverrideDocument(BaseModel):
    """One fleet's controls."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = VERSION
    min: Count | None = None
    max: Count | None = None
    fixed: Count | None = None
    pause: Pause = "none"
    dry_run: bool = False
    by: Words = ""
    at: Words = ""
    why: Words = ""
    until: str | None = None

    @field_validator("until")
    @classmethod
    def _until_is_a_time(cls, until: str | None) -> str | None:
        if until is not None:
            moment(until)
        return until

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.fixed is not None and (self.min is not None or self.max is not None):
            raise ValueError("fixed leaves no room for min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) must not be above max ({self.max})")
        return self

    @property
    def active(self) -> bool:
        """Whether anything is ordered at all."""
        return (self.min, self.max, self.fixed, self.pause, self.dry_run) != (None, None, None, "none", False)

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.until is not None and moment(self.until) <= now

    def to_text(self) -> str:
        """Return the document as it is kept; what is not ordered is left out."""
        return json.dumps({"version": self.version, **self.model_dump(exclude_defaults=True)}, ensure_ascii=False)

    def to_core(self) -> Controls:
        """Return it as the core knows it."""
        return Controls(
            minimum=self.min,
            maximum=self.max,
            fixed=self.fixed,
            pause=self.pause,
            dry_run=self.dry_run,
            by=self.by,
            at=self.at,
            why=self.why,
            until=self.until,
        )


def parse(text: str) -> OverrideDocument:
    """Return the document in `text`.

    Raises:
        OverrideDocumentError: it is none.
    """
    if len(text) > SIZE_LIMIT:
        raise OverrideDocumentError(f"has {len(text)} characters; a document has at most {SIZE_LIMIT}")
    try:
        found = json.loads(text, object_pairs_hook=_without_twins)
    except OverrideDocumentError:
        raise
    except (ValueError, RecursionError) as error:
        raise OverrideDocumentError(f"is not JSON: {error}") from error
    if not isinstance(found, dict) or "version" not in found:
        raise OverrideDocumentError("is no JSON object with a version")
    try:
        return OverrideDocument.model_validate(found)
    except ValidationError as error:
        raise OverrideDocumentError("; ".join(_problem(each) for each in error.errors(include_url=False))) from error


def in_force(controls: Controls, now: datetime) -> Controls:
    """Return the controls, or none where their time is over; remembered ones expire just so."""
    return controls if controls.until is None or now < moment(controls.until) else Controls()


def moment(text: str) -> datetime:
    """Return a time with its offset from UTC.

    Raises:
        ValueError: it is none, or has no offset.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError(f"{text!r} is no time with an offset, such as 2027-03-01T18:00:00+00:00")
    return found


def _without_twins(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise OverrideDocumentError("gives a field twice")
    return found


def _problem(details: Any) -> str:
    place = ".".join(str(part) for part in details["loc"])
    message = str(details["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
