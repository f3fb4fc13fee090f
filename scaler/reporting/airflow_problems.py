# SPDX-License-Identifier: Apache-2.0
"""DAG files that do not import and tasks that wait for long, as log lines: `openmwaa status` reads the last one.

The web server of an environment is private, so the command line cannot read them from Airflow.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

from scaler.ports import AirflowProblemsSource, ClockPort
from scaler.reporting.tick_codec import Json

EVENT: Final = "airflow"
PERIOD_S: Final = 10.0
WRITE_EVERY_S: Final = 60.0
WAITING_S: Final = 300.0
"""A task that is queued for longer is reported; a worker starts within two minutes."""
LISTED: Final = 20


@dataclass(eq=False)
class AirflowReport:
    """Writes a line at each change, and one a minute; a line without numbers means that they are unknown."""

    source: AirflowProblemsSource
    clock: ClockPort
    event: Callable[..., None]
    _written: tuple[float, object] = field(default=(float("-inf"), None), init=False)

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self.report()
            await asyncio.sleep(PERIOD_S)

    async def report(self) -> None:
        """Read, and write a line if it is due."""
        try:
            found = await self.source.problems(WAITING_S, LISTED)
        except Exception as error:  # noqa: BLE001  a report must never stop the scaler
            self._write(str(error), error=str(error))
        else:
            self._write((found.import_errors, found.files, found.waiting), **asdict(found))

    def _write(self, key: object, **values: Json) -> None:
        at, before = self._written
        now = self.clock.monotonic()
        if key != before or now - at >= WRITE_EVERY_S:
            self._written = (now, key)
            self.event(EVENT, **values)
