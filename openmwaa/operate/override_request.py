# SPDX-License-Identifier: Apache-2.0
"""The options of one `openmwaa scale` call, and the override that results from them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from openmwaa.config.fleet import ResolvedFleet
from openmwaa.operate.errors import OverrideError
from openmwaa.operate.times import duration, rfc3339
from scaler.config.overrides import OverrideDocument, Pause
from scaler.config.schedule import Schedules
from scaler.core.bounds import Limits, in_force
from scaler.core.model import FleetPolicy, Known, Overrides, Schedule

MOST_WORKERS = 5000
_LONGEST = timedelta(days=366)


class OverrideRefusedError(OverrideError):
    """The override is not valid; nothing was written."""


@dataclass(frozen=True)
class Bound:
    """A number of workers; None removes an override."""

    workers: int | None

    @classmethod
    def parse(cls, text: str) -> Bound:
        """Read a number or `none`.

        Raises:
            ValueError: the text is neither.
        """
        if text == "none":
            return cls(None)
        if not (text.isascii() and text.isdigit() and int(text) <= MOST_WORKERS):
            raise ValueError(f"{text!r} is neither a number of workers from 0 to {MOST_WORKERS} nor `none`")
        return cls(int(text))


@dataclass(frozen=True)
class Duration:
    """How long an override is active; None means without end."""

    time: timedelta | None

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read a duration such as 90m, 2h, 1d12h, or `forever`.

        Raises:
            ValueError: the text is none of these.
        """
        if text == "forever":
            return cls(None)
        if not re.fullmatch(r"(\d{1,6}[smhd])+", text, re.ASCII):
            raise ValueError(f"{text!r} is neither a duration such as 90m, 2h or 1d12h nor `forever`")
        time = duration(text)
        if not timedelta() < time <= _LONGEST:
            raise ValueError(f"{text!r} is not between a second and {_LONGEST.days} days")
        return cls(time)


@dataclass(frozen=True)
class OverrideRequest:
    """The options of the call; None means the option was not given."""

    minimum: Bound | None = None
    maximum: Bound | None = None
    fixed: Bound | None = None
    pause: Pause | None = None
    dry_run: bool | None = None
    clear: bool = False
    duration: Duration | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        """Refuse options that exclude each other."""
        is_fixed = self.fixed is not None and self.fixed.workers is not None
        if is_fixed and any(bound is not None and bound.workers is not None for bound in (self.minimum, self.maximum)):
            raise OverrideRefusedError("--fixed cannot be combined with --min or --max.")
        if not self.changes and (self.duration is not None or self.reason is not None):
            raise OverrideRefusedError(
                "--duration and --reason need an override: add --min, --max, --fixed, --pause or --dry-run."
            )

    @property
    def changes(self) -> bool:
        """Whether the call changes an override; otherwise it only shows them."""
        options = (self.minimum, self.maximum, self.fixed, self.pause, self.dry_run)
        return self.clear or any(option is not None for option in options)

    def apply(self, before: OverrideDocument, fleet: ResolvedFleet, *, by: str, now: datetime) -> OverrideDocument:
        """Return the resulting override; options that were not given keep their value from `before`.

        Raises:
            OverrideRefusedError: the result is not valid.
        """
        base = OverrideDocument() if self.clear else before
        values: dict[str, Any] = base.model_dump()
        for name, bound in (("min", self.minimum), ("max", self.maximum), ("fixed", self.fixed)):
            if bound is None:
                continue
            values[name] = bound.workers
            if bound.workers is not None:
                values |= {"min": None, "max": None} if name == "fixed" else {"fixed": None}
        values["pause"] = self.pause or base.pause
        values["dry_run"] = base.dry_run if self.dry_run is None else self.dry_run
        values |= {"by": by, "at": rfc3339(now), "reason": self.reason or "", "until": self._until(base, now)}
        try:
            document = OverrideDocument.model_validate(values)
        except ValidationError as error:
            message = str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
            raise OverrideRefusedError(f"Fleet {fleet.name}: {message}. Set both, or one to `none`.") from error
        if document.min is not None and document.max is None and document.min > fleet.max:
            raise OverrideRefusedError(
                f"Fleet {fleet.name}: a minimum of {document.min} is above the file's maximum of {fleet.max}, which "
                f"limits it. Add --max {document.min}."
            )
        return document if document.active else document.model_copy(update={"until": None})

    def _until(self, base: OverrideDocument, now: datetime) -> str | None:
        if self.duration is None:
            return base.until
        return None if self.duration.time is None else rfc3339(now + self.duration.time)


def active_bounds(
    fleet: ResolvedFleet, document: OverrideDocument | None, now: datetime
) -> tuple[Limits, Schedule | None]:
    """Return the bounds by the scaler's own code from file, schedule and override; and the schedule that applies."""
    schedule = Schedules(fleet.schedule).at(now)
    overrides = Overrides() if document is None or document.expired(now) else document.to_core()
    core = FleetPolicy(fleet.name, fleet.queues, fleet.slots, fleet.min, fleet.max)
    limits, _ = in_force(core, Known(overrides, 0.0), schedule, None, 0.0)
    return limits, schedule


def notes(fleet: ResolvedFleet, document: OverrideDocument) -> list[str]:
    """Return the consequences of an override that its author should know."""
    found = []
    maximum = document.max if document.fixed is None else document.fixed
    if maximum is not None and maximum > fleet.max:
        found.append(
            f"Above the file's maximum of {fleet.max}: Airflow's parallelism is set for the slots of {fleet.max} "
            "workers, so further workers may stay idle."
        )
    if maximum is not None and maximum < fleet.max:
        found.append("Workers with running tasks stay until the tasks end, also above this number.")
    if document.max is not None and document.min is None and document.max < fleet.min:
        found.append(f"The file's minimum of {fleet.min} does not apply below this maximum.")
    if document.dry_run:
        found.append("Dry run: the scaler decides and writes nothing, not even to protect workers.")
    if document.pause in ("out", "both"):
        found.append("No worker is started until the pause ends, however long the queue.")
    return found
