# SPDX-License-Identifier: Apache-2.0
"""A workload from the decisions in the scaler's log: the demand over time, without the DAGs behind it.

A rise of the demand is tasks that come, a fall is tasks that end, and `queued` has those that have not started. Tasks
start and end in the order in which they come. So the time of all tasks in slots is that of the log, and their number is
the least possible: the log does not show a task that came while another one ended.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from simulation.workloads.document import WorkloadError, problems_of
from simulation.workloads.model import Workload, WorkloadDag, WorkloadRun, WorkloadTask

LEARN_S = 86400.0
"""At most a third of the log."""
_Count = Annotated[int, Field(ge=0, le=10_000_000)]


class _DemandSeen(BaseModel):
    queued: _Count
    running: _Count


class _DecisionSeen(BaseModel):
    version: Literal[1]
    at: AwareDatetime
    fleet: str
    demand: _DemandSeen | None


def decisions_workload(text: bytes, name: str) -> Workload | None:
    """Return the demand of all fleets as runs that people start, or None if no line of the text is a decision.

    Raises:
        WorkloadError: a decision cannot be read, or there is no demand between two of them.
    """
    fleets: dict[str, list[_DecisionSeen]] = defaultdict(list)
    for number, line in enumerate(text.splitlines(), 1):
        if b'"decision"' in line and isinstance(found := _json(line), dict) and found.get("event") == "decision":
            try:
                decision = _DecisionSeen.model_validate(found)
            except ValidationError as error:
                raise WorkloadError(name, [f"line {number}: {problem}" for problem in problems_of(error)]) from None
            fleets[decision.fleet].append(decision)
    if not fleets:
        return None
    times = [decision.at for decisions in fleets.values() for decision in decisions]
    start, horizon_s = min(times), (max(times) - min(times)).total_seconds()
    runs: list[WorkloadRun] = []
    for fleet, decisions in fleets.items():
        seen = {(decision.at - start).total_seconds(): decision.demand for decision in decisions if decision.demand}
        runs += [
            WorkloadRun(fleet, "manual", came_s, run_times_s=(seconds,)) for came_s, seconds in _tasks(seen, horizon_s)
        ]
    if not runs or not horizon_s:
        raise WorkloadError(name, ["there is no demand between two decisions"])
    dags = {fleet: WorkloadDag(fleet, ((WorkloadTask("task", ((60.0, 0.0),), queue=fleet),),)) for fleet in fleets}
    runs.sort(key=lambda run: run.start_s or 0.0)
    description = "the demand of the scaler's log; the number of tasks is the least possible"
    return Workload(name, horizon_s, min(LEARN_S, horizon_s / 3), dags, tuple(runs), description, start)


def _json(line: bytes) -> object:
    """Return the document of a line; a tool may have put a time or the name of the service before it."""
    try:
        return json.loads(line[line.index(b"{") :])
    except ValueError:
        return None


def _tasks(seen: Mapping[float, _DemandSeen], end_s: float) -> Iterator[tuple[float, float]]:
    """Yield when each task came, and its seconds in a slot."""
    came: list[float] = []
    started: list[float] = []
    ended: list[float] = []
    for at_s, demand in sorted(seen.items()):
        more = demand.queued + demand.running - (len(came) - len(ended))
        came += [at_s] * more
        ended += [at_s] * -more
        started += [at_s] * (len(came) - demand.queued - len(started))
    for number, came_s in enumerate(came):
        began_s, until_s = _at(started, number, end_s), _at(ended, number, end_s)
        yield came_s, max(0.0, until_s - began_s)


def _at(times: Sequence[float], number: int, otherwise: float) -> float:
    return times[number] if number < len(times) else otherwise
