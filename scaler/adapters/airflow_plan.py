# SPDX-License-Identifier: Apache-2.0
"""Reads the plan from Airflow's metadata database: one snapshot a tick for all fleets, on a connection of its own.

A reading has limits, so that a large environment costs no more than them:

| what is read | when | limit |
|---|---|---|
| runs in progress, with the number of their ended tasks | each tick | 5 000 runs |
| task instances that have a state and have not ended | each tick | 20 000 |
| runs that are due in the next 10 minutes | each tick | 5 000 |
| ended tasks of the runs that changed | each tick | runs with 20 000 instances together |
| tasks of a DAG: its structure | for a new version | 50 DAGs a tick, 5 000 tasks each |
| of the last 20 runs: durations of each task, and number of tasks | every 5 minutes a DAG | 50 DAGs a tick |
| with headroom: the runs that people started at this time of the day, by DAG and day | every 5 minutes | 28 days |

Above a limit the plan is unknown, with the reason; it is never incomplete. What is read in parts (the last three) is
unknown until all parts are there: 1 000 DAGs take 20 ticks after a start. All queries end with the deadline.

Of a serialized DAG the server returns only what the plan needs, unless Airflow stores it compressed. A DAG that waits
for several assets is not expected: which of them comes last is not known.
"""

import json
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import Any

from scaler.adapters.airflow_database import SOURCE, AirflowDatabase
from scaler.adapters.plan_rows import (
    HELD_S,
    DagHistory,
    DagStructure,
    KnownDag,
    Made,
    OpenRun,
    OpenTask,
    ReadPlan,
    ended_of,
    structure_of,
)
from scaler.adapters.shared import Shared
from scaler.core.forecast.expected_run import MAX_DEPTH
from scaler.core.forecast.plan import DAY_S, HOUR_S, MOST_DAYS, AirflowPlan, Arrivals, arrival_rate
from scaler.errors import BadAnswerError, SourceError

MAX_RUNS = 5_000
MAX_OPEN = 20_000
MAX_ENDED = 20_000
MAX_ARRIVALS = 20_000
AHEAD_S = 600.0
BATCH = 50
REFRESH_S = 300.0
MAX_STRUCTURE = 64 * 1024 * 1024
"""Bytes of a serialized DAG that was stored compressed."""
CLOCK_S = 1.0
"""A smaller change of the difference between two clocks is the time of the answer; the views stay the same."""

SERVER = "select to_regclass('dag_version') is not null, extract(epoch from now())::float8"
RUNS = """
select r.id, r.dag_id, r.run_id, {version}, extract(epoch from coalesce(r.start_date, now()))::float8,
    extract(epoch from max(t.end_date) filter (where t.state in {ended}))::float8,
    count(*) filter (where t.state in {ended}), count(*)
from dag_run r left join task_instance t on t.dag_id = r.dag_id and t.run_id = r.run_id
where r.state = 'running' group by r.id limit $1
"""
OPEN = """
select r.id, t.task_id, t.state, coalesce(t.queue, 'default'), extract(epoch from coalesce(
    case t.state when 'queued' then t.queued_dttm when 'scheduled' then {scheduled} else t.start_date end, now()
))::float8, t.hostname, {ours}
from task_instance t join dag_run r on r.dag_id = t.dag_id and r.run_id = t.run_id
where r.state = 'running' and t.state in
    ('scheduled', 'queued', 'running', 'restarting', 'deferred', 'up_for_retry', 'up_for_reschedule')
order by r.id, t.task_id, t.map_index limit $2
"""
DUE = """
select dag_id, extract(epoch from next_dagrun_create_after)::float8 from dag
where not is_paused and {alive} and next_dagrun_create_after > now() - make_interval(secs => $1)
    and next_dagrun_create_after < now() + make_interval(secs => $2)
limit $3
"""
TASKS_ENDED = """
select r.id, t.task_id, bool_and(coalesce(t.state in {ended}, false)), (array_agg({seconds}) {succeeded})[1:20]
from dag_run r join task_instance t on t.dag_id = r.dag_id and t.run_id = r.run_id
where r.id = any($1::int[]) group by 1, 2
"""
PAST = """
select t.dag_id, t.task_id, (array_agg({seconds} order by r.id desc, t.map_index) {succeeded})[1:20],
    count(*) filter (where t.map_index >= 0)::float8 / count(distinct r.id)
from unnest($1::text[]) d(dag_id) cross join lateral (
    select id, run_id from dag_run where dag_run.dag_id = d.dag_id and state in ('success', 'failed')
    order by id desc limit 20
) r join task_instance t on t.dag_id = d.dag_id and t.run_id = r.run_id
where t.state in ('success', 'failed', 'skipped') group by 1, 2
"""
RAN = """
select d.dag_id, r.id, coalesce(t.queue, 'default'), count(*) filter (
    where t.state in ('success', 'failed') and t.hostname <> '' and {ours}
)
from unnest($2::text[]) d(dag_id) cross join lateral (
    select id, run_id from dag_run where dag_run.dag_id = d.dag_id and state in ('success', 'failed')
    order by id desc limit 20
) r left join task_instance t on t.dag_id = d.dag_id and t.run_id = r.run_id
group by 1, 2, 3
"""
CONSUMERS = """
select o.dag_id, o.task_id, s.dag_id
from task_outlet_{asset}_reference o join dag_schedule_{asset}_reference s using ({asset}_id)
join dag on dag.dag_id = s.dag_id and not is_paused
where o.dag_id = any($1::text[])
    and 1 = (select count(*) from dag_schedule_{asset}_reference other where other.dag_id = s.dag_id)
order by 1, 2, 3
"""
ARRIVALS = """
select dag_id, day, count(*), (select extract(epoch from now() - min(start_date))::float8 from dag_run)
from dag_run join dag using (dag_id)
cross join lateral (select extract(epoch from now() - start_date)::float8 age_s) age
cross join lateral (select round(age_s / {day_s})::int as day) ago
where {by_people} and start_date > now() - make_interval(secs => $1) and day > 0
    and abs(age_s - day * {day_s}) <= {hour_s} / 2 and not is_paused and {alive}
group by 1, 2 limit $2
"""
KEYS_3 = """
select d.dag_id, s.dag_version_id::text, s.dag_hash, false
from unnest($1::text[]) d(dag_id) cross join lateral (
    select id from dag_version v where v.dag_id = d.dag_id order by version_number desc limit 1
) v join serialized_dag s on s.dag_version_id = v.id
union all
select dag_id, dag_version_id::text, dag_hash, true from serialized_dag
where dag_version_id = any($2::text[]::uuid[])
"""
KEYS_2 = """
select dag_id, dag_id, dag_hash, false from serialized_dag where dag_id = any($1::text[]) and $2::text[] is not null
"""
STRUCTURES = """
select {key}, dag_hash, data_compressed, (
    select jsonb_agg(jsonb_build_object(
        'task_id', v->'task_id', 'downstream_task_ids', v->'downstream_task_ids', 'queue', v->'queue',
        'executor', v->'executor', '_is_mapped', v->'_is_mapped', '_needs_expansion', v->'_needs_expansion',
        '_is_empty', v->'_is_empty', 'trigger_dag_id', v->'trigger_dag_id', 'partial_kwargs', jsonb_build_object(
            'queue', v #> '{{partial_kwargs,queue}}', 'executor', v #> '{{partial_kwargs,executor}}')
    )) from jsonb_array_elements(data::jsonb #> '{{dag,tasks}}') task, coalesce(task->'__var', task) v
)
from serialized_dag where {key_column} = any($1::text[]{key_type})
"""
WORDS = {
    "ended": "('success', 'failed', 'skipped', 'upstream_failed', 'removed')",
    "seconds": "extract(epoch from t.end_date - t.start_date)::float8",
    "succeeded": "filter (where t.state = 'success' and t.end_date >= t.start_date)",
    "ours": "{ours}",
    "day_s": str(DAY_S),
    "hour_s": str(HOUR_S),
}
WORDS_3 = WORDS | {
    "version": "case when r.bundle_version is null then null else r.created_dag_version_id::text end",
    "scheduled": "t.scheduled_dttm",
    "alive": "not is_stale",
    "by_people": "run_type = 'manual' and lower(triggered_by) is distinct from 'operator'",
    "asset": "asset",
    "key": "dag_version_id::text",
    "key_column": "dag_version_id",
    "key_type": "::uuid[]",
}
WORDS_2 = WORDS | {
    "version": "null::text",
    "scheduled": "t.updated_at",
    "alive": "is_active",
    "by_people": "run_type = 'manual'",
    "asset": "dataset",
    "key": "dag_id",
    "key_column": "dag_id",
    "key_type": "",
}
"""The columns that differ; without versions the newest structure is that of all runs.

Airflow 2 does not distinguish a run that another DAG triggered from one that a person started.
"""

Fetch = Callable[..., Awaitable[Sequence[Any]]]
Key = tuple[str, str]
"""Of a structure: its version (without versions: its DAG), and its hash."""


class AirflowPlanReader:
    """The port `AirflowPlanPort`."""

    def __init__(
        self, database: AirflowDatabase, monotonic: Callable[[], float], executors: Sequence[str], *, max_age_s: float
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._executors = executors
        self._shared = Shared(self._read, monotonic, max_age_s=max_age_s)
        self._made: dict[frozenset[str], Made] = {}
        self._ahead_s: float | None = None
        self._batch, self._ended_limit = BATCH, MAX_ENDED
        self._structures: dict[Key, DagStructure] = {}
        self._histories: dict[str, DagHistory] = {}
        self._known: dict[tuple[str, Key], KnownDag] = {}
        self._ended: dict[int, tuple[tuple[object, ...], tuple[int, float]]] = {}
        self._headroom = False
        self._arrivals: tuple[Arrivals, ...] = ()
        self._arrivals_at = -inf

    async def plan(self, queues: frozenset[str], *, headroom: bool = False) -> AirflowPlan:
        """Return the plan of the fleet that serves these queues; one reading serves all fleets of a tick."""
        self._headroom |= headroom
        read = await self._shared.get()
        return read.plan(queues, self._made.setdefault(queues, {}))

    async def close(self) -> None:
        """Cancel a reading that is under way."""
        await self._shared.close()

    async def _read(self) -> ReadPlan:
        async with self._database.snapshot() as fetch:
            ((has_versions, at),) = await fetch(SERVER)
            ahead_s = self._monotonic() - at
            if self._ahead_s is None or abs(ahead_s - self._ahead_s) > CLOCK_S:
                self._ahead_s = ahead_s
            words = WORDS_3 if has_versions else WORDS_2
            runs = _whole("runs in progress", await fetch(RUNS.format(**words), MAX_RUNS + 1), MAX_RUNS)
            opened = _whole("open tasks", await fetch(OPEN.format(**words), self._executors, MAX_OPEN + 1), MAX_OPEN)
            due = _whole("due runs", await fetch(DUE.format(**words), HELD_S, AHEAD_S, MAX_RUNS + 1), MAX_RUNS)
            pinned = {run[3] for run in runs if run[3] is not None}
            if self._headroom and self._monotonic() - self._arrivals_at > REFRESH_S:
                self._arrivals_at = self._monotonic()  # a query that fails costs one reading, and not each one
                self._arrivals = await _read_arrivals(fetch, words)
            wanted = {run[1] for run in runs} | {dag_id for dag_id, _ in due}
            wanted |= {arrivals.dag_id for arrivals in self._arrivals}
            newest, versions = await self._dags(fetch, words, wanted, pinned)
            dags = {run[0]: dag for run in runs if (dag := versions.get(run[3]) or newest.get(run[1]))}
            await self._read_ended(fetch, words, runs, dags)
        found = {
            number: OpenRun(f"{dag_id}/{run_id}", dags[number], *self._ended[number][1], max(started, last or 0.0))
            for number, dag_id, run_id, _, started, last, *_ in runs
            if number in dags
        }
        for row in opened:
            if row[0] in found:
                found[row[0]].tasks.append(OpenTask(*row))
        due = [(dag_id, due_at) for dag_id, due_at in due]
        return ReadPlan(at, self._ahead_s, [*found.values()], due, newest, self._arrivals)

    async def _dags(
        self, fetch: Fetch, words: Mapping[str, str], wanted: set[str], pinned: set[str]
    ) -> tuple[dict[str, KnownDag], dict[str | None, KnownDag]]:
        """Return the newest version of the DAGs and of those that they start, and the versions that runs name."""
        newest: dict[str, KnownDag] = {}
        versions: dict[str | None, KnownDag] = {}
        kept: dict[tuple[str, Key], KnownDag] = {}
        asked: set[str] = set()
        left = [BATCH, self._batch]
        keys_query = KEYS_3 if words is WORDS_3 else KEYS_2
        for _ in range(MAX_DEPTH + 1):
            new, asked = sorted(wanted - asked), asked | wanted
            rows = await fetch(keys_query, new, sorted(pinned))
            # A version may be of a DAG that is deleted.
            keys, dag_ids = {(row[1], row[2]) for row in rows}, {row[0] for row in rows}
            left[0] -= await self._load_structures(fetch, words, keys, left[0])
            left[1] -= await self._load_histories(fetch, words, dag_ids, left[1])
            for dag_id, version, digest, is_pinned in rows:
                place = dag_id, (version, digest)
                structure, history = self._structures.get(place[1]), self._histories.get(dag_id)
                if structure is None or history is None:
                    continue
                dag = self._known.get(place)
                if dag is None or dag.history is not history:
                    dag = self._known[place] = KnownDag(dag_id, structure, history)
                kept[place] = dag
                if is_pinned:
                    versions[version] = dag
                else:
                    newest[dag_id] = dag
                wanted = wanted.union(*dag.starts.values())
            if absent := len(keys - self._structures.keys()) + len(dag_ids - self._histories.keys()):
                raise SourceError(SOURCE, f"{absent} structures and histories of DAGs are still to be read")
            pinned = set()
            if wanted <= asked:
                break
        self._known = kept
        self._structures = {key: self._structures[key] for _, key in kept}
        self._histories = {dag_id: self._histories[dag_id] for dag_id, _ in kept}
        return newest, versions

    async def _load_structures(self, fetch: Fetch, words: Mapping[str, str], keys: set[Key], limit: int) -> int:
        some = {version for version, _ in sorted(keys - self._structures.keys())[: max(0, limit)]}
        if not some:
            return 0
        for version, digest, compressed, tasks in await fetch(STRUCTURES.format(**words), sorted(some)):
            found = _decompressed(compressed) if compressed else json.loads(tasks or "[]")
            self._structures[version, digest] = structure_of(SOURCE, found, self._executors)
        return len(some)

    async def _load_histories(self, fetch: Fetch, words: Mapping[str, str], dag_ids: set[str], limit: int) -> int:
        now = self._monotonic()
        read_at = {dag_id: self._histories[dag_id].at if dag_id in self._histories else -inf for dag_id in dag_ids}
        oldest = sorted(dag_ids, key=lambda dag_id: (read_at[dag_id], dag_id))
        some = [dag_id for dag_id in oldest if now - read_at[dag_id] > REFRESH_S][: max(0, limit)]
        if some:
            batch, self._batch = self._batch, max(1, len(some) // 2)  # if this one is too slow, the next one reads less
            past, consumers = await fetch(PAST.format(**words), some), await fetch(CONSUMERS.format(**words), some)
            ran: dict[str, dict[int, dict[str, int]]] = {dag_id: {} for dag_id in some}
            for dag_id, run, queue, tasks in await fetch(RAN.format(**words), self._executors, some):
                ran[dag_id].setdefault(run, {})[queue] = tasks
            for dag_id in some:
                of_dag = [row for row in past if row[0] == dag_id]
                started: dict[str, list[str]] = {}
                for _, task_id, consumer in (row for row in consumers if row[0] == dag_id):
                    started.setdefault(task_id, []).append(consumer)
                self._histories[dag_id] = DagHistory(
                    now,
                    {row[1]: row[2] or () for row in of_dag},
                    {row[1]: row[3] for row in of_dag},
                    started,
                    [*ran[dag_id].values()],
                )
            self._batch = min(BATCH, max(batch, 2 * len(some)))
        return len(some)

    async def _read_ended(
        self, fetch: Fetch, words: Mapping[str, str], runs: Sequence[Any], dags: Mapping[int, KnownDag]
    ) -> None:
        """Read the ended tasks of the runs that changed."""
        digests = {run[0]: (dags[run[0]].structure, *run[5:8]) for run in runs if run[0] in dags}
        kept = {number: self._ended[number] for number in digests.keys() & self._ended.keys()}
        changed = [number for number in digests if number not in kept or kept[number][0] != digests[number]]
        some: list[int] = []
        instances = 0
        for number in changed:
            instances += digests[number][3]
            if some and instances > self._ended_limit:
                break
            some.append(number)
        rows: dict[int, list[Any]] = {number: [] for number in some}
        limit, self._ended_limit = self._ended_limit, max(1, self._ended_limit // 2)  # as for histories
        for number, *row in await fetch(TASKS_ENDED.format(**words), some) if some else ():
            rows[number].append(row)
        self._ended_limit = min(MAX_ENDED, 2 * limit)
        for number in some:
            kept[number] = digests[number], ended_of(dags[number], rows[number])
        self._ended = kept
        if len(some) < len(changed):
            raise SourceError(SOURCE, f"{len(changed) - len(some)} runs in progress are still to be read")


async def _read_arrivals(fetch: Fetch, words: Mapping[str, str]) -> tuple[Arrivals, ...]:
    rows = await fetch(ARRIVALS.format(**words), MOST_DAYS * DAY_S + HOUR_S / 2, MAX_ARRIVALS + 1)
    by_dag: dict[str, dict[int, int]] = {}
    for dag_id, day, runs, _ in _whole("days on which people started DAGs", rows, MAX_ARRIVALS):
        by_dag.setdefault(dag_id, {})[day] = runs
    rates = {dag_id: arrival_rate(by_day, rows[0][3]) for dag_id, by_day in by_dag.items()}
    return tuple(Arrivals(dag_id, rate) for dag_id, rate in sorted(rates.items()) if rate)


def _whole(what: str, rows: Sequence[Any], limit: int) -> Sequence[Any]:
    if len(rows) > limit:
        raise BadAnswerError(SOURCE, f"more than {limit} {what}: the plan is not read")
    return rows


def _decompressed(data: bytes) -> list[Mapping[str, Any]]:
    try:
        unpack = zlib.decompressobj()
        text = unpack.decompress(data, MAX_STRUCTURE)
        if unpack.unconsumed_tail:
            raise BadAnswerError(SOURCE, f"a serialized DAG has more than {MAX_STRUCTURE} bytes")
        return [task.get("__var", task) for task in json.loads(text)["dag"]["tasks"]]
    except (zlib.error, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadAnswerError(SOURCE, f"a serialized DAG cannot be read: {type(error).__name__}: {error}") from error
