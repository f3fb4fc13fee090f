# SPDX-License-Identifier: Apache-2.0
"""Overrides in memory, which the scaler may write."""

from collections.abc import Sequence

from scaler.config.overrides import parse
from scaler.core.model import Overrides
from scaler.errors import SourceError


class StoredOverrides:
    """The port `WritableOverrides`; with `error` nothing is read or written."""

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self.writes = 0
        self.error: SourceError | None = None

    async def read(self, fleets: Sequence[str]) -> dict[str, Overrides | SourceError]:
        stored = {fleet: parse(self.documents.get(fleet, '{"version": 1}')).to_core() for fleet in fleets}
        return {fleet: self.error or overrides for fleet, overrides in stored.items()}

    async def write(self, fleet: str, document: str) -> int:
        if self.error:
            raise self.error
        self.documents[fleet] = document
        self.writes += 1
        return self.writes
