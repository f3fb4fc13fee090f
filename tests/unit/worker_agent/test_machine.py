# SPDX-License-Identifier: Apache-2.0
"""The machine step by step: what each answer and command leads to."""

from dataclasses import dataclass, field, replace

import pytest

from worker_agent.state_machine import (
    EXPIRED,
    Action,
    Answered,
    Ask,
    Call,
    Drain,
    Event,
    OpenGate,
    Phase,
    Policy,
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

LIFE_S = 3600.0
IDLE = Snapshot(
    generation=0, gate_open=False, polls_in_flight=0, reserved=0, running=0, unacked=0, concurrency=4, drainable=True
)


@dataclass
class Driver:
    """Feeds events and keeps the state, the time and the last actions."""

    state: State = field(default_factory=State)
    now: float = 0.0
    actions: tuple[Action, ...] = ()

    def feed(self, event: Event) -> tuple[Action, ...]:
        self.state, self.actions = step(self.state, event, self.now)
        return self.actions

    def wait(self, seconds: float) -> tuple[Action, ...]:
        self.now += seconds
        return self.feed(Tick())

    def answer(self, verdict: Verdict, *, until: float | None = None, reason: str | None = None) -> tuple[Action, ...]:
        assert self.state.call is not None, "nothing was asked"
        return self.feed(Answered(self.state.call.number, verdict, until=until, reason=reason))

    def look(self, **changes: int | bool) -> tuple[Action, ...]:
        seen = replace(IDLE, generation=self.state.generation, gate_open=self.state.gate_until is not None)
        return self.feed(Seen(replace(seen, **changes)))  # type: ignore[arg-type]

    def asked(self) -> Ask | None:
        return next((action.ask for action in self.actions if isinstance(action, Call)), None)

    @property
    def phase(self) -> Phase:
        return self.state.phase


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def consuming(driver: Driver) -> Driver:
    driver.feed(Tick())
    driver.answer(Verdict.PROTECTED, until=LIFE_S)
    assert driver.phase is Phase.CONSUMING
    return driver


@pytest.fixture
def released(consuming: Driver) -> Driver:
    consuming.feed(Drain(lease_s=60))
    consuming.look()
    consuming.answer(Verdict.UNPROTECTED)
    assert consuming.phase is Phase.RELEASED
    return consuming


def test_the_first_thing_is_to_ask_for_protection_with_the_gate_shut(driver: Driver) -> None:
    assert driver.feed(Tick()) == (Call(1, Ask.PROTECT),)
    assert (driver.phase, driver.state.gate_until) == (Phase.STARTING, None)


def test_granted_opens_the_gate_a_margin_short_of_the_end(driver: Driver) -> None:
    driver.feed(Tick())
    assert driver.answer(Verdict.PROTECTED, until=LIFE_S) == (OpenGate(1, LIFE_S - Policy().margin_s),)


@pytest.mark.parametrize("verdict", [Verdict.REFUSED, Verdict.FAILED, Verdict.UNPROTECTED])
def test_any_other_answer_keeps_the_gate_shut_and_asks_again_later(driver: Driver, verdict: Verdict) -> None:
    driver.feed(Tick())
    assert driver.answer(verdict, reason="DEPLOYMENT_BLOCKED: no") == ()
    assert (driver.phase, driver.state.refusal) == (Phase.REFUSED, "DEPLOYMENT_BLOCKED: no")
    assert driver.wait(0.9) == ()
    assert driver.wait(0.2) == (Call(2, Ask.PROTECT),)


def test_refusals_are_spaced_out_up_to_the_longest_back_off(driver: Driver) -> None:
    gaps = []
    driver.feed(Tick())
    for _ in range(7):
        driver.answer(Verdict.REFUSED)
        gap = driver.state.next_call_at - driver.now
        gaps.append(gap)
        driver.wait(gap)
        assert driver.asked() is Ask.PROTECT
    assert gaps == [1, 2, 4, 8, 15, 15, 15]


def test_renewed_at_half_of_its_life_and_the_opening_is_prolonged(consuming: Driver) -> None:
    assert consuming.wait(LIFE_S / 2 - 1) == ()
    assert consuming.wait(1) == (Call(2, Ask.PROTECT),)
    assert consuming.answer(Verdict.PROTECTED, until=2 * LIFE_S) == (OpenGate(1, 2 * LIFE_S - 5),)


def test_a_refused_renewal_keeps_consuming_until_the_end_and_then_shuts_at_once(consuming: Driver) -> None:
    consuming.wait(LIFE_S / 2)
    consuming.answer(Verdict.REFUSED, reason="DEPLOYMENT_BLOCKED")
    assert (consuming.phase, consuming.state.refusal) == (Phase.CONSUMING, "DEPLOYMENT_BLOCKED")
    consuming.now = LIFE_S - 5
    assert ShutGate(2) in consuming.feed(Tick())
    assert consuming.phase is Phase.REFUSED


def test_a_protection_that_ends_without_an_answer_says_so(consuming: Driver) -> None:
    consuming.wait(LIFE_S / 2)  # asked, and never answered
    consuming.wait(LIFE_S / 2)
    assert (consuming.phase, consuming.state.refusal) == (Phase.REFUSED, EXPIRED)


def test_ecs_saying_unprotected_to_a_renewal_shuts_the_gate_at_once(consuming: Driver) -> None:
    consuming.wait(LIFE_S / 2)
    assert ShutGate(2) in consuming.answer(Verdict.UNPROTECTED)


@pytest.mark.parametrize(
    "left",
    [{"polls_in_flight": 1}, {"reserved": 1}, {"running": 1}, {"unacked": 1}, {"drainable": False}],
    ids=lambda left: next(iter(left)),
)
def test_nothing_is_released_while_anything_is_left(consuming: Driver, left: dict[str, int | bool]) -> None:
    assert consuming.feed(Drain(lease_s=60)) == (ShutGate(2),)
    consuming.look(**left)
    assert (consuming.asked(), consuming.phase) == (None, Phase.DRAINING)


def test_what_was_seen_behind_an_earlier_gate_releases_nothing(consuming: Driver) -> None:
    consuming.feed(Drain(lease_s=60))
    old = replace(IDLE, generation=consuming.state.generation)
    consuming.feed(Resume())
    consuming.feed(Drain(lease_s=60))
    consuming.feed(Seen(old))
    assert consuming.asked() is None, "a poll may have begun while the gate was open in between"
    consuming.look()
    assert consuming.asked() is Ask.RELEASE


def test_drained_is_released_once_ecs_said_so(consuming: Driver) -> None:
    consuming.feed(Drain(lease_s=60))
    assert consuming.look() == (Call(2, Ask.RELEASE),)
    assert (consuming.phase, consuming.state.protected_until) == (Phase.RELEASING, None)
    consuming.answer(Verdict.UNPROTECTED)
    assert consuming.phase is Phase.RELEASED


def test_a_drain_told_again_prolongs_the_lease(released: Driver) -> None:
    released.wait(50)
    released.feed(Drain(lease_s=60))
    released.wait(50)
    assert released.phase is Phase.RELEASED


@pytest.mark.parametrize("how", ["resume", "lease ends"])
def test_from_released_the_gate_opens_only_after_a_new_protection(released: Driver, how: str) -> None:
    actions = released.feed(Resume()) if how == "resume" else released.wait(60)
    assert actions == (Call(3, Ask.PROTECT),)
    assert released.phase is Phase.STARTING
    assert released.answer(Verdict.PROTECTED, until=released.now + LIFE_S) == (OpenGate(3, released.now + LIFE_S - 5),)


def test_a_lost_answer_to_a_release_is_asked_again_while_draining(consuming: Driver) -> None:
    consuming.feed(Drain(lease_s=60))
    consuming.look()
    consuming.answer(Verdict.FAILED, reason="no answer")
    assert consuming.phase is Phase.RELEASING
    consuming.wait(1)
    assert consuming.asked() is Ask.RELEASE


def test_after_a_lost_release_a_resume_waits_until_it_cannot_take_effect_any_more(consuming: Driver) -> None:
    consuming.feed(Drain(lease_s=60))
    consuming.look()
    consuming.answer(Verdict.FAILED, reason="no answer")
    consuming.feed(Resume())
    consuming.wait(9)
    assert (consuming.asked(), consuming.state.gate_until) == (None, None)
    consuming.wait(1)
    assert consuming.asked() is Ask.PROTECT


def test_a_resume_while_the_release_is_under_way_waits_for_its_answer(consuming: Driver) -> None:
    consuming.feed(Drain(lease_s=60))
    consuming.look()
    assert consuming.feed(Resume()) == ()
    assert consuming.answer(Verdict.UNPROTECTED) == (Call(3, Ask.PROTECT),)


def test_a_drain_while_the_new_protection_is_under_way_releases_it_again(released: Driver) -> None:
    released.feed(Resume())
    released.feed(Drain(lease_s=60))
    assert released.phase is Phase.DRAINING, "ECS may be protecting this task right now"
    released.answer(Verdict.PROTECTED, until=released.now + LIFE_S)
    assert released.asked() is Ask.RELEASE


def test_protection_is_renewed_while_a_drain_waits_for_long_tasks(consuming: Driver) -> None:
    consuming.feed(Drain(lease_s=100_000))
    consuming.look(running=1, reserved=1)
    assert consuming.wait(LIFE_S / 2) == (Call(2, Ask.PROTECT),)


def test_sigterm_is_the_end_of_all_openings(consuming: Driver) -> None:
    assert consuming.feed(Terminate()) == (ShutGate(2),)
    consuming.feed(Drain(lease_s=1))
    consuming.feed(Resume())
    consuming.wait(LIFE_S / 2)
    consuming.answer(Verdict.PROTECTED, until=2 * LIFE_S)
    assert (consuming.phase, consuming.state.gate_until) == (Phase.STOPPING, None)


def test_an_answer_to_another_call_changes_nothing(driver: Driver) -> None:
    driver.feed(Tick())
    before = driver.state
    driver.feed(Answered(99, Verdict.PROTECTED, until=LIFE_S))
    assert driver.state == before


def test_it_sleeps_until_the_next_thing_is_due(consuming: Driver) -> None:
    assert wake_at(consuming.state) == LIFE_S / 2
    consuming.feed(Drain(lease_s=60))
    assert wake_at(consuming.state) == 60


def test_released_has_nothing_due_but_the_end_of_the_lease(released: Driver) -> None:
    assert wake_at(released.state) == 60


def test_protections_that_end_in_the_past_are_not_asked_for_in_a_hurry() -> None:
    driver = Driver(now=100.0)
    driver.wait(0)
    driver.answer(Verdict.PROTECTED, until=40.0)
    assert driver.state.call is None, "asked again in the moment of the answer"
    assert wake_at(driver.state) == 101.0
    assert driver.state.gate_until is None
