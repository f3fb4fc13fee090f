# SPDX-License-Identifier: Apache-2.0
"""The manual overrides: one SSM parameter a fleet, ten a call.

SSM keeps the last hundred versions of a parameter with the ARN of the author, costs nothing, and is not managed by
Terraform. An absent parameter is a fleet without overrides. A parameter that cannot be read makes the overrides of its
fleet unknown, and of no other fleet.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from scaler.adapters.aws import aws_call
from scaler.config.overrides import OverrideDocumentError, parse
from scaler.core.model import Overrides
from scaler.errors import BadAnswerError, DeadlineError, SourceError

SOURCE = "overrides"
BATCH = 10
"""The limit of names in one GetParameters call."""
CONCURRENCY = 4
"""Calls at the same time: 1 000 fleets need 100 calls, and the quota is 40 a second for the whole account."""


class SsmOverrides:
    """The port `WritableOverrides`."""

    def __init__(self, client: Any, prefix: str, *, deadline_s: float = 2.0) -> None:
        self._client = client
        self._prefix = prefix
        self._deadline_s = deadline_s

    async def read(self, fleets: Sequence[str]) -> Mapping[str, Overrides | SourceError]:
        """Return each fleet's overrides or its error; a failure of some fleets does not affect the others."""
        found: dict[str, Overrides | SourceError] = {}
        slots = asyncio.Semaphore(CONCURRENCY)
        clock = asyncio.get_running_loop().time
        end = clock() + self._deadline_s  # one deadline for all calls: the wait does not grow with the number of fleets

        async def read(batch: Sequence[str]) -> None:
            async with slots:
                found.update(await self._read(batch, end - clock()))

        async with asyncio.TaskGroup() as group:
            for start in range(0, len(fleets), BATCH):
                group.create_task(read(fleets[start : start + BATCH]))
        return found

    async def write(self, fleet: str, document: str) -> int:
        """Replace the override of one fleet; return the number of this version."""
        async with aws_call(SOURCE, self._deadline_s):
            answer = await self._client.put_parameter(
                Name=f"{self._prefix}{fleet}", Value=document, Type="String", Overwrite=True
            )
            return int(answer["Version"])

    async def _read(self, fleets: Sequence[str], seconds: float) -> Mapping[str, Overrides | SourceError]:
        names = [f"{self._prefix}{fleet}" for fleet in fleets]
        if seconds <= 0:
            return dict.fromkeys(fleets, DeadlineError(SOURCE, f"the calls before it took {self._deadline_s:g} s"))
        try:
            async with aws_call(SOURCE, seconds):
                answer = await self._client.get_parameters(Names=names, WithDecryption=False)
                values = {
                    parameter["Name"]: (parameter["Type"], parameter["Value"]) for parameter in answer["Parameters"]
                }
                absent = set(answer.get("InvalidParameters", []))
        except SourceError as error:
            return dict.fromkeys(fleets, error)
        return {
            fleet: _overrides(name, values.get(name), absent=name in absent)
            for fleet, name in zip(fleets, names, strict=True)
        }


def _overrides(name: str, found: tuple[str, str] | None, *, absent: bool) -> Overrides | SourceError:
    if found is None:
        # AWS lists every absent parameter as invalid; a parameter in neither list is an incomplete answer.
        return Overrides() if absent else BadAnswerError(SOURCE, f"{name} is missing in the answer")
    kind, value = found
    if kind != "String":
        return BadAnswerError(SOURCE, f"{name} is a {kind}, not a String")
    try:
        return parse(value).to_core()
    except OverrideDocumentError as error:
        return BadAnswerError(SOURCE, f"{name}: {error}")
