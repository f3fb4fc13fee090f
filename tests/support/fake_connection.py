# SPDX-License-Identifier: Apache-2.0
"""A connection of `openmwaa.operate` with a fake client."""

from dataclasses import dataclass
from typing import Any

from openmwaa.operate.connection import Connection


@dataclass(frozen=True)
class FakeConnection(Connection):
    """Returns `fake` as the client of each of `services`."""

    fake: Any = None
    services: tuple[str, ...] = ()

    def client(self, service: str) -> Any:
        """Return the fake client."""
        assert service in self.services
        return self.fake
