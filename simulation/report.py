# SPDX-License-Identifier: Apache-2.0
"""The sum of many randomized runs, with all safeguards and with one disabled."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from simulation.loop import run
from simulation.negative_controls import DisabledSafeguard
from simulation.random_run import play
from simulation.simulation import Simulation

LENGTH_S = 3000.0
"""How long a run sends tasks; then it settles."""


@dataclass
class RunSummary:
    """The sum of some runs."""

    first_seed: int
    runs: int = 0
    scale_ins: int = 0
    rollouts: int = 0
    tasks: int = 0
    lost: int = 0
    interrupted: int = 0
    broken: int = 0
    ticks: int = 0
    scaler_kills: int = 0
    virtual_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    rollouts_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """The seeds with a failure, with its first description."""

    def add(self, simulation: Simulation) -> None:
        """Add one run."""
        ledger = simulation.ledger
        self.runs += 1
        self.scale_ins += simulation.scale_ins
        self.rollouts += ledger.counts["rollouts"]
        self.tasks += len(ledger.sent)
        self.lost += len(ledger.lost)
        self.interrupted += len(ledger.interrupted)
        self.broken += ledger.counts["broken"]
        self.ticks += simulation.reports.ticks
        self.scaler_kills += simulation.kills
        self.virtual_s += simulation.loop.time()
        self.counts += ledger.counts
        self.rollouts_s += simulation.fake_ecs.rollouts_s
        if ledger.lost or ledger.interrupted or ledger.broken:
            text = f"{len(ledger.lost)} lost, {len(ledger.interrupted)} interrupted, {ledger.broken[:2]}"
            self.failures.append(f"seed {simulation.seed}: {text}")


def run_with_all_safeguards(
    *, scale_ins: int, seed: int, length_s: float = LENGTH_S, progress: Callable[[RunSummary], None] = lambda _: None
) -> RunSummary:
    """Run with all safeguards until there were `scale_ins` scale-ins."""
    summary = RunSummary(seed)
    for number in count(seed):
        if summary.scale_ins >= scale_ins:
            break
        summary.add(run(play(number, length_s=length_s)))
        progress(summary)
    return summary


def run_without(disabled: DisabledSafeguard, *, seed: int, runs: int, enough: int | None = None) -> RunSummary:
    """Run without one safeguard; with `enough`, only until so many tasks were lost."""
    summary = RunSummary(seed)
    for number in range(seed, seed + runs):
        if enough is not None and summary.lost >= enough:
            break
        summary.add(run(play(number, length_s=LENGTH_S, disabled=disabled)))
    return summary
