# SPDX-License-Identifier: Apache-2.0
"""Airflow's metadata database: one aggregated query a tick and one a minute, read only, with a statement timeout.

It uses asyncpg without SQLAlchemy (25 MiB less). The query uses the index `ti_state`, which 2.x and 3.x both have.
Airflow 2.10 and later may run a task on another executor than Celery, named in the column `executor`; null is the
default executor, which is Celery for the environments of this scaler. Older tables do not have the column.

After a failover the connection fails, and the next connection resolves the host again. A server in recovery is refused:
it may lag, and a former primary would return old data.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from scaler.adapters.deadline import calling, natural
from scaler.config.settings import DatabaseSettings
from scaler.core.model import DatabaseCount
from scaler.errors import BadAnswerError, SourceError
from scaler.ports import AirflowHealth, AirflowProblems, ImportProblem, WaitingTask

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
# The server compares the times: its clock and Airflow's may differ, and the scaler's clock would be a third.
HEALTH = """
select
    (select count(*) from job where job_type = 'SchedulerJob' and state = 'running'
        and latest_heartbeat > now() - make_interval(secs => $2)),
    (select greatest(0, coalesce(extract(epoch from now() - min(queued_dttm)), 0))::float8 from task_instance
        where state = 'queued' and {ours})
"""
# On any executor: the first parameter is not used.
RUNNING_ON = """
select count(*) from task_instance
where state in ('running', 'restarting') and hostname = $2 and $1::text[] is not null
"""
WAITING = """
select dag_id, run_id, task_id, map_index, coalesce(queue, 'default'),
    extract(epoch from now() - queued_dttm)::float8, count(*) over ()
from task_instance where state = 'queued' and queued_dttm < now() - make_interval(secs => $2) and {ours}
order by queued_dttm limit $3
"""
IMPORT_ERRORS = """
select filename, right(stacktrace, 2000), count(*) over () from import_error
where $1::text[] is not null order by timestamp desc limit $2
"""
OURS, ALL = "(executor is null or executor = any($1::text[]))", "$1::text[] is not null"
AGE_LIMIT_S = 10 * 365 * 86400
# asyncpg raises its own errors, OSError while it connects, and InterfaceError on a closed connection.
ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class AirflowDatabase:
    """The ports `DatabasePort` and `AirflowHealthSource`, on one connection that is reopened after any failure.

    The health query and the plan use instances of their own: a slow one of them must not delay a decision's counts.
    """

    def __init__(self, settings: DatabaseSettings, password: str, *, deadline_s: float = 2.0) -> None:
        self._settings = settings
        self._password = password
        self._deadline_s = deadline_s
        self._connection: asyncpg.Connection | None = None
        self._ours = ""
        self._lock = asyncio.Lock()
        self._resting = False

    async def counts(self) -> Mapping[str, DatabaseCount]:
        """Return queued and running task instances by queue."""
        rows = await self._rows(QUERY)
        return _by_queue([(row[0], row[1], row[2]) for row in rows])

    async def running_on(self, host: str) -> int:
        """Return the task instances that run on a host name, on any executor."""
        ((found,),) = await self._rows(RUNNING_ON, host)
        return natural(SOURCE, f"tasks on {host}", found)

    async def health(self, within_s: float) -> AirflowHealth:
        """Return the schedulers with a heartbeat in the last `within_s` seconds, and the age of the oldest task."""
        ((schedulers, oldest_s),) = await self._rows(HEALTH, within_s)
        if not 0 <= oldest_s < AGE_LIMIT_S:
            raise BadAnswerError(SOURCE, f"the age of the oldest queued task is {oldest_s!r} s")
        return AirflowHealth(natural(SOURCE, "schedulers", schedulers), oldest_s)

    async def problems(self, waiting_s: float, limit: int) -> AirflowProblems:
        """Return files that do not import, and tasks that are queued for longer than `waiting_s`; `limit` of each."""
        tasks, files = await self._rows(WAITING, waiting_s, limit), await self._rows(IMPORT_ERRORS, limit)
        return AirflowProblems(
            natural(SOURCE, "import errors", files[0][2] if files else 0),
            tuple(ImportProblem(str(file), _last_line(trace)) for file, trace, _ in files),
            natural(SOURCE, "waiting tasks", tasks[0][6] if tasks else 0),
            tuple(WaitingTask(*row[:6]) for row in tasks),
        )

    def rest(self, *, resting: bool) -> None:
        """Close the connection and refuse to open one, or allow it again: Aurora pauses only without connections."""
        self._resting = resting
        if resting:
            self._forget()

    async def _rows(self, query: str, *parameters: object) -> Sequence[Any]:
        """Return the rows of `query`, whose first parameter is the list of executors."""
        if self._resting:
            raise SourceError(SOURCE, "the environment is asleep")
        async with calling(SOURCE, self._deadline_s, *ERRORS), self._lock:
            try:
                connection = await self._connected()
                return await connection.fetch(query.format(ours=self._ours), self._settings.executors, *parameters)
            except BaseException:
                # After a deadline or an error the connection may be in the middle of an answer: never reuse it.
                self._forget()
                raise

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Callable[..., Awaitable[Sequence[Any]]]]:
        """Give a function that returns the rows of a query; all queries of the body see the same state."""
        if self._resting:
            raise SourceError(SOURCE, "the environment is asleep")
        async with calling(SOURCE, self._deadline_s, *ERRORS), self._lock:
            try:
                connection = await self._connected()
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    yield lambda query, *parameters: connection.fetch(query.replace("{ours}", self._ours), *parameters)
            except SourceError:
                raise  # an answer was refused: the connection is in order
            except BaseException:
                self._forget()
                raise

    async def close(self) -> None:
        """Close the connection, without waiting for a server that does not answer."""
        self._forget()

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            settings = self._settings
            self._connection = await asyncpg.connect(
                host=settings.host,
                port=settings.port,
                user=settings.user,
                password=self._password,
                database=settings.name,
                ssl=settings.sslmode,
                target_session_attrs=SessionAttribute.primary,
                timeout=self._deadline_s,
                server_settings={
                    "application_name": "openmwaa-scaler",
                    "default_transaction_read_only": "on",
                    "statement_timeout": str(int(self._deadline_s * 1000)),
                },
            )
            # On each connection: a migration may have added the column since the last one.
            has_executor = await self._connection.fetchval(HAS_EXECUTOR)
            self._ours = OURS if has_executor else ALL
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _last_line(trace: str | None) -> str:
    lines = [line.strip() for line in (trace or "").splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


def _by_queue(rows: list[tuple[str, str, int]]) -> Mapping[str, DatabaseCount]:
    counts: dict[str, DatabaseCount] = {}
    for queue, state, value in rows:
        before = counts.get(queue, DatabaseCount(0, 0))
        number = natural(SOURCE, f"count of {state} in {queue}", value)
        queued = number if state == "queued" else 0
        # A restarting task still occupies its slot.
        counts[queue] = DatabaseCount(before.queued + queued, before.running + number - queued)
    return counts
