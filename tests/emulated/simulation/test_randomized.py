# SPDX-License-Identifier: Apache-2.0
"""Some hundred randomized scale-ins with faults, and the negative controls; `make bench` has 10 000."""

import pytest

from simulation.loop import run
from simulation.negative_controls import NEGATIVE_CONTROLS, DisabledSafeguard
from simulation.random_run import draw, play
from simulation.report import run_with_all_safeguards, run_without

SCALE_INS = 250
FIRST_SEED = 20_000
"""Other runs than those of the benchmark, which begins at 1."""


def test_nothing_is_lost_interrupted_or_broken() -> None:
    summary = run_with_all_safeguards(scale_ins=SCALE_INS, seed=FIRST_SEED, length_s=2000.0)
    assert (summary.lost, summary.interrupted, summary.broken) == (0, 0, 0), "\n".join(summary.failures)
    assert summary.rollouts > 10, "there was nothing to lose in rollouts"
    assert summary.counts["events"] > 50, "there were hardly any faults"


@pytest.mark.parametrize("removed", NEGATIVE_CONTROLS, ids=lambda safeguard: safeguard.value)
def test_a_disabled_safeguard_loses_tasks(removed: DisabledSafeguard) -> None:
    summary = run_without(removed, seed=1, runs=25, enough=1)
    assert summary.lost > 0, (
        f"nothing was lost in {summary.scale_ins} scale-ins, so the simulation proves nothing of it"
    )


def test_a_seed_gives_the_same_run_again() -> None:
    first, again = (run(play(FIRST_SEED, length_s=400.0)) for _ in range(2))
    assert (first.scale_ins, first.reports.ticks, first.loop.time(), first.ledger) == (
        again.scale_ins,
        again.reports.ticks,
        again.loop.time(),
        again.ledger,
    )
    assert draw(1) != draw(2)
