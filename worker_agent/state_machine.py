# SPDX-License-Identifier: Apache-2.0
"""Decides when the gate opens and when protection is requested, renewed and released. Pure: the time is an argument.

`step(state, event, now)` returns the next state and the actions. Three rules always hold:

- the gate is open only while ECS has confirmed that this task is protected;
- protection is released only after a snapshot from the consumer's thread, taken since the gate closed, shows no poll in
  flight and no message that is reserved, running or unacknowledged;
- a lost, late or unexpected answer never counts as "protected". After a release without an answer the gate stays closed
  until a new protection is granted.

All times are seconds of one monotonic clock.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class Mode(StrEnum):
    """The last command to the worker."""

    CONSUME = "consume"
    DRAIN = "drain"
    STOP = "stop"


class Phase(StrEnum):
    """The phase of the worker, as in the wire format."""

    STARTING = "starting"
    REFUSED = "refused"
    CONSUMING = "consuming"
    DRAINING = "draining"
    RELEASING = "releasing"
    RELEASED = "released"
    STOPPING = "stopping"


class Release(StrEnum):
    """Progress of the release of the protection. `SENT` includes lost answers."""

    NO = "no"
    SENT = "sent"
    DONE = "done"


class ProtectionRequest(StrEnum):
    """The kind of a protection call to ECS."""

    PROTECT = "protect"
    RELEASE = "release"


class ProtectionResult(StrEnum):
    """The result of a protection call. `FAILED`: the protection is unknown."""

    PROTECTED = "protected"
    UNPROTECTED = "unprotected"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Policy:
    """Times and delays, in seconds (except `renew_at`)."""

    renew_at: float = 0.5
    """Share of a protection's duration after which it is renewed."""
    margin_s: float = 5.0
    """The gate closes this long before the protection ends, because clocks differ."""
    settle_s: float = 10.0
    """After a release without an answer no protection is requested for this long. The ECS agent aborts its own call
    after 4 s, and a late "unprotect" must not cancel the next "protect"."""
    backoff_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0)


@dataclass(frozen=True)
class Snapshot:
    """State of the consumer at one time, read in its own thread: numbers of messages, durations in seconds."""

    generation: int
    gate_open: bool
    polls_in_flight: int
    reserved: int
    running: int
    unacked: int
    concurrency: int
    longest_running_s: float | None = None
    drainable: bool = True
    scheduled: int = 0
    """Unacknowledged messages that are not due: their tasks have an ETA or a countdown."""

    @property
    def busy(self) -> bool:
        """True while a poll is in flight or a message is reserved, running, unacknowledged or held until its time."""
        return bool(self.polls_in_flight or self.reserved or self.running or self.unacked or self.scheduled)


@dataclass(frozen=True)
class SnapshotTaken:
    """The consumer's thread took a snapshot."""

    snapshot: Snapshot


@dataclass(frozen=True)
class Drain:
    """Close the gate, finish the running tasks, release the protection. Ends after `lease_s` s unless repeated."""

    lease_s: float


@dataclass(frozen=True)
class Resume:
    """Consume again, after a new protection."""


@dataclass(frozen=True)
class Terminate:
    """The process received SIGTERM. The gate never opens again."""


@dataclass(frozen=True)
class TimePassed:
    """Time passed."""


@dataclass(frozen=True)
class CallAnswered:
    """The answer to call `number`. `until` is the expiry of a granted protection."""

    number: int
    result: ProtectionResult
    until: float | None = None
    reason: str | None = None


Event = SnapshotTaken | Drain | Resume | Terminate | TimePassed | CallAnswered


@dataclass(frozen=True)
class OpenGate:
    """Allow polls until `until`. Then the gate closes without a further action."""

    generation: int
    until: float


@dataclass(frozen=True)
class CloseGate:
    """Allow no new poll."""

    generation: int


@dataclass(frozen=True)
class Call:
    """Call ECS; one call at a time, and every call is answered by one `CallAnswered`."""

    number: int
    request: ProtectionRequest


Action = OpenGate | CloseGate | Call


@dataclass(frozen=True)
class WorkerState:
    """The state of the machine."""

    policy: Policy = field(default_factory=Policy)
    mode: Mode = Mode.CONSUME
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
    snapshot: Snapshot | None = None

    @property
    def phase(self) -> Phase:
        """The phase, as in the wire format."""
        if self.mode is Mode.STOP:
            return Phase.STOPPING
        if self.mode is Mode.DRAIN:
            return _DRAIN_PHASES[self.release]
        if self.gate_until is not None:
            return Phase.CONSUMING
        return Phase.REFUSED if self.refusal else Phase.STARTING

    @property
    def drained(self) -> bool:
        """True after a snapshot taken since the gate closed that shows no poll and no message."""
        snapshot = self.snapshot
        return (
            self.gate_until is None
            and snapshot is not None
            and snapshot.drainable
            and not snapshot.gate_open
            and snapshot.generation == self.generation
            and not snapshot.busy
        )


_DRAIN_PHASES: Final = {
    Release.NO: Phase.DRAINING,
    Release.SENT: Phase.RELEASING,
    Release.DONE: Phase.RELEASED,
}
EXPIRED: Final = "protection ended before it could be renewed"


def step(state: WorkerState, event: Event, now: float) -> tuple[WorkerState, tuple[Action, ...]]:
    """Return the next state and the actions, in order."""
    state = _apply(state, event, now)
    state = _pass_time(state, now)
    state, gate_actions = _update_gate(state)
    state, call_actions = _call_ecs(state, now)
    return state, gate_actions + call_actions


def next_deadline(state: WorkerState) -> float:
    """Return when the next `TimePassed` is due if no other event comes before."""
    times = [] if state.lease_until is None else [state.lease_until]
    if state.protected_until is not None:
        times.append(state.protected_until - state.policy.margin_s)
    if state.call is None and _should_protect(state):
        times.append(max(state.next_call_at, state.settle_until))
    if state.call is None and state.mode is Mode.DRAIN and state.release is Release.SENT:
        times.append(state.next_call_at)
    return min(times, default=float("inf"))


def _apply(state: WorkerState, event: Event, now: float) -> WorkerState:
    match event:
        case SnapshotTaken(snapshot):
            return replace(state, snapshot=snapshot)
        case Drain(lease_s) if state.mode is not Mode.STOP:
            return replace(state, mode=Mode.DRAIN, lease_until=now + lease_s)
        case Resume() if state.mode is Mode.DRAIN:
            return _consume_again(state, now)
        case Terminate():
            return replace(state, mode=Mode.STOP, lease_until=None)
        case CallAnswered(number=number) if state.call is not None and state.call.number == number:
            apply = _after_protect if state.call.request is ProtectionRequest.PROTECT else _after_release
            return apply(replace(state, call=None), event, now)
        case _:
            return state


def _consume_again(state: WorkerState, now: float) -> WorkerState:
    state = replace(state, mode=Mode.CONSUME, lease_until=None)
    if state.release is not Release.NO:  # the protection may be gone: request it at once
        state = replace(state, next_call_at=now, failures=0, refusal=None)
    return state


def _after_protect(state: WorkerState, answer: CallAnswered, now: float) -> WorkerState:
    if answer.result is ProtectionResult.PROTECTED and answer.until is not None:
        # With a clock that is an hour ahead every protection ends in the past. Renew no faster than after a failure.
        renew = now + max((answer.until - now) * state.policy.renew_at, state.policy.backoff_s[0])
        return replace(state, protected_until=answer.until, refusal=None, failures=0, next_call_at=renew)
    state = _count_failure(replace(state, refusal=answer.reason or answer.result.value), now)
    # A refused renewal leaves the current protection in place. Only the answer "not protected" ends it.
    return replace(state, protected_until=None) if answer.result is ProtectionResult.UNPROTECTED else state


def _after_release(state: WorkerState, answer: CallAnswered, now: float) -> WorkerState:
    if answer.result is ProtectionResult.UNPROTECTED:
        return replace(state, release=Release.DONE, refusal=None, failures=0, next_call_at=now)
    state = _count_failure(replace(state, refusal=answer.reason or answer.result.value), now)
    return replace(state, settle_until=now + state.policy.settle_s)


def _count_failure(state: WorkerState, now: float) -> WorkerState:
    backoff = state.policy.backoff_s
    wait = backoff[min(state.failures, len(backoff) - 1)]
    return replace(state, failures=state.failures + 1, next_call_at=now + wait)


def _pass_time(state: WorkerState, now: float) -> WorkerState:
    if state.protected_until is not None and state.protected_until - state.policy.margin_s <= now:
        state = replace(state, protected_until=None, refusal=state.refusal or EXPIRED)
    if state.mode is Mode.DRAIN and state.lease_until is not None and state.lease_until <= now:
        state = _consume_again(state, now)
    return state


def _update_gate(state: WorkerState) -> tuple[WorkerState, tuple[Action, ...]]:
    may_open = state.mode is Mode.CONSUME and state.protected_until is not None
    until = state.protected_until - state.policy.margin_s if may_open and state.protected_until is not None else None
    if until == state.gate_until:
        return state, ()
    # A longer protection extends the same opening. Opening and closing begin a new generation.
    crossed = (until is None) != (state.gate_until is None)
    generation = state.generation + crossed
    action = CloseGate(generation) if until is None else OpenGate(generation, until)
    return replace(state, generation=generation, gate_until=until), (action,)


def _call_ecs(state: WorkerState, now: float) -> tuple[WorkerState, tuple[Action, ...]]:
    if state.call is not None:
        return state, ()
    if _should_release(state, now):
        return _issue(replace(state, release=Release.SENT, protected_until=None), ProtectionRequest.RELEASE)
    if _should_protect(state) and now >= max(state.next_call_at, state.settle_until):
        return _issue(replace(state, release=Release.NO), ProtectionRequest.PROTECT)
    return state, ()


def _should_release(state: WorkerState, now: float) -> bool:
    if state.mode is not Mode.DRAIN or not state.drained:
        return False
    return state.release is Release.NO or (state.release is Release.SENT and now >= state.next_call_at)


def _should_protect(state: WorkerState) -> bool:
    protected = state.protected_until is not None
    busy = state.snapshot is not None and state.snapshot.busy
    match state.mode:
        case Mode.CONSUME:
            return True
        case Mode.DRAIN:
            return state.release is Release.NO and (protected or busy)
        case Mode.STOP:
            return protected


def _issue(state: WorkerState, request: ProtectionRequest) -> tuple[WorkerState, tuple[Action, ...]]:
    call = Call(number=state.calls + 1, request=request)
    return replace(state, call=call, calls=call.number), (call,)
