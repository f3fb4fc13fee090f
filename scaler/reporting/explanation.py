# SPDX-License-Identifier: Apache-2.0
"""Why there are so many workers, in sentences, from a decision's line.

The page and `openmwaa explain` say the same words, because both get them from here. Everything is read from the line
as it was logged, so that a decision of last week is told like one of this second; what a line lacks is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Line: TypeAlias = Mapping[str, Any]

_SOURCES: Mapping[str, str] = {
    "database": "says Airflow's database",
    "database+broker": "the broker says more than Airflow's database",
    "database (stale)": "said Airflow's database when it last answered",
    "broker": "says the broker",
    "broker (stale)": "said the broker when it last answered",
}
_PAUSES: Mapping[str, str] = {
    "in": "paused scale-in, so no worker is let go",
    "out": "paused scale-out, so no worker is added",
    "both": "paused scaling, so the count stays",
}
_AT_A_WORKER = re.compile(r" at (\d+) a worker")
_WHY_WANTED_DIFFERS = ("window", "zero", "fallback", "adopted", "bounds")
_WHY_DESIRED_IS_LESS = ("launch", "pause", "generations")


def answer(line: Line) -> tuple[str, ...]:
    """Return why the count is what it is: the count, the demand, what it takes, and what stands between the two."""
    parts = (_count(line), _demand(line), _deviation(line), orders(line))
    return tuple(sentence for part in parts for sentence in part)


def outlook(line: Line) -> tuple[str, ...]:
    """Return what happens next if nothing else does."""
    workers = _mapping(line, "workers")
    stuck = _number(workers, "stuck")
    said: list[str] = []
    if workers and workers.get("busy", 0) is None:
        said.append("What the workers do is unknown: their tasks cannot be read.")
    for number, words in (
        (_number(workers, "starting") - stuck, "On the way up: {}."),
        (stuck, "Not counted on, for it did not start to work in time: {}."),
        (_number(workers, "draining"), "In drain: {}; takes nothing new and leaves when its last task has ended."),
        (_number(workers, "released"), "Released: {}; has nothing left to do and is stopped next."),
    ):
        if number > 0:
            said.append(words.format(_plural(number, "worker")))
    said += _rollout(line)
    said += [_sentence(text) for text in steps(line, "dry run")]
    said += [
        f"No reduction yet: {text.removeprefix('not yet: ')}."
        for text in steps(line, "reduce")
        if text.startswith("not yet")
    ]
    needed, wanted, low = line.get("needed"), line.get("wanted"), line.get("min")
    if needed is not None and wanted is not None and low is not None and max(needed, low) < wanted:
        goal = _plural(max(needed, low), "worker")
        said.append(f"Falls to {goal} if no more is needed for a whole scale-in window and all sources are known.")
    if until := _mapping(line, "controls").get("until"):
        said.append(f"What was ordered ends at {until}.")
    return tuple(said or ["Nothing is under way: the count changes when the demand does."])


def orders(line: Line) -> Iterator[str]:
    """Yield what a person ordered and is in force."""
    controls = _mapping(line, "controls")
    what = []
    for words, value in (
        ("fixed the fleet at {}", controls.get("fixed")),
        ("set the minimum to {}", controls.get("min")),
        ("set the maximum to {}", controls.get("max")),
    ):
        if value is not None:
            what.append(words.format(value))
    if controls.get("pause", "none") in _PAUSES:
        what.append(_PAUSES[controls["pause"]])
    if controls.get("dry_run"):
        what.append("ordered a dry run, so decisions are made and not carried out")
    if what:
        since = f" at {controls['at']}" if controls.get("at") else ""
        why = f" (“{controls['why']}”)" if controls.get("why") else ""
        yield f"{controls.get('by') or 'Somebody'}{since} {' and '.join(what)}{why}."
    if line.get("controls_state") == "unknown":
        yield "Orders of people cannot be read at the moment."


def steps(line: Line, *names: str) -> Iterator[str]:
    """Yield the texts of the explanation's steps of these names."""
    for text in line.get("explanation") or ():
        name, colon, rest = str(text).partition(": ")
        if colon and name in names:
            yield rest


def slots_per_worker(line: Line) -> int | None:
    """Return the slots a worker that the decision reckoned with; agents may report others than are configured."""
    found = (_AT_A_WORKER.search(text) for text in steps(line, "slots"))
    return next((int(match[1]) for match in found if match), None)


def is_change(line: Line) -> bool:
    """Whether the decision did or tried something: who asks what happened wants to see these."""
    acted = line.get("kind") not in {"hold", "blind"}
    return acted or "update_service" in line or line.get("desired") != line.get("desired_before")


def _count(line: Line) -> Iterator[str]:
    desired, running = line.get("desired"), line.get("running")
    if desired is None or running is None:
        yield f"How many workers there are is unknown. {line.get('reason', '')}".strip()
    elif desired == running:
        yield f"{_workers(desired)} desired and running."
    elif running < desired:
        yield f"{_workers(desired)} desired: {running} running, {desired - running} on the way up."
    else:
        yield f"{_workers(desired)} desired: {running} running, {running - desired} on the way down."


def _demand(line: Line) -> Iterator[str]:
    demand, needed = line.get("demand"), line.get("needed")
    if not demand:
        yield "The demand is unknown, and unknown is never taken for nothing: the fleet does not shrink."
        return
    slots = demand.get("slots", demand["queued"] + demand["running"])
    source = _SOURCES.get(demand["source"], demand["source"])
    if slots == 0:
        yield f"No task slot is wanted ({source})."
        return
    yield f"{_plural(slots, 'task slot')} wanted: {demand['queued']} queued + {demand['running']} running ({source})."
    if needed is not None:
        each = slots_per_worker(line)
        takes = f"that takes {_plural(needed, 'worker')}."
        yield f"A worker has {_plural(each, 'slot')}, so {takes}" if each else takes.capitalize()


def _deviation(line: Line) -> Iterator[str]:
    """Yield why the count is not simply what the demand takes."""
    needed, wanted, desired = line.get("needed"), line.get("wanted"), line.get("desired")
    if wanted is not None and needed != wanted:
        yield from _bounded(line, needed, wanted)
    if wanted is None or desired is None or wanted == desired:
        return
    if desired > wanted:
        yield (
            f"Only {wanted} wanted now; {desired - wanted} more stay, because no worker is stopped before its last "
            f"task has ended ({_held(line)})."
        )
    else:
        why = [_sentence(text) for text in steps(line, *_WHY_DESIRED_IS_LESS)]
        yield " ".join([f"{wanted} are wanted.", *(why or [_sentence(str(line.get("reason", "")))])])


def _bounded(line: Line, needed: int | None, wanted: int) -> Iterator[str]:
    """Yield why other than what is needed is wanted."""
    low, high = line.get("min"), line.get("max")
    if low == high == wanted:
        yield f"The size is fixed at {low}."
    elif needed is not None and needed < wanted == low:
        yield f"The minimum is {low}."
    elif needed is not None and needed > wanted == high:
        yield f"The maximum is {high}, so there {'is' if needed - high == 1 else 'are'} {needed - high} too few."
    else:
        yield from map(_sentence, steps(line, *_WHY_WANTED_DIFFERS))


def _rollout(line: Line) -> Iterator[str]:
    """Yield which workers leave because a newer revision serves."""
    for name, each in _mapping(line, "generations").items():
        if line.get("current") not in {None, name} and _number(each, "running"):
            yield f"Rollout: {_plural(each['running'], 'worker')} of {name} let go, each when its last task has ended."


def _held(line: Line) -> str:
    workers = _mapping(line, "workers")
    states = (("busy", "busy"), ("draining", "in drain"), ("released", "released"), ("unknown", "unread"))
    words = [f"{_number(workers, key)} {word}" for key, word in states if _number(workers, key)]
    return ", ".join(words) or f"{line.get('protected', 'unknown')} protected"


def _mapping(line: Line, name: str) -> Line:
    value = line.get(name)
    return value if isinstance(value, Mapping) else {}


def _number(values: Line, name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else 0


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _workers(number: int) -> str:
    return "No worker" if number == 0 else _plural(number, "worker")


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
