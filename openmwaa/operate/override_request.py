# SPDX-License-Identifier: Apache-2.0
"""What one call of `openmwaa scale` asks for, made into the order that is then in force."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from openmwaa.config.fleet import ResolvedFleet
from openmwaa.operate.errors import ControlsError
from scaler.config.overrides import ControlsDocument, Pause
from scaler.config.schedule import Schedules
from scaler.core import bounds
from scaler.core.model import Controls, Known, Schedule
from scaler.core.model import Fleet as CoreFleet

MOST_WORKERS = 5000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=366)


class OrderRefusedError(ControlsError):
    """The order makes no sense; nothing was written."""


@dataclass(frozen=True)
class Bound:
    """A number of workers, or None where an ordered one is taken back."""

    workers: int | None

    @classmethod
    def parse(cls, text: str) -> Bound:
        """Read a number or `none`.

        Raises:
            ValueError: it is neither.
        """
        if text == "none":
            return cls(None)
        if not (text.isascii() and text.isdigit() and int(text) <= MOST_WORKERS):
            raise ValueError(f"{text!r} is no number of workers from 0 to {MOST_WORKERS}, and not `none`")
        return cls(int(text))


@dataclass(frozen=True)
class Duration:
    """How long an order is in force; None is for ever."""

    time: timedelta | None

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read such as 90m, 2h, 1d12h, or `forever`.

        Raises:
            ValueError: it is none of these.
        """
        if text == "forever":
            return cls(None)
        if not re.fullmatch(r"(\d{1,6}[smhd])+", text, re.ASCII):
            raise ValueError(f"{text!r} is no duration such as 90m, 2h or 1d12h, and not `forever`")
        time = timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)([smhd])", text)))
        if not timedelta() < time <= _LONGEST:
            raise ValueError(f"{text!r} is not between a second and {_LONGEST.days} days")
        return cls(time)


@dataclass(frozen=True)
class Request:
    """What the options say; None was not given."""

    minimum: Bound | None = None
    maximum: Bound | None = None
    fixed: Bound | None = None
    pause: Pause | None = None
    dry_run: bool | None = None
    clear: bool = False
    duration: Duration | None = None
    why: str | None = None

    def __post_init__(self) -> None:
        """Refuse options that exclude each other."""
        size = self.fixed is not None and self.fixed.workers is not None
        if size and any(each is not None and each.workers is not None for each in (self.minimum, self.maximum)):
            raise OrderRefusedError("--fixed leaves no room for --min or --max: give one or the other.")
        if not self.changes and (self.duration is not None or self.why is not None):
            raise OrderRefusedError(
                "--for and --why belong to an order: give --min, --max, --fixed, --pause or --dry-run."
            )

    @property
    def changes(self) -> bool:
        """Whether anything is asked for, or all is only to be shown."""
        given = (self.minimum, self.maximum, self.fixed, self.pause, self.dry_run)
        return self.clear or any(each is not None for each in given)

    def apply(self, before: ControlsDocument, fleet: ResolvedFleet, *, by: str, now: datetime) -> ControlsDocument:
        """Return the order that results; what is not asked for stays as it was ordered before.

        Raises:
            OrderRefusedError: it makes no sense.
        """
        base = ControlsDocument() if self.clear else before
        values: dict[str, Any] = base.model_dump()
        for name, bound in (("min", self.minimum), ("max", self.maximum), ("fixed", self.fixed)):
            if bound is None:
                continue
            values[name] = bound.workers
            if bound.workers is not None:
                values |= {"min": None, "max": None} if name == "fixed" else {"fixed": None}
        values["pause"] = self.pause or base.pause
        values["dry_run"] = base.dry_run if self.dry_run is None else self.dry_run
        values |= {"by": by, "at": _text(now), "why": self.why or "", "until": self._until(base, now)}
        try:
            document = ControlsDocument.model_validate(values)
        except ValidationError as error:
            words = str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
            raise OrderRefusedError(f"Fleet {fleet.name}: {words}. Give both, or `none` for the other.") from error
        if document.min is not None and document.max is None and document.min > fleet.max:
            raise OrderRefusedError(
                f"Fleet {fleet.name}: at least {document.min} is above the file's maximum of {fleet.max}, which would "
                f"count. Give --max {document.min} too."
            )
        return document if document.orders else document.model_copy(update={"until": None})

    def _until(self, base: ControlsDocument, now: datetime) -> str | None:
        if self.duration is None:
            return base.until
        return None if self.duration.time is None else _text(now + self.duration.time)


@dataclass(frozen=True)
class InForce:
    """What holds for a fleet now."""

    minimum: int
    maximum: int
    schedule: Schedule | None


def in_force(fleet: ResolvedFleet, document: ControlsDocument | None, now: datetime) -> InForce:
    """Return the bounds as the scaler's own code works them out from file, schedule and order."""
    schedule = Schedules(fleet.schedule).at(now)
    controls = Controls() if document is None or document.expired(now) else document.to_core()
    core = CoreFleet(fleet.name, fleet.queues, fleet.slots, fleet.min, fleet.max)
    limits, _ = bounds.in_force(core, Known(controls, 0.0), schedule, None, 0.0)
    return InForce(limits.minimum, limits.maximum, schedule)


def notes(fleet: ResolvedFleet, document: ControlsDocument) -> list[str]:
    """Return what somebody who orders this should know."""
    found = []
    most = document.max if document.fixed is None else document.fixed
    if most is not None and most > fleet.max:
        found.append(
            f"Above the file's maximum of {fleet.max}: Airflow's parallelism is made for the slots of that many "
            "workers, so the others may find nothing to do."
        )
    if most is not None and most < fleet.max:
        found.append("Workers with tasks stay until these end, also above this number.")
    if document.max is not None and document.min is None and document.max < fleet.min:
        found.append(f"The file's minimum of {fleet.min} gives way to it.")
    if document.dry_run:
        found.append("Dry run: the scaler decides and writes nothing, not even what protection demands.")
    if document.pause in ("out", "both"):
        found.append("No worker is started, whatever waits, until the pause ends.")
    return found


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
