# SPDX-License-Identifier: Apache-2.0
"""Scale-in without loss: which workers to drain, which to resume, and when the desired count may be lowered.

ECS stops any unprotected task. So the count is lowered only if, in one observation, the unprotected running tasks are
exactly the workers that report a release; until then a draining worker only takes no new task. Every command may be
the scaler's last: a draining worker that receives no further command consumes again when its lease ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from scaler.core.explain import Explanation, count, names
from scaler.core.model import Known, Service, ServiceObservation
from scaler.core.workers import ClassifiedWorker, ClassifiedWorkers


@dataclass(frozen=True, slots=True)
class ServiceShare:
    """The part of the fleet's target for one service."""

    target: int
    """Workers that serve: consuming workers above it may be drained."""
    required: int
    """Workers that must serve: if fewer do, draining workers are resumed."""
    maximum: int
    rolling: int
    """Workers of the new revision that a rolling deployment inside this service may start now."""
    launch_room: int
    """How many tasks may be requested above the present desired count; 0 for every service but the current one."""
    launch_limit: str
    """The reason for the limit of `launch_room`."""
    may_drain: bool
    """Whether workers may be drained, and the count lowered."""
    resume_all: bool
    """Whether all draining workers are resumed."""
    busy_s: Mapping[str, float]
    """By the last part of an ARN: the seconds until a worker is expected to run nothing; empty without look-ahead."""


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """The draining workers after this tick, those chosen now, and the resumed workers."""

    drains: tuple[str, ...]
    chosen: tuple[str, ...]
    resumes: tuple[str, ...]
    resumed_now: int = 0
    """How many of `resumes` are new; the others were resumed before and do not consume yet."""


def stopping_surplus(workers: ClassifiedWorkers, desired: int) -> int:
    """Return how many tasks ECS stops next: those above `desired`, but stoppable workers only."""
    return max(0, len(workers.all) - max(desired, workers.protected_minimum))


def places_lost(workers: ClassifiedWorkers, desired: int) -> int:
    """Return how many places within `desired` belong to workers without capacity: draining, released or stuck.

    Tasks that ECS stops next have no place within `desired`.
    """
    return max(0, len(workers.of("draining", "released", "stuck")) - stopping_surplus(workers, desired))


def plan_drains(
    service: Service, workers: ClassifiedWorkers, share: ServiceShare, *, may_drain: bool, explanation: Explanation
) -> DrainPlan:
    """Choose workers to drain; resume draining workers if fewer than required serve."""
    draining = workers.of("draining", "released")
    resuming = tuple(worker.arn for worker in workers.of("launching", "stuck") if worker.resumed)
    missing = len(draining) if share.resume_all else share.required - len(workers.serving_soon)
    if missing > 0 and draining:
        # Released workers are last, so those that ECS stops next are cut off.
        candidates = sorted(draining, key=_first_to_resume)
        candidates = candidates[: max(0, len(candidates) - stopping_surplus(workers, service.desired))]
        resumed = tuple(worker.arn for worker in candidates[:missing])
        if resumed:
            text = f"Resume {count(len(resumed), 'draining worker')}: {names(resumed)}"
            explanation.add("drain", text, resumed=len(resumed))
        replacements = _replacements(service, workers, share, resumed) if may_drain and not resuming else ()
        resumed += _explained(replacements, explanation)
        drains = tuple(worker.arn for worker in draining if worker.arn not in resumed)
        return DrainPlan(drains, (), resumed + resuming, len(resumed))
    replacements = _explained(_replacements(service, workers, share) if may_drain and not resuming else (), explanation)
    if replacements:
        drains = tuple(worker.arn for worker in draining if worker.arn not in replacements)
        return DrainPlan(drains, (), replacements, len(replacements))
    drains = tuple(worker.arn for worker in draining)
    if drains:
        explanation.add("drain", f"{count(len(drains), 'worker')} draining: {names(drains)}", draining=len(drains))
    chosen = _choose(service, workers, share, explanation) if may_drain else ()
    return DrainPlan(drains + chosen, chosen, resuming)


def _replacements(
    service: Service, workers: ClassifiedWorkers, share: ServiceShare, resumed: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return draining workers to resume, beside `resumed`, so that workers of the old revision can leave.

    If no more workers consume than the target, none is drained, and one old worker among them would block the
    deployment, and so every scale-in, for ever.
    """
    consuming = workers.of("consuming")
    old = sum(1 for worker in consuming if worker.old_revision)
    if not service.rolling or not old or len(consuming) > share.target:
        return ()
    new = [worker for worker in workers.of("draining", "released") if not worker.old_revision]
    new.sort(key=_first_to_resume)
    available = max(0, len(new) - stopping_surplus(workers, service.desired))
    return tuple(worker.arn for worker in new[:available] if worker.arn not in resumed)[:old]


def _explained(replacements: tuple[str, ...], explanation: Explanation) -> tuple[str, ...]:
    if replacements:
        text = f"Resume {names(replacements)} to replace workers of the old revision"
        explanation.add("drain", text, resumed=len(replacements))
    return replacements


def _choose(
    service: Service, workers: ClassifiedWorkers, share: ServiceShare, explanation: Explanation
) -> tuple[str, ...]:
    """Return the workers to drain: the surplus of the consuming workers, and workers that never began to consume."""
    consuming = workers.of("consuming")
    surplus = len(consuming) - share.target
    if surplus < 0:
        return ()
    ordered = sorted(consuming, key=lambda worker: _first_to_drain(worker, share.busy_s))
    chosen = tuple(worker.arn for worker in ordered[:surplus])
    if chosen:
        text = f"{count(len(consuming), 'worker')} consuming, target {share.target}: drain {names(chosen)}"
        explanation.add("drain", text, consuming=len(consuming), target=share.target, chosen=len(chosen))
    # During a rolling deployment ECS refuses protection to new tasks until old ones leave: they are no failures.
    failed = [] if service.rolling else [worker for worker in workers.of("stuck") if _answers_without_consuming(worker)]
    if failed:
        arns = tuple(worker.arn for worker in failed)
        explanation.add("drain", f"Started, never consumed, not needed: drain {names(arns)}", chosen=len(arns))
        chosen += arns
    return chosen


def _answers_without_consuming(worker: ClassifiedWorker) -> bool:
    return not worker.pending and worker.agent is not None and not worker.resumed


def _first_to_drain(worker: ClassifiedWorker, busy_s: Mapping[str, float]) -> tuple[bool, float, int, float, str]:
    """Order: old revisions, then those whose tasks end first, the fewest tasks, the longest idle, then by name."""
    ends_s = busy_s.get(worker.arn.rpartition("/")[2], inf) if worker.load else 0.0
    return (not worker.old_revision, ends_s, worker.load, worker.idle_since, worker.arn)


def _first_to_resume(worker: ClassifiedWorker) -> tuple[bool, bool, int, str]:
    """Order: workers with protection, then those of the new revision, then the busiest."""
    return (worker.role == "released", worker.old_revision, -worker.load, worker.arn)


def protected_minimum(
    service: Service, workers: ClassifiedWorkers, resumes: frozenset[str], rolling: int
) -> tuple[int, str]:
    """Return protected + about to be protected, and its text.

    ECS refuses protection above `desired`. During a rolling deployment, its new tasks are about to be protected, and
    a higher `desired` makes ECS start still more of them. There the minimum is limited to the protected workers of
    the old revision plus the `rolling` workers that the present demand needs on the new revision (a kept count would
    raise itself), but never below the workers in use. A task that ECS cannot start is not about to be protected.
    """
    kept = [w for w in workers.all if w.arn in resumes or not (w.stoppable or w.never_started)]
    protected = [worker for worker in kept if worker.protected]
    minimum = len(kept)
    text = f"{len(protected)} protected + {minimum - len(protected)} about to be protected"
    if any(worker.protected is None for worker in workers.running):
        text = f"{minimum} protected or about to be protected (protection unknown)"
    refused = sum(1 for worker in kept if worker.agent is not None and worker.agent.phase == "refused")
    if refused:
        text += f" ({refused} refused by ECS)"
    if service.rolling:
        old = sum(1 for worker in protected if worker.old_revision)
        in_use = sum(1 for worker in kept if worker.protected or worker.role in ("consuming", "draining"))
        limit = max(in_use, old + rolling)
        if limit < minimum:
            return limit, f"{text}, limited to {limit} during the deployment"
    return minimum, text


def reducible(
    observation: ServiceObservation,
    workers: ClassifiedWorkers,
    *,
    failing: bool,
    explanation: Explanation,
) -> tuple[str, ...] | None:
    """Return the released workers that allow a lower count; None when the count must not be lowered now.

    `failing`: ECS has tried to start the absent tasks for the launch deadline.
    """
    service, protection = observation.service, observation.protected
    if not isinstance(service, Known) or not isinstance(protection, Known):
        return None
    obstacle = _obstacle(service.value, workers)
    unprotected = {worker.arn for worker in workers.running if not worker.protected}
    released = {worker.arn for worker in workers.of("released")}
    if obstacle is None and unprotected != released:
        obstacle = f"unprotected and released workers differ ({names(unprotected ^ released)})"
    absent = service.value.desired - len(workers.all)
    if obstacle is None and absent > 0 and not failing:
        obstacle = f"ECS has still to start {count(absent, 'task')}"
    if obstacle is not None:
        if released:
            explanation.add("reduce", f"No scale-in yet: {obstacle}", blocked=True)
        return None
    return tuple(sorted(released))


def _obstacle(service: Service, workers: ClassifiedWorkers) -> str | None:
    # ECS cannot stop a protected worker by mistake, and a worker that ECS cannot start runs no task.
    unread = [worker.arn for worker in workers.running if worker.agent is None and not worker.protected]
    if unread:
        return f"no answer from the agent of {names(unread)}, not protected"
    never_started = sum(1 for worker in workers.pending if worker.never_started)
    starting = max(len(workers.pending), service.pending) - never_started
    if starting > 0:
        return f"{count(starting, 'task')} starting"
    if service.rolling:
        return f"{len(service.deployments)} deployments unfinished"
    if service.running > len(workers.running):
        return f"ECS counts {service.running} running tasks and lists {len(workers.running)}"
    return None
