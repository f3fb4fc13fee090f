# SPDX-License-Identifier: Apache-2.0
"""What people ordered, live: one SSM parameter a fleet, ten a call.

SSM keeps the last hundred versions of a parameter with the ARN of who wrote each, costs nothing, and is no part of what
Terraform applies. A parameter that is not there is an order not given; one that cannot be read is unknown, for its
fleet alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from scaler.adapters.aws import aws_call
from scaler.config.overrides import OverrideDocumentError, parse
from scaler.core.model import Controls
from scaler.errors import BadAnswerError, DeadlineError, SourceError

SOURCE = "controls"
BATCH = 10
"""GetParameters takes so many names a call."""
AT_ONCE = 4
"""Calls in flight: 1 000 fleets are 100 calls, and an account has 40 a second for everything in it."""


class SsmControls:
    """The port `ControlsSource`."""

    def __init__(self, client: Any, prefix: str, *, deadline_s: float = 2.0) -> None:
        self._client = client
        self._prefix = prefix
        self._deadline_s = deadline_s

    async def read(self, fleets: Sequence[str]) -> Mapping[str, Controls | SourceError]:
        """Return each fleet's controls, or why they cannot be known; what failed for some fails for them alone."""
        found: dict[str, Controls | SourceError] = {}
        turn = asyncio.Semaphore(AT_ONCE)
        clock = asyncio.get_running_loop().time
        end = clock() + self._deadline_s  # of all calls together: no fleet waits longer for having many neighbours

        async def read(batch: Sequence[str]) -> None:
            async with turn:
                found.update(await self._read(batch, end - clock()))

        async with asyncio.TaskGroup() as group:
            for start in range(0, len(fleets), BATCH):
                group.create_task(read(fleets[start : start + BATCH]))
        return found

    async def _read(self, fleets: Sequence[str], seconds: float) -> Mapping[str, Controls | SourceError]:
        names = [f"{self._prefix}{fleet}" for fleet in fleets]
        if seconds <= 0:
            return dict.fromkeys(fleets, DeadlineError(SOURCE, f"no turn within {self._deadline_s:g} s"))
        try:
            async with aws_call(SOURCE, seconds):
                answer = await self._client.get_parameters(Names=names, WithDecryption=False)
                values = {each["Name"]: (each["Type"], each["Value"]) for each in answer["Parameters"]}
                absent = set(answer.get("InvalidParameters", []))
        except SourceError as error:
            return dict.fromkeys(fleets, error)
        return {
            fleet: _controls(name, values.get(name), absent=name in absent)
            for fleet, name in zip(fleets, names, strict=True)
        }


def _controls(name: str, found: tuple[str, str] | None, *, absent: bool) -> Controls | SourceError:
    if found is None:
        # AWS names every parameter it does not have; one that it passes over in silence is half an answer.
        return Controls() if absent else BadAnswerError(SOURCE, f"{name} was not answered")
    kind, value = found
    if kind != "String":
        return BadAnswerError(SOURCE, f"{name} is a {kind}, not a String")
    try:
        return parse(value).to_core()
    except OverrideDocumentError as error:
        return BadAnswerError(SOURCE, f"{name}: {error}")
