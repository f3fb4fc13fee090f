# SPDX-License-Identifier: Apache-2.0
"""One race for each step of the protocol that random faults meet too rarely, with the step and without it."""

import pytest

from simulation.negative_controls import NEGATIVE_CONTROLS, DisabledSafeguard
from simulation.race_run import RACES, play_race

FIRST_SEED = 20_000
"""Other runs than those of the benchmark, which begins at 1."""


@pytest.mark.parametrize("step", RACES, ids=lambda step: step.value)
def test_with_the_step_nothing_is_lost_or_stuck(step: DisabledSafeguard) -> None:
    found = play_race(step, seed=FIRST_SEED, runs=2, disabled=False)
    assert (found.runs, found.lost, found.stuck, found.problems) == (2, 0, 0, [])


@pytest.mark.parametrize("step", RACES, ids=lambda step: step.value)
def test_without_the_step_a_task_is_lost_or_stuck(step: DisabledSafeguard) -> None:
    found = play_race(step, seed=FIRST_SEED, runs=8, disabled=True, enough=1)
    assert found.lost + found.stuck > 0, "the simulation proves nothing of this step"
    assert not found.missed


def test_every_step_that_can_be_left_out_has_a_control() -> None:
    assert {*NEGATIVE_CONTROLS, *RACES} == {*DisabledSafeguard} - {DisabledSafeguard.NOTHING}
