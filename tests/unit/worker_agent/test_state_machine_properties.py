# SPDX-License-Identifier: Apache-2.0
"""Properties of the state machine under generated events of ECS, a lossy network, a consumer, a scaler and time."""

import os
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from worker_agent.state_machine import (
    Action,
    Call,
    CallAnswered,
    CloseGate,
    Drain,
    Event,
    OpenGate,
    Phase,
    ProtectionRequest,
    ProtectionResult,
    Resume,
    Snapshot,
    SnapshotTaken,
    Terminate,
    TimePassed,
    WorkerState,
    next_deadline,
    step,
)

LIFE_S = 600.0


@dataclass
class EcsProtection:
    """The protection in ECS: its end, and a release that takes effect later."""

    protected_until: float = 0.0
    late_release_at: float | None = None

    def protected(self, now: float) -> bool:
        if self.late_release_at is not None and now >= self.late_release_at:
            self.protected_until, self.late_release_at = 0.0, None
        return now < self.protected_until


class StateMachineProperties(RuleBasedStateMachine):
    """Applies all events in any order and compares the state with the protection in ECS."""

    def __init__(self) -> None:
        super().__init__()
        self.state = WorkerState()
        self.now = 0.0
        self.ecs = EcsProtection()
        self.gate = (0, -1.0)  # generation and end of the opening, as the consumer's thread reads them
        self.polls = 0
        self.unfinished = 0
        self.pending: Call | None = None
        self.snapshots: list[Snapshot] = []
        self.terminated = False
        self.released_since_opening = False

    def feed(self, event: Event) -> None:
        self.state, actions = step(self.state, event, self.now)
        for action in actions:
            self.act(action)

    def act(self, action: Action) -> None:
        match action:
            case OpenGate(generation, until):
                assert self.ecs.protected(self.now), "the gate opened without protection"
                assert until <= self.ecs.protected_until, "the gate stays open longer than the protection"
                assert not self.terminated, "the gate opened after SIGTERM"
                self.gate = (generation, until)
            case CloseGate(generation):
                self.gate = (generation, -1.0)
            case Call():
                assert self.pending is None, "two calls at once"
                self.pending = action
                if action.request is ProtectionRequest.RELEASE:
                    assert not self.gate_open(), "released with an open gate"
                    assert (self.polls, self.unfinished) == (0, 0), "released with unfinished work"

    def gate_open(self) -> bool:
        return self.now < self.gate[1]

    def take_snapshot(self) -> Snapshot:
        return Snapshot(
            self.gate[0], self.gate_open(), self.polls, self.unfinished, self.unfinished, self.unfinished, 4
        )

    @initialize(with_sigterm=st.sampled_from([False, False, False, True]))
    def begin(self, with_sigterm: bool) -> None:
        self.with_sigterm = with_sigterm  # after SIGTERM little can happen, so most runs have none
        self.feed(SnapshotTaken(self.take_snapshot()))

    @rule(seconds=st.sampled_from([0.1, 1, 1, 4, 12, 31, 301, 700]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.feed(TimePassed())

    @rule()
    def the_next_deadline_comes(self) -> None:
        due = next_deadline(self.state)
        if due != float("inf"):
            self.now = max(self.now, due)
            self.feed(TimePassed())

    @precondition(lambda self: self.pending)
    @rule(outcome=st.sampled_from(["done", "done", "done", "late", "late", "refused", "lost", "withdrawn"]))
    def ecs_answers(self, outcome: str) -> None:
        call, self.pending = self.pending, None
        assert call is not None
        if call.request is ProtectionRequest.PROTECT:
            self.protect(call, outcome)
        else:
            self.release(call, outcome)

    def protect(self, call: Call, outcome: str) -> None:
        if outcome in {"done", "lost", "late"}:
            self.ecs.protected(self.now)
            self.ecs.protected_until = self.now + LIFE_S
        if outcome == "withdrawn":
            self.ecs.protected_until = 0.0
            self.feed(CallAnswered(call.number, ProtectionResult.UNPROTECTED, reason=outcome))
        elif outcome == "done":
            self.feed(CallAnswered(call.number, ProtectionResult.PROTECTED, until=self.now + LIFE_S))
        else:
            self.fail(call, outcome)

    def release(self, call: Call, outcome: str) -> None:
        if outcome in {"done", "lost"}:
            self.ecs.protected_until = 0.0
        if outcome == "late":  # the ECS agent aborts its call after 4 s
            self.ecs.late_release_at = self.now + 4
        if outcome == "done":
            self.feed(CallAnswered(call.number, ProtectionResult.UNPROTECTED))
        else:
            self.fail(call, outcome)

    def fail(self, call: Call, outcome: str) -> None:
        result = ProtectionResult.REFUSED if outcome == "refused" else ProtectionResult.FAILED
        self.feed(CallAnswered(call.number, result, reason=outcome))

    @precondition(lambda self: self.gate_open() and not self.polls)
    @rule()
    def a_poll_begins(self) -> None:
        self.polls += 1

    @precondition(lambda self: self.polls or self.unfinished)
    @rule(has_message=st.booleans())
    def a_poll_or_a_task_ends(self, has_message: bool) -> None:
        if self.polls:
            self.polls -= 1
            self.unfinished += has_message
        else:
            self.unfinished -= 1

    @rule()
    def a_snapshot_arrives_at_once(self) -> None:
        self.snapshots.append(self.take_snapshot())
        while self.snapshots:
            self.feed(SnapshotTaken(self.snapshots.pop(0)))

    @rule()
    def a_snapshot_is_taken(self) -> None:
        self.snapshots.append(self.take_snapshot())

    @precondition(lambda self: self.snapshots)
    @rule()
    def a_snapshot_arrives(self) -> None:
        self.feed(SnapshotTaken(self.snapshots.pop(0)))

    @rule(lease_s=st.sampled_from([1, 30, 500]))
    def drain(self, lease_s: int) -> None:
        self.feed(Drain(lease_s))
        assert self.state.gate_until is None, "the gate is open after a drain"

    @rule()
    def resume(self) -> None:
        self.feed(Resume())

    @precondition(lambda self: self.with_sigterm and not self.terminated)
    @rule()
    def sigterm(self) -> None:
        self.terminated = True
        self.feed(Terminate())

    @precondition(lambda self: self.pending)
    @rule(number=st.integers(0, 3))
    def a_stray_answer_comes(self, number: int) -> None:
        if self.pending is None or self.pending.number != number:
            self.feed(CallAnswered(number, ProtectionResult.PROTECTED, until=self.now + LIFE_S))

    @invariant()
    def an_open_gate_is_protected(self) -> None:
        assert not self.gate_open() or self.ecs.protected(self.now), "the gate is open without protection"

    @invariant()
    def a_released_worker_has_no_work(self) -> None:
        if self.state.phase in {Phase.RELEASING, Phase.RELEASED}:
            assert (self.polls, self.unfinished) == (0, 0), "released with unfinished work"

    @invariant()
    def consuming_means_an_open_gate(self) -> None:
        assert (self.state.phase is Phase.CONSUMING) == (self.state.gate_until is not None)

    def teardown(self) -> None:
        """If ECS then grants every request, the worker consumes again or stops."""
        for _ in range(20):
            if self.pending:
                self.ecs_answers("done")
            due = next_deadline(self.state)
            self.now = max(self.now, min(due, self.now + 1000))
            self.feed(TimePassed())
            if self.state.phase in {Phase.CONSUMING, Phase.STOPPING} and not self.pending:
                break
        expected = {Phase.STOPPING} if self.terminated else {Phase.CONSUMING}
        assert self.state.phase in expected, f"final phase {self.state.phase}: {self.state}"


StateMachineProperties.TestCase.settings = settings(
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "200")), stateful_step_count=60, deadline=None
)
TestStateMachineProperties = StateMachineProperties.TestCase
