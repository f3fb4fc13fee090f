# SPDX-License-Identifier: Apache-2.0
"""Shrinking without loss: whom to drain, whom to call back, and when the desired count may be lowered.

ECS stops whichever unprotected task it likes. So the count is lowered only when, in one observation, the unprotected
running tasks are exactly the workers that say they have released; until then a victim merely takes nothing new. Every
line may be the scaler's last: a victim that hears nothing more goes back to work when its lease ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from scaler.core.explain import Explanation, count, names
from scaler.core.model import Fleet, ServiceObservation, Known, Service
from scaler.core.workers import ClassifiedWorkers, ClassifiedWorker


@dataclass(frozen=True, slots=True)
class ServiceShare:
    """What the fleet wants of one service."""

    target: int
    """Workers that are to serve: whoever consumes beyond it may be drained."""
    back: int
    """Workers that must serve: where fewer do, those in drain are called back."""
    maximum: int
    fresh: int
    """Workers that a rolling deployment inside this service may start now."""
    room: int
    """How many tasks more than now may be asked for; 0 for every generation but the current one."""
    room_words: str
    """Why there is no more room."""
    may_drain: bool
    """Whether anybody may be told to go, and the count be lowered."""
    recall: bool = False
    """Whether everybody in drain is called back."""


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """Who is in drain after this tick, who of them was chosen now, and who is called back."""

    drains: tuple[str, ...]
    chosen: tuple[str, ...]
    resumes: tuple[str, ...]
    called: int = 0
    """How many of `resumes` were called back now; the others were before and do not consume yet."""


def stopping_surplus(roster: ClassifiedWorkers, desired: int) -> int:
    """Return how many tasks ECS is stopping: those above `desired`, but only workers that were let go."""
    return max(0, len(roster.workers) - max(desired, roster.protected_minimum))


def places_lost(roster: ClassifiedWorkers, desired: int) -> int:
    """Return how many places within `desired` are held by workers that give no capacity: in drain, or stuck.

    The stopping_surplus hold no place any more.
    """
    return max(0, len(roster.of("draining", "released", "stuck")) - stopping_surplus(roster, desired))


def plan(
    service: Service, roster: ClassifiedWorkers, share: ServiceShare, *, may_drain: bool, explanation: Explanation
) -> DrainPlan:
    """Choose victims where more consume than are target; call victims back where fewer serve than must."""
    victims = roster.of("draining", "released")
    still = tuple(worker.arn for worker in roster.of("launching", "stuck") if worker.resumed)
    serving = roster.of("launching", "consuming", "unknown")
    missing = len(victims) if share.recall else share.back - len(serving)
    if missing > 0 and victims:
        # Who was let go stands last, so the stopping_surplus are cut off.
        callable_ = sorted(victims, key=_first_to_resume)
        callable_ = callable_[: max(0, len(callable_) - stopping_surplus(roster, service.desired))]
        back = tuple(worker.arn for worker in callable_[:missing])
        if back:
            text = f"Resume {count(len(back), 'draining worker')}: {names(back)}"
            explanation.add("drain", text, resumed=len(back))
        exchanged = _exchange(service, roster, share, back) if may_drain and not still else ()
        back += _told(exchanged, explanation)
        return DrainPlan(tuple(worker.arn for worker in victims if worker.arn not in back), (), back + still, len(back))
    exchanged = _told(_exchange(service, roster, share) if may_drain and not still else (), explanation)
    if exchanged:
        rest = tuple(worker.arn for worker in victims if worker.arn not in exchanged)
        return DrainPlan(rest, (), exchanged, len(exchanged))
    held = tuple(worker.arn for worker in victims)
    if held:
        explanation.add("drain", f"{count(len(held), 'worker')} draining: {names(held)}", draining=len(held))
    chosen = _choose(service, roster, share, explanation) if may_drain else ()
    return DrainPlan(held + chosen, chosen, still)


def _exchange(
    service: Service, roster: ClassifiedWorkers, share: ServiceShare, back: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return whom to call back, beside those of `back`, so that workers of the old revision can leave.

    Where no more consume than are target nobody is chosen, and one old worker among them would keep the deployment
    unfinished for ever, and with it every reduction.
    """
    consuming = roster.of("consuming")
    old = sum(1 for worker in consuming if worker.old_revision)
    if not service.rolling or not old or len(consuming) > share.target:
        return ()
    fresh = [worker for worker in roster.of("draining", "released") if not worker.old_revision]
    fresh.sort(key=_first_to_resume)
    able = max(0, len(fresh) - stopping_surplus(roster, service.desired))
    return tuple(worker.arn for worker in fresh[:able] if worker.arn not in back)[:old]


def _told(exchanged: tuple[str, ...], explanation: Explanation) -> tuple[str, ...]:
    if exchanged:
        text = f"Resume {names(exchanged)} to replace workers of the old revision"
        explanation.add("drain", text, resumed=len(exchanged))
    return exchanged


def _choose(
    service: Service, roster: ClassifiedWorkers, share: ServiceShare, explanation: Explanation
) -> tuple[str, ...]:
    """Return who is to leave: of those who consume the surplus, and whoever came up and never began to."""
    consuming = roster.of("consuming")
    surplus = len(consuming) - share.target
    if surplus < 0:
        return ()
    chosen = tuple(worker.arn for worker in sorted(consuming, key=_first_to_drain)[:surplus])
    if chosen:
        text = f"{count(len(consuming), 'worker')} consuming, target {share.target}: drain {names(chosen)}"
        explanation.add("drain", text, consuming=len(consuming), target=share.target, chosen=len(chosen))
    # While a deployment rolls, new tasks are refused until the old ones leave: they did nothing wrong.
    hopeless = [] if service.rolling else [worker for worker in roster.of("stuck") if _answers_and_idles(worker)]
    if hopeless:
        arns = tuple(worker.arn for worker in hopeless)
        text = f"Started, never consumed, not needed: drain {names(arns)}"
        explanation.add("drain", text, chosen=len(arns))
        chosen += arns
    return chosen


def _answers_and_idles(worker: ClassifiedWorker) -> bool:
    return not worker.pending and worker.agent is not None and not worker.resumed


def _first_to_drain(worker: ClassifiedWorker) -> tuple[bool, int, float, str]:
    """Old revisions first, then the fewest tasks, then the longest idle, then by name."""
    return (not worker.old_revision, worker.load, worker.since, worker.arn)


def _first_to_resume(worker: ClassifiedWorker) -> tuple[bool, bool, int, str]:
    """Those that still hold protection first, of the new revision, then the busiest."""
    return (worker.role == "released", worker.old_revision, -worker.load, worker.arn)


def protected_minimum(
    service: Service, roster: ClassifiedWorkers, resumes: frozenset[str], fresh: int
) -> tuple[int, str]:
    """Return protected + about to be protected, and the words for it.

    ECS refuses protection above `desired`. While a deployment rolls, its own new tasks are about to be protected, and
    raising `desired` for them makes it start still more: there the protected_minimum stops at what is protected on the old
    revision plus the `fresh` workers that the demand of this moment needs on the new one (a held count would feed
    itself), but never below those who work already. A task that ECS cannot start is not about to be protected.
    """
    kept = [w for w in roster.workers if w.arn in resumes or not (w.stoppable or w.never_started)]
    protected = [worker for worker in kept if worker.protected]
    lowest = len(kept)
    why = f"{len(protected)} protected + {lowest - len(protected)} about to be protected"
    if any(worker.protected is None for worker in roster.running):
        why = f"{lowest} protected or about to be (protection unknown)"
    refused = sum(1 for worker in kept if worker.agent is not None and worker.agent.phase == "refused")
    if refused:
        why += f" ({refused} refused by ECS)"
    if service.rolling:
        old = sum(1 for worker in protected if worker.old_revision)
        working = sum(1 for worker in kept if worker.protected or worker.role in ("consuming", "draining"))
        cap = max(working, old + fresh)
        if cap < lowest:
            return cap, f"{why}, limited to {cap} during the deployment"
    return lowest, why


def reducible(
    fleet: Fleet, seen: ServiceObservation, roster: ClassifiedWorkers, short_s: float, explanation: Explanation
) -> tuple[str, ...] | None:
    """Return the released workers a reduction may count on, None when the count must not be lowered now."""
    service, asked = seen.service, seen.protected
    if not isinstance(service, Known) or not isinstance(asked, Known):
        return None
    obstacle = _obstacle(service.value, roster)
    unprotected = {worker.arn for worker in roster.running if not worker.protected}
    released = {worker.arn for worker in roster.of("released")}
    if obstacle is None and unprotected != released:
        odd = names(unprotected ^ released)
        obstacle = f"unprotected and released workers differ ({odd})"
    absent = service.value.desired - len(roster.workers)
    if obstacle is None and absent > 0 and short_s < fleet.launch_deadline_s:
        obstacle = f"ECS has still to start {count(absent, 'task')}"
    if obstacle is not None:
        if released:
            explanation.add("reduce", f"No scale-in yet: {obstacle}", blocked=True)
        return None
    return tuple(sorted(released))


def _obstacle(service: Service, roster: ClassifiedWorkers) -> str | None:
    # A worker that ECS protects cannot be taken by mistake, and one that ECS cannot start has nothing to lose.
    unread = [worker.arn for worker in roster.running if worker.agent is None and not worker.protected]
    if unread:
        return f"no answer from the agent of {names(unread)}, not protected"
    hopeless = sum(1 for worker in roster.pending if worker.never_started)
    starting = max(len(roster.pending), service.pending) - hopeless
    if starting > 0:
        return f"{count(starting, 'task')} starting"
    if service.rolling:
        return f"{len(service.deployments)} deployments unfinished"
    if service.running > len(roster.running):
        return f"ECS counts {service.running} running tasks and lists {len(roster.running)}"
    return None
