# SPDX-License-Identifier: Apache-2.0
"""What must hold whatever happens: Hypothesis plays ECS, a lossy network, a consumer, a scaler and time."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from worker_agent.state_machine import (
    Action,
    Answered,
    Ask,
    Call,
    Drain,
    Event,
    OpenGate,
    Phase,
    Resume,
    Seen,
    ShutGate,
    Snapshot,
    State,
    Terminate,
    Tick,
    Verdict,
    step,
    wake_at,
)

LIFE_S = 600.0


@dataclass
class Ecs:
    """The truth: until when the task is protected, and a release that is still on its way."""

    protected_until: float = 0.0
    late_release_at: float | None = None

    def protected(self, now: float) -> bool:
        if self.late_release_at is not None and now >= self.late_release_at:
            self.protected_until, self.late_release_at = 0.0, None
        return now < self.protected_until


class AgentOnATrial(RuleBasedStateMachine):
    """Drives the machine with everything that may come, and compares it with the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.now = 0.0
        self.ecs = Ecs()
        self.order = (0, -1.0)  # generation and until when the gate is open, as the consumer's thread sees it
        self.polls = 0
        self.held = 0
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
                self.order = (generation, until)
            case ShutGate(generation):
                self.order = (generation, -1.0)
            case Call():
                assert self.pending is None, "two calls at once"
                self.pending = action
                if action.ask is Ask.RELEASE:
                    assert not self.gate_open(), "released behind an open gate"
                    assert (self.polls, self.held) == (0, 0), "released with work in hand"

    def gate_open(self) -> bool:
        return self.now < self.order[1]

    def see(self) -> Snapshot:
        return Snapshot(self.order[0], self.gate_open(), self.polls, self.held, self.held, self.held, 4)

    @initialize(mortal=st.sampled_from([False, False, False, True]))
    def begin(self, mortal: bool) -> None:
        self.mortal = mortal  # a SIGTERM ends all that is worth trying, so most runs have none
        self.feed(Seen(self.see()))

    @rule(seconds=st.sampled_from([0.1, 1, 1, 4, 12, 31, 301, 700]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.feed(Tick())

    @rule()
    def the_next_due_moment_comes(self) -> None:
        due = wake_at(self.state)
        if due != float("inf"):
            self.now = max(self.now, due)
            self.feed(Tick())

    @precondition(lambda self: self.pending)
    @rule(fate=st.sampled_from(["done", "done", "done", "late", "late", "refused", "lost", "taken"]))
    def ecs_answers(self, fate: str) -> None:
        call, self.pending = self.pending, None
        assert call is not None
        if call.ask is Ask.PROTECT:
            self.protect(call, fate)
        else:
            self.release(call, fate)

    def protect(self, call: Call, fate: str) -> None:
        if fate in {"done", "lost", "late"}:
            self.ecs.protected(self.now)
            self.ecs.protected_until = self.now + LIFE_S
        if fate == "taken":
            self.ecs.protected_until = 0.0
            self.feed(Answered(call.number, Verdict.UNPROTECTED, reason=fate))
        elif fate == "done":
            self.feed(Answered(call.number, Verdict.PROTECTED, until=self.now + LIFE_S))
        else:
            self.feed(Answered(call.number, Verdict.REFUSED if fate == "refused" else Verdict.FAILED, reason=fate))

    def release(self, call: Call, fate: str) -> None:
        if fate in {"done", "lost"}:
            self.ecs.protected_until = 0.0
        if fate == "late":  # the ECS agent gives up after 4 s
            self.ecs.late_release_at = self.now + 4
        if fate == "done":
            self.feed(Answered(call.number, Verdict.UNPROTECTED))
        else:
            self.feed(Answered(call.number, Verdict.REFUSED if fate == "refused" else Verdict.FAILED, reason=fate))

    @precondition(lambda self: self.gate_open() and not self.polls)
    @rule()
    def a_receive_begins(self) -> None:
        self.polls += 1

    @precondition(lambda self: self.polls or self.held)
    @rule(brings=st.booleans())
    def a_receive_or_a_task_ends(self, brings: bool) -> None:
        if self.polls:
            self.polls -= 1
            self.held += brings
        else:
            self.held -= 1

    @rule()
    def the_consumer_looks_and_is_heard_at_once(self) -> None:
        self.snapshots.append(self.see())
        while self.snapshots:
            self.feed(Seen(self.snapshots.pop(0)))

    @rule()
    def the_consumer_looks(self) -> None:
        self.snapshots.append(self.see())

    @precondition(lambda self: self.snapshots)
    @rule()
    def what_it_saw_arrives(self) -> None:
        self.feed(Seen(self.snapshots.pop(0)))

    @rule(lease_s=st.sampled_from([1, 30, 500]))
    def drain(self, lease_s: int) -> None:
        self.feed(Drain(lease_s))
        assert self.state.gate_until is None, "the gate is open after a drain"

    @rule()
    def resume(self) -> None:
        self.feed(Resume())

    @precondition(lambda self: self.mortal and not self.terminated)
    @rule()
    def sigterm(self) -> None:
        self.terminated = True
        self.feed(Terminate())

    @precondition(lambda self: self.pending)
    @rule(number=st.integers(0, 3))
    def a_stray_answer_comes(self, number: int) -> None:
        if self.pending is None or self.pending.number != number:
            self.feed(Answered(number, Verdict.PROTECTED, until=self.now + LIFE_S))

    @invariant()
    def an_open_gate_is_protected(self) -> None:
        assert not self.gate_open() or self.ecs.protected(self.now), "the gate is open without protection"

    @invariant()
    def a_worker_in_hand_was_never_released(self) -> None:
        if self.state.phase in {Phase.RELEASING, Phase.RELEASED}:
            assert (self.polls, self.held) == (0, 0), "released, and work is in hand"

    @invariant()
    def consuming_means_open(self) -> None:
        assert (self.state.phase is Phase.CONSUMING) == (self.state.gate_until is not None)

    def teardown(self) -> None:
        """Whatever came before: left alone with an ECS that grants, the worker consumes again or stops."""
        for _ in range(20):
            if self.pending:
                self.ecs_answers("done")
            due = wake_at(self.state)
            self.now = max(self.now, min(due, self.now + 1000))
            self.feed(Tick())
            if self.state.phase in {Phase.CONSUMING, Phase.STOPPING} and not self.pending:
                break
        expected = {Phase.STOPPING} if self.terminated else {Phase.CONSUMING}
        assert self.state.phase in expected, f"left alone it ended in {self.state.phase}: {self.state}"


AgentOnATrial.TestCase.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
TestAgentOnATrial = AgentOnATrial.TestCase
