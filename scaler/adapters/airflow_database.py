# SPDX-License-Identifier: Apache-2.0
"""Airflow's metadata database: one aggregated query, read only, with a statement timeout.

asyncpg without SQLAlchemy (25 MiB less). The query uses the index `ti_state`, which 2.x and 3.x both have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import asyncpg

from scaler.adapters.deadline import calling, natural
from scaler.config import DatabaseSettings
from scaler.core.model import DatabaseCount

SOURCE = "database"
QUERY = """
select coalesce(queue, 'default'), state, count(*) from task_instance
where state in ('queued', 'running', 'restarting') group by 1, 2
"""
# asyncpg raises its own errors, OSError while connecting, and InterfaceError where the connection is gone.
ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


class AirflowDatabase:
    """The port `Database`, on one connection that is opened anew after any failure."""

    def __init__(self, settings: DatabaseSettings, password: str, *, deadline_s: float = 2.0) -> None:
        self._settings = settings
        self._password = password
        self._deadline_s = deadline_s
        self._connection: asyncpg.Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def counts(self) -> Mapping[str, DatabaseCount]:
        """Return queued and running task instances by queue."""
        async with calling(SOURCE, self._deadline_s, *ERRORS), self._one_at_a_time:
            try:
                connection = await self._connected()
                rows = await connection.fetch(QUERY)
            except BaseException:
                # After a deadline or an error the connection may be half-way through an answer: never reuse it.
                self._forget()
                raise
        return _by_queue([(row[0], row[1], row[2]) for row in rows])

    async def close(self) -> None:
        """Close the connection, without waiting for a server that does not answer."""
        self._forget()

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            where = self._settings
            self._connection = await asyncpg.connect(
                host=where.host,
                port=where.port,
                user=where.user,
                password=self._password,
                database=where.name,
                ssl=where.sslmode,
                timeout=self._deadline_s,
                server_settings={
                    "application_name": "openmwaa-scaler",
                    "default_transaction_read_only": "on",
                    "statement_timeout": str(int(self._deadline_s * 1000)),
                },
            )
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _by_queue(rows: list[tuple[str, str, int]]) -> Mapping[str, DatabaseCount]:
    found: dict[str, DatabaseCount] = {}
    for queue, state, number in rows:
        so_far = found.get(queue, DatabaseCount(0, 0))
        many = natural(SOURCE, f"count of {state} in {queue}", number)
        queued = many if state == "queued" else 0
        # A restarting task still holds its slot.
        found[queue] = DatabaseCount(so_far.queued + queued, so_far.running + many - queued)
    return found
