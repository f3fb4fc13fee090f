# SPDX-License-Identifier: Apache-2.0
"""The state machine step by step: the effect of each answer and command."""

from dataclasses import dataclass, field, replace

import pytest

from worker_agent.state_machine import (
    EXPIRED,
    Action,
    Call,
    CallAnswered,
    CloseGate,
    Drain,
    Event,
    OpenGate,
    Phase,
    Policy,
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

LIFE_S = 3600.0
IDLE = Snapshot(
    generation=0, gate_open=False, polls_in_flight=0, reserved=0, running=0, unacked=0, concurrency=4, drainable=True
)


@dataclass
class StateDriver:
    """Applies events; holds the state, the time and the last actions."""

    state: WorkerState = field(default_factory=WorkerState)
    now: float = 0.0
    actions: tuple[Action, ...] = ()

    def feed(self, event: Event) -> tuple[Action, ...]:
        self.state, self.actions = step(self.state, event, self.now)
        return self.actions

    def wait(self, seconds: float) -> tuple[Action, ...]:
        self.now += seconds
        return self.feed(TimePassed())

    def answer(
        self, result: ProtectionResult, *, until: float | None = None, reason: str | None = None
    ) -> tuple[Action, ...]:
        assert self.state.call is not None, "no call is open"
        return self.feed(CallAnswered(self.state.call.number, result, until=until, reason=reason))

    def snapshot(self, **changes: int | bool) -> tuple[Action, ...]:
        snapshot = replace(IDLE, generation=self.state.generation, gate_open=self.state.gate_until is not None)
        return self.feed(SnapshotTaken(replace(snapshot, **changes)))  # type: ignore[arg-type]

    def requested(self) -> ProtectionRequest | None:
        return next((action.request for action in self.actions if isinstance(action, Call)), None)

    @property
    def phase(self) -> Phase:
        return self.state.phase


@pytest.fixture
def driver() -> StateDriver:
    return StateDriver()


@pytest.fixture
def consuming(driver: StateDriver) -> StateDriver:
    driver.feed(TimePassed())
    driver.answer(ProtectionResult.PROTECTED, until=LIFE_S)
    assert driver.phase is Phase.CONSUMING
    return driver


@pytest.fixture
def released(consuming: StateDriver) -> StateDriver:
    consuming.feed(Drain(lease_s=60))
    consuming.snapshot()
    consuming.answer(ProtectionResult.UNPROTECTED)
    assert consuming.phase is Phase.RELEASED
    return consuming


def test_the_first_action_requests_protection_and_the_gate_is_closed(driver: StateDriver) -> None:
    assert driver.feed(TimePassed()) == (Call(1, ProtectionRequest.PROTECT),)
    assert (driver.phase, driver.state.gate_until) == (Phase.STARTING, None)


def test_a_granted_protection_opens_the_gate_until_shortly_before_its_expiry(driver: StateDriver) -> None:
    driver.feed(TimePassed())
    assert driver.answer(ProtectionResult.PROTECTED, until=LIFE_S) == (OpenGate(1, LIFE_S - Policy().margin_s),)


@pytest.mark.parametrize("result", [ProtectionResult.REFUSED, ProtectionResult.FAILED, ProtectionResult.UNPROTECTED])
def test_any_other_answer_keeps_the_gate_closed_and_is_followed_by_a_retry(
    driver: StateDriver, result: ProtectionResult
) -> None:
    driver.feed(TimePassed())
    assert driver.answer(result, reason="DEPLOYMENT_BLOCKED: no") == ()
    assert (driver.phase, driver.state.refusal) == (Phase.REFUSED, "DEPLOYMENT_BLOCKED: no")
    assert driver.wait(0.9) == ()
    assert driver.wait(0.2) == (Call(2, ProtectionRequest.PROTECT),)


def test_retries_after_refusals_are_delayed_up_to_the_longest_back_off(driver: StateDriver) -> None:
    gaps = []
    driver.feed(TimePassed())
    for _ in range(7):
        driver.answer(ProtectionResult.REFUSED)
        gap = driver.state.next_call_at - driver.now
        gaps.append(gap)
        driver.wait(gap)
        assert driver.requested() is ProtectionRequest.PROTECT
    assert gaps == [1, 2, 4, 8, 15, 15, 15]


def test_protection_is_renewed_after_half_its_duration_and_the_gate_stays_open(consuming: StateDriver) -> None:
    assert consuming.wait(LIFE_S / 2 - 1) == ()
    assert consuming.wait(1) == (Call(2, ProtectionRequest.PROTECT),)
    assert consuming.answer(ProtectionResult.PROTECTED, until=2 * LIFE_S) == (OpenGate(1, 2 * LIFE_S - 5),)


def test_after_a_refused_renewal_the_gate_closes_when_the_protection_ends(consuming: StateDriver) -> None:
    consuming.wait(LIFE_S / 2)
    consuming.answer(ProtectionResult.REFUSED, reason="DEPLOYMENT_BLOCKED")
    assert (consuming.phase, consuming.state.refusal) == (Phase.CONSUMING, "DEPLOYMENT_BLOCKED")
    consuming.now = LIFE_S - 5
    assert CloseGate(2) in consuming.feed(TimePassed())
    assert consuming.phase is Phase.REFUSED


def test_a_protection_that_expires_without_an_answer_is_a_refusal(consuming: StateDriver) -> None:
    consuming.wait(LIFE_S / 2)  # a renewal without an answer
    consuming.wait(LIFE_S / 2)
    assert (consuming.phase, consuming.state.refusal) == (Phase.REFUSED, EXPIRED)


def test_the_answer_unprotected_to_a_renewal_closes_the_gate_at_once(consuming: StateDriver) -> None:
    consuming.wait(LIFE_S / 2)
    assert CloseGate(2) in consuming.answer(ProtectionResult.UNPROTECTED)


@pytest.mark.parametrize(
    "remaining",
    [{"polls_in_flight": 1}, {"reserved": 1}, {"running": 1}, {"unacked": 1}, {"drainable": False}],
    ids=lambda remaining: next(iter(remaining)),
)
def test_protection_is_not_released_while_work_remains(
    consuming: StateDriver, remaining: dict[str, int | bool]
) -> None:
    assert consuming.feed(Drain(lease_s=60)) == (CloseGate(2),)
    consuming.snapshot(**remaining)
    assert (consuming.requested(), consuming.phase) == (None, Phase.DRAINING)


def test_a_snapshot_of_an_earlier_closing_releases_nothing(consuming: StateDriver) -> None:
    consuming.feed(Drain(lease_s=60))
    old = replace(IDLE, generation=consuming.state.generation)
    consuming.feed(Resume())
    consuming.feed(Drain(lease_s=60))
    consuming.feed(SnapshotTaken(old))
    assert consuming.requested() is None, "a poll may have begun while the gate was open in between"
    consuming.snapshot()
    assert consuming.requested() is ProtectionRequest.RELEASE


def test_a_drained_worker_is_released_after_the_answer_of_ecs(consuming: StateDriver) -> None:
    consuming.feed(Drain(lease_s=60))
    assert consuming.snapshot() == (Call(2, ProtectionRequest.RELEASE),)
    assert (consuming.phase, consuming.state.protected_until) == (Phase.RELEASING, None)
    consuming.answer(ProtectionResult.UNPROTECTED)
    assert consuming.phase is Phase.RELEASED


def test_a_repeated_drain_extends_the_lease(released: StateDriver) -> None:
    released.wait(50)
    released.feed(Drain(lease_s=60))
    released.wait(50)
    assert released.phase is Phase.RELEASED


@pytest.mark.parametrize("cause", ["resume", "lease ends"])
def test_after_a_release_the_gate_opens_only_with_a_new_protection(released: StateDriver, cause: str) -> None:
    actions = released.feed(Resume()) if cause == "resume" else released.wait(60)
    assert actions == (Call(3, ProtectionRequest.PROTECT),)
    assert released.phase is Phase.STARTING
    assert released.answer(ProtectionResult.PROTECTED, until=released.now + LIFE_S) == (
        OpenGate(3, released.now + LIFE_S - 5),
    )


def test_a_release_without_an_answer_is_repeated_while_draining(consuming: StateDriver) -> None:
    consuming.feed(Drain(lease_s=60))
    consuming.snapshot()
    consuming.answer(ProtectionResult.FAILED, reason="no answer")
    assert consuming.phase is Phase.RELEASING
    consuming.wait(1)
    assert consuming.requested() is ProtectionRequest.RELEASE


def test_after_a_release_without_an_answer_a_resume_waits_until_the_release_can_have_no_more_effect(
    consuming: StateDriver,
) -> None:
    consuming.feed(Drain(lease_s=60))
    consuming.snapshot()
    consuming.answer(ProtectionResult.FAILED, reason="no answer")
    consuming.feed(Resume())
    consuming.wait(9)
    assert (consuming.requested(), consuming.state.gate_until) == (None, None)
    consuming.wait(1)
    assert consuming.requested() is ProtectionRequest.PROTECT


def test_a_resume_during_a_release_waits_for_the_answer(consuming: StateDriver) -> None:
    consuming.feed(Drain(lease_s=60))
    consuming.snapshot()
    assert consuming.feed(Resume()) == ()
    assert consuming.answer(ProtectionResult.UNPROTECTED) == (Call(3, ProtectionRequest.PROTECT),)


def test_a_drain_during_a_protection_request_releases_it_again(released: StateDriver) -> None:
    released.feed(Resume())
    released.feed(Drain(lease_s=60))
    assert released.phase is Phase.DRAINING, "ECS may be protecting this task right now"
    released.answer(ProtectionResult.PROTECTED, until=released.now + LIFE_S)
    assert released.requested() is ProtectionRequest.RELEASE


def test_protection_is_renewed_while_a_drain_waits_for_running_tasks(consuming: StateDriver) -> None:
    consuming.feed(Drain(lease_s=100_000))
    consuming.snapshot(running=1, reserved=1)
    assert consuming.wait(LIFE_S / 2) == (Call(2, ProtectionRequest.PROTECT),)


def test_after_sigterm_the_gate_never_opens(consuming: StateDriver) -> None:
    assert consuming.feed(Terminate()) == (CloseGate(2),)
    consuming.feed(Drain(lease_s=1))
    consuming.feed(Resume())
    consuming.wait(LIFE_S / 2)
    consuming.answer(ProtectionResult.PROTECTED, until=2 * LIFE_S)
    assert (consuming.phase, consuming.state.gate_until) == (Phase.STOPPING, None)


def test_an_answer_to_another_call_changes_nothing(driver: StateDriver) -> None:
    driver.feed(TimePassed())
    before = driver.state
    driver.feed(CallAnswered(99, ProtectionResult.PROTECTED, until=LIFE_S))
    assert driver.state == before


def test_the_next_deadline_is_the_earliest_of_all(consuming: StateDriver) -> None:
    assert next_deadline(consuming.state) == LIFE_S / 2
    consuming.feed(Drain(lease_s=60))
    assert next_deadline(consuming.state) == 60


def test_after_a_release_the_only_deadline_is_the_end_of_the_lease(released: StateDriver) -> None:
    assert next_deadline(released.state) == 60


def test_protections_that_end_in_the_past_are_not_renewed_without_a_pause() -> None:
    driver = StateDriver(now=100.0)
    driver.wait(0)
    driver.answer(ProtectionResult.PROTECTED, until=40.0)
    assert driver.state.call is None, "a second request without a pause"
    assert next_deadline(driver.state) == 101.0
    assert driver.state.gate_until is None


def test_while_a_renewal_is_unanswered_the_next_deadline_is_shortly_before_the_expiry(consuming: StateDriver) -> None:
    consuming.wait(LIFE_S / 2)
    assert consuming.requested() is ProtectionRequest.PROTECT
    assert next_deadline(consuming.state) == LIFE_S - 5.0
