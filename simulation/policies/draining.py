# SPDX-License-Identifier: Apache-2.0
"""How a rule with the drain protocol changes its fleet: it chooses the workers that leave, and none of them is busy."""

from simulation.engine.fleet import EngineWorker, State
from simulation.engine.policy import EngineFleetView


def leaving(view: EngineFleetView) -> list[EngineWorker]:
    """Return the workers that take no more tasks."""
    return [worker for worker in view.workers if worker.state in (State.DRAINING, State.RELEASED)]


def needed(view: EngineFleetView) -> int:
    """Return the workers for all tasks but those that end on a worker that leaves."""
    demand = view.demand - sum(len(worker.running) for worker in leaving(view))
    return -(-demand // view.settings.slots)


def resize(view: EngineFleetView, target: int) -> None:
    """Have `target` workers that take tasks: resume, launch, or drain the ones with the fewest tasks."""
    target = max(view.settings.minimum, min(view.settings.maximum, target))
    workers, gone = view.workers, leaving(view)
    missing = target - (len(workers) - len(gone))
    if missing > 0:
        gone.sort(key=lambda worker: (worker.state, -len(worker.running)))
        view.fleet.resume([worker.number for worker in gone[:missing]], view.now)
    elif missing < 0:
        serving = [worker for worker in workers if worker.state is State.CONSUMING]
        serving.sort(key=lambda worker: (len(worker.running), worker.idle_since))
        view.fleet.drain([worker.number for worker in serving[:-missing]], view.now)
    view.set_desired(target)
