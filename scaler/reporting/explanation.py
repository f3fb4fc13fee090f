# SPDX-License-Identifier: Apache-2.0
"""Why a fleet has its number of workers, in short sentences made from a decision line.

The page and `openmwaa explain` show the same sentences. Only numbers, flags and step names of the line are read here,
never the text of a sentence.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from scaler.core.explain import count as plural

Line: TypeAlias = Mapping[str, Any]

LINE_VERSION = 1
"""The version of the decision lines that this module reads; a line of another version is not read."""

_SOURCES: Mapping[str, str] = {
    "database": "from Airflow's database",
    "database+broker": "from the broker, which counts more than Airflow's database",
    "broker": "from the broker",
}
_PAUSES: Mapping[str, str] = {"in": "scale-in paused", "out": "scale-out paused", "both": "scaling paused"}
_WHY_TARGET_DIFFERS = ("window", "zero", "fallback", "adopted", "bounds")
_WHY_DESIRED_IS_LESS = ("launch", "pause", "services")


def summary(line: Line) -> tuple[str, ...]:
    """Return the count, the demand, the workers it needs, and why the count differs."""
    parts = (_count(line), _demand(line), _deviation(line), overrides(line))
    return tuple(sentence for part in parts for sentence in part)


def next_steps(line: Line) -> tuple[str, ...]:
    """Return what happens next if nothing else changes."""
    workers = _mapping(line, "workers")
    stuck = _number(workers, "stuck")
    found: list[str] = []
    if workers and workers.get("busy", 0) is None:
        found.append("Worker states unknown: the tasks cannot be read.")
    for number, words in (
        (_number(workers, "starting") - stuck, "Starting: {}."),
        (stuck, "Not started in time, not counted: {}."),
        (_number(workers, "draining"), "Draining: {}. A draining worker takes no new task and stops after its last."),
        (_number(workers, "released"), "Released: {}, stopped next."),
    ):
        if number > 0:
            found.append(words.format(plural(number, "worker")))
    found += _rollout(line)
    found += [f"{step['text']}." for step in steps(line, "dry run")]
    found += [f"{step['text']}." for step in steps(line, "reduce") if step["values"].get("blocked")]
    needed, target, low = line.get("needed"), line.get("target"), line.get("min")
    if needed is not None and target is not None and low is not None and max(needed, low) < target:
        goal = plural(max(needed, low), "worker")
        found.append(f"Scale-in to {goal} after one scale-in window with no higher need and all sources known.")
    if until := _mapping(line, "overrides").get("until"):
        found.append(f"The override ends at {until}.")
    return tuple(found or ["No change in progress."])


def overrides(line: Line) -> Iterator[str]:
    """Yield the manual overrides in force."""
    override = _mapping(line, "overrides")
    limits = (("fixed at", override.get("fixed")), ("minimum", override.get("min")), ("maximum", override.get("max")))
    what = [f"{words} {value}" for words, value in limits if value is not None]
    if override.get("pause", "none") in _PAUSES:
        what.append(_PAUSES[override["pause"]])
    if override.get("dry_run"):
        what.append("dry run without changes")
    if what:
        since = f" at {override['at']}" if override.get("at") else ""
        reason = f" ({override['reason']})" if override.get("reason") else ""
        yield f"Override by {override.get('by') or 'unknown'}{since}: {', '.join(what)}{reason}."
    if line.get("overrides_state") == "unknown":
        yield "Overrides unreadable."


def steps(line: Line, *names: str) -> Iterator[Line]:
    """Yield the explanation's steps of these names."""
    yield from (step for step in line.get("explanation") or () if step["name"] in names)


def is_change(line: Line) -> bool:
    """Whether the decision did or tried something."""
    acted = line.get("kind") not in {"hold", "blind"}
    return acted or "update_service" in line or line.get("desired") != line.get("desired_before")


def _count(line: Line) -> Iterator[str]:
    desired, running = line.get("desired"), line.get("running")
    if desired is None or running is None:
        yield f"Worker count unknown. {line.get('reason', '')}".strip()
        return
    moving = f", {desired - running} starting" if running < desired else f", {running - desired} stopping"
    yield f"{plural(desired, 'worker')} desired, {running} running{moving if running != desired else ''}."


def _demand(line: Line) -> Iterator[str]:
    demand, needed = line.get("demand"), line.get("needed")
    if not demand:
        yield "Demand unknown: no scale-in."
        return
    source = _source(line, demand["source"]) + (", last reading" if demand["stale"] else "")
    if lost := demand.get("without_message"):
        yield f"{plural(lost, 'queued task')} without a message in the broker: no worker can run them."
    if not_due := demand.get("not_due"):
        yield f"{plural(not_due, 'message')} not due yet."
    if demand["slots"] == 0:
        yield f"No slots needed ({source})."
        return
    tasks = f"{demand['queued']} queued + {demand['running']} running"
    # The slots of a metric are not the sum of the tasks.
    parts = f"{source}; {tasks}" if demand["source"] == "metric" else f"{tasks}, {source}"
    slots = f"{plural(demand['slots'], 'slot')} needed ({parts})"
    yield slots + (
        f" / {line['slots_per_worker']} per worker = {plural(needed, 'worker')}." if needed is not None else "."
    )


def _source(line: Line, source: str) -> str:
    """Return the source in words, with the name of a CloudWatch metric."""
    if source != "metric":
        return _SOURCES.get(source, source)
    names = [step["values"]["metric"] for step in steps(line, "demand") if "metric" in step["values"]]
    return " ".join(["from the CloudWatch metric", *names[:1]])


def _deviation(line: Line) -> Iterator[str]:
    """Yield why the count differs from the workers that the demand needs."""
    needed, target, desired = line.get("needed"), line.get("target"), line.get("desired")
    if target is not None and needed != target:
        yield from _bounded(line, needed, target)
    if target is None or desired is None or target == desired:
        return
    if desired > target:
        yield f"Target {target}. {plural(desired - target, 'more worker')} until their last tasks end ({_held(line)})."
    else:
        why = [f"{step['text']}." for step in steps(line, *_WHY_DESIRED_IS_LESS)]
        yield " ".join([f"Target {target}.", *(why or [str(line.get("reason", ""))])])


def _bounded(line: Line, needed: int | None, target: int) -> Iterator[str]:
    low, high = line.get("min"), line.get("max")
    if low == high == target:
        yield f"Fixed at {low}."
    elif needed is not None and needed < target == low:
        yield f"Raised to minimum {low}."
    elif needed is not None and needed > target == high:
        yield f"Limited by maximum {high}: {plural(needed - high, 'worker')} short."
    else:
        yield from (f"{step['text']}." for step in steps(line, *_WHY_TARGET_DIFFERS))


def _rollout(line: Line) -> Iterator[str]:
    """Yield the workers that leave because a newer revision serves."""
    for name, service in _mapping(line, "services").items():
        if line.get("current") not in {None, name} and _number(service, "running"):
            yield f"Rollout: {plural(service['running'], 'worker')} of {name} stop after their last tasks."


def _held(line: Line) -> str:
    workers = _mapping(line, "workers")
    states = (("busy", "busy"), ("draining", "draining"), ("released", "released"), ("unknown", "unknown"))
    words = [f"{_number(workers, key)} {word}" for key, word in states if _number(workers, key)]
    return ", ".join(words) or f"{line.get('protected', 'unknown')} protected"


def _mapping(line: Line, name: str) -> Line:
    value = line.get(name)
    return value if isinstance(value, Mapping) else {}


def _number(values: Line, name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else 0
