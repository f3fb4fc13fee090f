# SPDX-License-Identifier: Apache-2.0
"""What holds for every decision, whatever was observed and whatever is remembered."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scaler.core.decide import decide
from scaler.core.model import BrokerCount, DatabaseCount, Fleet, Known, Observation, Reading, Stale, Unknown
from scaler.core.record import Tick, to_json
from scaler.core.state import Decision, State
from tests.support.scaler_builders import SILENT, WORKERS, but, kept, observe, only

# 10 000 and more a property where time allows: SCALER_EXAMPLES=10000 pytest tests/unit/scaler/test_properties.py
EXAMPLES = settings(max_examples=int(os.environ.get("SCALER_EXAMPLES", "100")), deadline=None)
LETTING_GO = {"draining", "releasing", "released", "released but protected"}

fleets = st.builds(
    lambda minimum, more, slots: Fleet("default", ("default",), slots, minimum, max(1, minimum + more)),
    st.integers(0, 3),
    st.integers(0, 8),
    st.integers(1, 8),
)
demands = st.tuples(st.integers(0, 60), st.integers(0, 40))


@st.composite
def databases(draw: st.DrawFn, queued: int, running: int) -> Reading[DatabaseCount]:
    count = DatabaseCount(queued, running)
    readings: list[Reading[DatabaseCount]] = [Known(count, 0.0), Known(count, 0.0), Stale(count, 7.0), Unknown("down")]
    return draw(st.sampled_from(readings))


@st.composite
def observations(draw: st.DrawFn, *, known: bool = False, rolling: bool = True) -> Observation:
    workers = draw(st.lists(st.sampled_from(sorted(WORKERS)), max_size=8))
    queued, running = draw(demands)
    old = draw(st.sets(st.integers(0, 7), max_size=3)) if rolling and draw(st.booleans()) else set()
    seen = observe(
        workers,
        desired=max(0, len(workers) + draw(st.integers(-2, 4))),
        queued=queued,
        running=running,
        old=[i for i in old if i < len(workers)],
    )
    if known:
        return seen
    messages = BrokerCount(draw(st.integers(0, 60)), draw(st.integers(0, 40)))
    broker = draw(st.sampled_from([seen.broker, Known(messages, 0.0), Stale(messages, 5.0), Unknown("down")]))
    seen = replace(seen, database=draw(databases(queued, running)), broker=broker)
    hidden: dict[str, Any] = {
        name: SILENT for name in ("service", "tasks", "protected") if draw(st.integers(0, 9)) == 0
    }
    return but(seen, **hidden)


@dataclass(frozen=True)
class Moment:
    fleet: Fleet
    state: State
    now: float
    observation: Observation

    def decide(self, observation: Observation | None = None) -> Decision:
        return decide(self.fleet, observation or self.observation, self.state, self.now)[0]


@st.composite
def moments(draw: st.DrawFn, *, known: bool = False, rolling: bool = True) -> Moment:
    """Return an observation after a random past: other observations, or this one for a whole window."""
    fleet, seen = draw(fleets), draw(observations(known=known, rolling=rolling))
    state, now = State(), 0.0
    for past in draw(st.lists(observations(known=known, rolling=rolling), max_size=3)):
        _, state = decide(fleet, past, state, now)
        now += draw(st.sampled_from([5.0, 20.0, 100.0]))
    for _ in range(draw(st.sampled_from([0, 2, 13, 13]))):
        _, state = decide(fleet, seen, state, now)
        now += fleet.interval_s
    return Moment(fleet, state, now, seen)


def all_known(seen: Observation) -> bool:
    return all(
        isinstance(each, Known)
        for each in (only(seen).service, only(seen).tasks, only(seen).protected, seen.broker, seen.database)
    )


def desired_in(seen: Observation) -> int | None:
    service = only(seen).service
    return service.value.desired if isinstance(service, Known) else None


@EXAMPLES
@given(moments())
def test_unknown_and_stale_never_lower(moment: Moment) -> None:
    assume(not all_known(moment.observation))
    decision, after = decide(moment.fleet, moment.observation, moment.state, moment.now)
    assert not decision.reduces
    # Nobody is newly told to drain either: who is in drain was so already, or says so himself.
    agents = only(moment.observation).agents
    says = {arn for arn, each in agents.items() if isinstance(each, Known) and each.value.phase in LETTING_GO}
    assert set(kept(after).drains) <= set(kept(moment.state).drains) | says


@EXAMPLES
@given(moments())
def test_within_bounds_unless_protection_or_a_hand_put_it_there(moment: Moment) -> None:
    decision, observed = moment.decide(), desired_in(moment.observation)
    if decision.desired is None:
        assert observed is None
        return
    assert decision.desired >= moment.fleet.minimum
    assert decision.desired <= max(moment.fleet.maximum, observed or 0, decision.floor or 0)


@EXAMPLES
@given(moments(rolling=False))
def test_never_below_protected_and_about_to_be(moment: Moment) -> None:
    seen, decision = only(moment.observation), moment.decide()
    if decision.desired is None or not isinstance(seen.tasks, Known) or not isinstance(seen.protected, Known):
        return
    free = 0
    for task in seen.tasks.value:
        agent = seen.agents.get(task.arn)
        phase = agent.value.phase if isinstance(agent, Known) else None
        free += phase in ("released", "stopping") and task.arn not in seen.protected.value
    assert decision.desired >= len(seen.tasks.value) - free


@EXAMPLES
@given(moments())
def test_while_rolling_never_below_what_is_protected(moment: Moment) -> None:
    seen, decision = only(moment.observation), moment.decide()
    if decision.desired is not None and isinstance(seen.protected, Known) and isinstance(seen.tasks, Known):
        assert decision.desired >= len(seen.protected.value)


@EXAMPLES
@given(moments())
def test_reduces_only_by_workers_that_released(moment: Moment) -> None:
    seen, decision = only(moment.observation), moment.decide()
    if not decision.reduces:
        return
    assert isinstance(seen.tasks, Known)
    assert isinstance(seen.protected, Known)
    assert isinstance(seen.service, Known)
    assert decision.desired is not None
    running = {task.arn for task in seen.tasks.value}
    assert running - seen.protected.value == set(decision.released)
    for arn in running:
        agent = seen.agents[arn]
        assert isinstance(agent, Known)
        assert (agent.value.phase == "released") == (arn in decision.released)
    assert all(task.last_status == "RUNNING" for task in seen.tasks.value)
    assert len(seen.service.value.deployments) == 1
    assert decision.desired >= len(seen.protected.value)
    assert not decision.resumes


@EXAMPLES
@given(moments(known=True), st.integers(1, 40))
def test_monotone_in_demand(moment: Moment, more: int) -> None:
    seen = moment.observation
    assert isinstance(seen.database, Known)
    assert isinstance(seen.broker, Known)
    database, broker = seen.database.value, seen.broker.value
    raised = replace(
        seen,
        database=Known(replace(database, queued=database.queued + more), 0.0),
        broker=Known(replace(broker, visible=broker.visible + more), 0.0),
    )
    less, larger = moment.decide(), moment.decide(raised)
    assert larger.desired is not None
    assert less.desired is not None
    assert larger.desired >= less.desired
    assert len(larger.drains) <= len(less.drains)


@EXAMPLES
@given(moments())
def test_what_was_decided_is_a_fixpoint(moment: Moment) -> None:
    decision, state = decide(moment.fleet, moment.observation, moment.state, moment.now)
    service = only(moment.observation).service
    if decision.desired is None or not isinstance(service, Known):
        return
    seen = but(moment.observation, service=replace(service, value=replace(service.value, desired=decision.desired)))
    again, _ = decide(moment.fleet, seen, state, moment.now)
    assert again.foreign_desired is None
    assert again.desired == decision.desired


@EXAMPLES
@given(moments())
def test_commands_go_to_tasks_of_the_fleet_and_never_contradict(moment: Moment) -> None:
    decision = moment.decide()
    assert not set(decision.drains) & set(decision.resumes)
    tasks = only(moment.observation).tasks
    if isinstance(tasks, Known):
        arns = {task.arn for task in tasks.value}
        assert set(decision.drains) | set(decision.resumes) <= arns


@EXAMPLES
@given(moments())
def test_every_decision_explains_itself_and_can_be_kept(moment: Moment) -> None:
    decision, _ = decide(moment.fleet, moment.observation, moment.state, moment.now)
    assert decision.reason.endswith(".")
    assert any(line.startswith("demand:") for line in decision.explanation)
    kept = to_json(Tick(moment.fleet, moment.observation, moment.state, moment.now, decision))
    assert json.loads(json.dumps(kept)) == kept
    assert moment.decide() == decision, "the same input gave another decision"
