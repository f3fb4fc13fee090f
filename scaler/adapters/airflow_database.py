# SPDX-License-Identifier: Apache-2.0
"""Airflow's metadata database: one aggregated query a tick and one a minute, read only, with a statement timeout.

asyncpg without SQLAlchemy (25 MiB less). The query uses the index `ti_state`, which 2.x and 3.x both have. Airflow 2.10
and later may give a task to another executor than Celery, by name in the column `executor`; null is the default
executor, which is Celery wherever this scaler runs. Older tables have no such column.

After a failover the connection dies and the next one resolves the host anew. A server in recovery is refused: it may
lag, and an old primary that came back as one would tell the past.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from scaler.adapters.deadline import calling, natural
from scaler.config.settings import DatabaseSettings
from scaler.core.model import DatabaseCount
from scaler.errors import BadAnswerError
from scaler.ports import Vitals

SOURCE = "database"
HAS_EXECUTOR = """
select exists (
    select from pg_catalog.pg_attribute
    where attrelid = to_regclass('task_instance') and attname = 'executor' and not attisdropped
)
"""
QUERY = """
select coalesce(queue, 'default'), state, count(*) from task_instance
where state in ('queued', 'running', 'restarting') and {ours} group by 1, 2
"""
# Times are compared in the server: its clock and Airflow's may differ, the scaler's need not be asked too.
VITALS = """
select
    (select count(*) from job where job_type = 'SchedulerJob' and state = 'running'
        and latest_heartbeat > now() - make_interval(secs => $2)),
    (select greatest(0, coalesce(extract(epoch from now() - min(queued_dttm)), 0))::float8 from task_instance
        where state = 'queued' and {ours})
"""
OURS, ALL = "(executor is null or executor = any($1::text[]))", "$1::text[] is not null"
MOST_S = 10 * 365 * 86400
# asyncpg raises its own errors, OSError while connecting, and InterfaceError where the connection is gone.
ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class AirflowDatabase:
    """The ports `Database` and `AirflowVitals`, on one connection that is opened anew after any failure.

    Who asks for vitals has an instance of its own: a question that metrics wait for must not hold up a decision.
    """

    def __init__(self, settings: DatabaseSettings, password: str, *, deadline_s: float = 2.0) -> None:
        self._settings = settings
        self._password = password
        self._deadline_s = deadline_s
        self._connection: asyncpg.Connection | None = None
        self._ours = ""
        self._one_at_a_time = asyncio.Lock()

    async def counts(self) -> Mapping[str, DatabaseCount]:
        """Return queued and running task instances by queue."""
        rows = await self._rows(QUERY)
        return _by_queue([(row[0], row[1], row[2]) for row in rows])

    async def vitals(self, within_s: float) -> Vitals:
        """Return the schedulers with a heartbeat in the last `within_s` seconds, and the age of the oldest task."""
        ((schedulers, oldest_s),) = await self._rows(VITALS, within_s)
        if not 0 <= oldest_s < MOST_S:
            raise BadAnswerError(SOURCE, f"the oldest queued task has waited for {oldest_s!r} s")
        return Vitals(natural(SOURCE, "schedulers", schedulers), oldest_s)

    async def _rows(self, query: str, *parameters: object) -> Sequence[Any]:
        """Return the rows of `query`, whose first parameter is the executors."""
        async with calling(SOURCE, self._deadline_s, *ERRORS), self._one_at_a_time:
            try:
                connection = await self._connected()
                return await connection.fetch(query.format(ours=self._ours), self._settings.executors, *parameters)
            except BaseException:
                # After a deadline or an error the connection may be half-way through an answer: never reuse it.
                self._forget()
                raise

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
                target_session_attrs=SessionAttribute.primary,
                timeout=self._deadline_s,
                server_settings={
                    "application_name": "openmwaa-scaler",
                    "default_transaction_read_only": "on",
                    "statement_timeout": str(int(self._deadline_s * 1000)),
                },
            )
            # With each connection: a migration may have added the column since the last one.
            has_executor = await self._connection.fetchval(HAS_EXECUTOR)
            self._ours = OURS if has_executor else ALL
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
