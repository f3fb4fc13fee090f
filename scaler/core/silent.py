# SPDX-License-Identifier: Apache-2.0
"""Workers that do not answer and that ECS does not protect: which one may be stopped by StopTask.

ECS stops any unprotected task when the desired count falls, so one such worker blocks every scale-in of its service.
StopTask ends exactly this one. It is allowed only when database and broker show that nothing runs there. A plain Celery
worker that acknowledges early leaves no trace of a running task, so fleets without a database never stop one.
"""

from collections.abc import Mapping, Sequence

from scaler.core.explain import Explanation, names
from scaler.core.model import Known, Observation
from scaler.core.workers import ClassifiedWorkers

SILENT_LIMIT_S = 600.0
"""Twice the visibility timeout of Airflow's queues: each message that the worker received has come back."""


def silent_since(workers: ClassifiedWorkers, before: Mapping[str, float], now: float) -> Mapping[str, float]:
    """Return the started workers without an answer in this tick, by ARN: since when."""
    silent = [worker for worker in workers.running if worker.agent is None and worker.role != "stopping"]
    return {worker.arn: before.get(worker.arn, now) for worker in silent}


def stoppable(
    observation: Observation,
    services: Sequence[tuple[ClassifiedWorkers, Mapping[str, float]]],
    now: float,
    explanation: Explanation,
) -> str | None:
    """Return the worker that has been silent for the longest time, if it may be stopped, or None.

    `services`: the workers of each service, and since when those are silent that do not answer. The caller must read in
    the database which tasks run on this worker: the counts do not show where tasks run.
    """
    unprotected = [
        (worker.arn, silent) for workers, silent in services for worker in workers.running if worker.protected is False
    ]
    since = {arn: silent[arn] for arn, silent in unprotected if now - silent.get(arn, now) >= SILENT_LIMIT_S}
    if not since or not isinstance(observation.database, Known) or not isinstance(observation.broker, Known):
        return None
    broker = observation.broker.value
    arn = min(since, key=lambda arn: (since[arn], arn))
    age_s = now - since[arn]
    text = f"{names((arn,))} has not answered for {age_s:.0f} s and is not protected"
    if broker.in_flight or broker.incomplete is not None:
        explanation.add("stop", f"{text}: not stopped, messages are in flight", silent_s=age_s, stop=False)
        return None
    explanation.add("stop", f"{text}: stop it if the database has no task there", silent_s=age_s, stop=True)
    return arn
