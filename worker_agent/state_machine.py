# SPDX-License-Identifier: Apache-2.0
"""When the gate may open, when protection is asked for, renewed and given back: pure, time passed in.

`step(state, event, now)` returns the next state and what to do. It knows three things that never bend:

- the gate is open only while this task is known to be protected;
- protection is given back only after the consumer's own thread saw, behind the very gate that is shut now, that no
  receive is in flight and nothing is held or running;
- an answer that was lost, late or not understood is never "protected", and after a lost answer to a release the gate
  stays shut until a new protection is granted.

All times are seconds of one monotonic clock.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class Want(StrEnum):
    """What the worker was last told to do."""

    CONSUME = "consume"
    DRAIN = "drain"
    STOP = "stop"


class Phase(StrEnum):
    """What the worker does, in the words of the wire format."""

    STARTING = "starting"
    REFUSED = "refused"
    CONSUMING = "consuming"
    DRAINING = "draining"
    RELEASING = "releasing"
    RELEASED = "released"
    STOPPING = "stopping"


class Release(StrEnum):
    """How far giving back the protection has come; `SENT` covers answers that were lost."""

    NO = "no"
    SENT = "sent"
    DONE = "done"


class Ask(StrEnum):
    """What a protection call asks of ECS."""

    PROTECT = "protect"
    RELEASE = "release"


class Verdict(StrEnum):
    """What an answer of ECS means; `FAILED` is every answer that leaves the truth unknown."""

    PROTECTED = "protected"
    UNPROTECTED = "unprotected"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Policy:
    """How patient the machine is; all in seconds but `renew_at`."""

    renew_at: float = 0.5
    """Share of a protection's life after which it is renewed."""
    margin_s: float = 5.0
    """The gate shuts this long before protection ends, for clocks differ."""
    settle_s: float = 10.0
    """After a release without an answer nothing is asked for this long: the ECS agent gives up on its own call after
    4 s, and a late "unprotect" must not undo the next "protect"."""
    backoff_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0)


@dataclass(frozen=True)
class Snapshot:
    """What the consumer's own thread saw at one instant; counts of messages, durations in seconds."""

    generation: int
    gate_open: bool
    polls_in_flight: int
    reserved: int
    running: int
    unacked: int
    concurrency: int
    longest_running_s: float | None = None
    drainable: bool = True

    @property
    def busy(self) -> bool:
        """True while a message is on its way, held, running or not acknowledged."""
        return bool(self.polls_in_flight or self.reserved or self.running or self.unacked)


@dataclass(frozen=True)
class Seen:
    """The consumer's thread looked."""

    snapshot: Snapshot


@dataclass(frozen=True)
class Drain:
    """Shut the gate, finish what runs, release; for `lease_s` seconds unless told again."""

    lease_s: float


@dataclass(frozen=True)
class Resume:
    """Consume again, protected first."""


@dataclass(frozen=True)
class Terminate:
    """The process was told to end; the gate never opens again."""


@dataclass(frozen=True)
class Tick:
    """Time passed."""


@dataclass(frozen=True)
class Answered:
    """The answer to call `number`; `until` is the end of a granted protection."""

    number: int
    verdict: Verdict
    until: float | None = None
    reason: str | None = None


Event = Seen | Drain | Resume | Terminate | Tick | Answered


@dataclass(frozen=True)
class OpenGate:
    """Let the consumer take messages until `until`, when the gate shuts without being told."""

    generation: int
    until: float


@dataclass(frozen=True)
class ShutGate:
    """Let no new receive begin."""

    generation: int


@dataclass(frozen=True)
class Call:
    """Ask ECS; one call at a time, and every call is answered by one `Answered`."""

    number: int
    ask: Ask


Action = OpenGate | ShutGate | Call


@dataclass(frozen=True)
class State:
    """All that the machine remembers."""

    policy: Policy = field(default_factory=Policy)
    want: Want = Want.CONSUME
    generation: int = 0
    gate_until: float | None = None
    protected_until: float | None = None
    release: Release = Release.NO
    call: Call | None = None
    calls: int = 0
    failures: int = 0
    next_call_at: float = 0.0
    settle_until: float = 0.0
    refusal: str | None = None
    lease_until: float | None = None
    seen: Snapshot | None = None

    @property
    def phase(self) -> Phase:
        """The phase in the wire format's words."""
        if self.want is Want.STOP:
            return Phase.STOPPING
        if self.want is Want.DRAIN:
            return _DRAIN_PHASES[self.release]
        if self.gate_until is not None:
            return Phase.CONSUMING
        return Phase.REFUSED if self.refusal else Phase.STARTING

    @property
    def drained(self) -> bool:
        """True once the consumer's thread saw this very gate shut and nothing left behind it."""
        seen = self.seen
        return (
            self.gate_until is None
            and seen is not None
            and seen.drainable
            and not seen.gate_open
            and seen.generation == self.generation
            and not seen.busy
        )


_DRAIN_PHASES: Final = {
    Release.NO: Phase.DRAINING,
    Release.SENT: Phase.RELEASING,
    Release.DONE: Phase.RELEASED,
}
EXPIRED: Final = "protection ended before it could be renewed"


def step(state: State, event: Event, now: float) -> tuple[State, tuple[Action, ...]]:
    """Return the next state and what to do, in order."""
    state = _apply(state, event, now)
    state = _pass_time(state, now)
    state, gate_actions = _order_gate(state)
    state, call_actions = _ask(state, now)
    return state, gate_actions + call_actions


def wake_at(state: State) -> float:
    """Return when the next `Tick` is needed, if no event comes before."""
    times = [] if state.lease_until is None else [state.lease_until]
    if state.protected_until is not None:
        times.append(state.protected_until - state.policy.margin_s)
    if state.call is None and _should_protect(state):
        times.append(max(state.next_call_at, state.settle_until))
    if state.call is None and state.want is Want.DRAIN and state.release is Release.SENT:
        times.append(state.next_call_at)
    return min(times, default=float("inf"))


def _apply(state: State, event: Event, now: float) -> State:
    match event:
        case Seen(snapshot):
            return replace(state, seen=snapshot)
        case Drain(lease_s) if state.want is not Want.STOP:
            return replace(state, want=Want.DRAIN, lease_until=now + lease_s)
        case Resume() if state.want is Want.DRAIN:
            return _consume_again(state, now)
        case Terminate():
            return replace(state, want=Want.STOP, lease_until=None)
        case Answered(number=number) if state.call is not None and state.call.number == number:
            learn = _learn_protect if state.call.ask is Ask.PROTECT else _learn_release
            return learn(replace(state, call=None), event, now)
        case _:
            return state


def _consume_again(state: State, now: float) -> State:
    state = replace(state, want=Want.CONSUME, lease_until=None)
    if state.release is not Release.NO:  # whatever was held is gone: ask at once
        state = replace(state, next_call_at=now, failures=0, refusal=None)
    return state


def _learn_protect(state: State, answer: Answered, now: float) -> State:
    if answer.verdict is Verdict.PROTECTED and answer.until is not None:
        # A clock that is an hour ahead makes every protection end in the past: then ask no faster than after a failure.
        renew = now + max((answer.until - now) * state.policy.renew_at, state.policy.backoff_s[0])
        return replace(state, protected_until=answer.until, refusal=None, failures=0, next_call_at=renew)
    state = _count_failure(replace(state, refusal=answer.reason or answer.verdict.value), now)
    # A refused renewal leaves the protection that is held; only ECS saying "not protected" takes it away.
    return replace(state, protected_until=None) if answer.verdict is Verdict.UNPROTECTED else state


def _learn_release(state: State, answer: Answered, now: float) -> State:
    if answer.verdict is Verdict.UNPROTECTED:
        return replace(state, release=Release.DONE, refusal=None, failures=0, next_call_at=now)
    state = _count_failure(replace(state, refusal=answer.reason or answer.verdict.value), now)
    return replace(state, settle_until=now + state.policy.settle_s)


def _count_failure(state: State, now: float) -> State:
    backoff = state.policy.backoff_s
    wait = backoff[min(state.failures, len(backoff) - 1)]
    return replace(state, failures=state.failures + 1, next_call_at=now + wait)


def _pass_time(state: State, now: float) -> State:
    if state.protected_until is not None and state.protected_until - state.policy.margin_s <= now:
        state = replace(state, protected_until=None, refusal=state.refusal or EXPIRED)
    if state.want is Want.DRAIN and state.lease_until is not None and state.lease_until <= now:
        state = _consume_again(state, now)
    return state


def _order_gate(state: State) -> tuple[State, tuple[Action, ...]]:
    may_open = state.want is Want.CONSUME and state.protected_until is not None
    until = state.protected_until - state.policy.margin_s if may_open and state.protected_until is not None else None
    if until == state.gate_until:
        return state, ()
    # A longer protection prolongs the same opening; opening or shutting begins a new generation.
    crossed = (until is None) != (state.gate_until is None)
    generation = state.generation + crossed
    action = ShutGate(generation) if until is None else OpenGate(generation, until)
    return replace(state, generation=generation, gate_until=until), (action,)


def _ask(state: State, now: float) -> tuple[State, tuple[Action, ...]]:
    if state.call is not None:
        return state, ()
    if _should_release(state, now):
        return _issue(replace(state, release=Release.SENT, protected_until=None), Ask.RELEASE)
    if _should_protect(state) and now >= max(state.next_call_at, state.settle_until):
        return _issue(replace(state, release=Release.NO), Ask.PROTECT)
    return state, ()


def _should_release(state: State, now: float) -> bool:
    if state.want is not Want.DRAIN or not state.drained:
        return False
    return state.release is Release.NO or (state.release is Release.SENT and now >= state.next_call_at)


def _should_protect(state: State) -> bool:
    held = state.protected_until is not None
    busy = state.seen is not None and state.seen.busy
    match state.want:
        case Want.CONSUME:
            return True
        case Want.DRAIN:
            return state.release is Release.NO and (held or busy)
        case Want.STOP:
            return held


def _issue(state: State, ask: Ask) -> tuple[State, tuple[Action, ...]]:
    call = Call(number=state.calls + 1, ask=ask)
    return replace(state, call=call, calls=call.number), (call,)
