# SPDX-License-Identifier: Apache-2.0
"""What each policy and each setting would have waited and cost on a workload, and the setting to choose."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Final

from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES, Architecture
from openmwaa.cost.price_list import HOURS, PriceList, task_units, worker_hour
from openmwaa.errors import OpenmwaaError
from scaler.core.model import LookAheadPolicy
from simulation.comparison import OURS, SimulationCase, simulate_cases
from simulation.engine.fleet import EngineFleetSettings
from simulation.engine.result import FleetResult
from simulation.workloads.model import Workload

MEMORY_LIMIT: Final = 0.85
"""Of a worker's memory, at the expected peak."""
WAIT_WORTH: Final = LookAheadPolicy().wait_worth
"""Worker-seconds that a task-second of wait is worth, as for the look-ahead."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A policy with the settings of one fleet."""

    policy: str
    environment_class: str
    minimum: int
    maximum: int

    def __str__(self) -> str:
        return f"{self.policy}, {self.environment_class}, {self.minimum} to {self.maximum} workers"


@dataclass(frozen=True, slots=True)
class MeasuredMemory:
    """The peak of the workers that ran the history."""

    share: float
    environment_class: str
    slots: int

    def expected_share(self, environment_class: str) -> float:
        """Return the share of a worker's memory with the slots of another class, if each slot needs the same."""
        now, then = ENVIRONMENT_CLASSES[self.environment_class], ENVIRONMENT_CLASSES[environment_class]
        return self.share * now.worker.memory / self.slots * then.slots / then.worker.memory


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a setting would have waited and cost."""

    setting: Setting
    result: FleetResult
    usd_month: float
    """Of the workers, at the rate of the measured time."""
    wait_hours_month: float
    """Of all tasks."""
    memory_share: float | None
    """None: not measured."""

    @property
    def fits(self) -> bool:
        """Whether no worker would be short of memory, as far as is known."""
        return self.memory_share is None or self.memory_share <= MEMORY_LIMIT


def settings(
    policies: Sequence[str], classes: Sequence[str], minimums: Sequence[int], maximums: Sequence[int]
) -> list[Setting]:
    """Return all combinations whose minimum is not above the maximum."""
    found = [Setting(*each) for each in product(policies, classes, sorted({*minimums}), sorted({*maximums}))]
    return [setting for setting in found if setting.minimum <= setting.maximum]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A workload, and what a worker costs."""

    workload: Workload
    prices: PriceList
    architecture: Architecture = "ARM64"
    memory: MeasuredMemory | None = None
    cold_start_s: float = 60.0
    seed: int = 1

    def outcomes(self, asked: Sequence[Setting], ended: Callable[[int], None]) -> list[Outcome]:
        """Simulate the settings.

        Raises:
            CostError: a price is unknown.
        """
        usd = {(each.policy, each.environment_class): self._usd_hour(each) for each in asked}
        results = simulate_cases([self._case(setting) for setting in asked], ended)
        hours = (self.workload.horizon_s - self.workload.measure_from_s) / 3600
        found = []
        for setting, simulated in zip(asked, results, strict=True):
            (result,) = simulated.fleets
            share = None if self.memory is None else self.memory.expected_share(setting.environment_class)
            usd_month = result.worker_hours * usd[setting.policy, setting.environment_class] * HOURS / hours
            waited = result.mean_wait_s * result.tasks / 3600 * HOURS / hours
            found.append(Outcome(setting, result, usd_month, waited, share))
        return found

    def _case(self, setting: Setting) -> SimulationCase:
        slots = ENVIRONMENT_CLASSES[setting.environment_class].slots
        fleet = EngineFleetSettings(
            slots=slots, minimum=setting.minimum, maximum=setting.maximum, cold_start_s=self.cold_start_s
        )
        return SimulationCase(self.workload, setting.policy, fleet, self.seed)

    def _usd_hour(self, setting: Setting) -> float:
        """MWAA's rules cost MWAA's price of a worker, all others that of Fargate."""
        if setting.policy.startswith("mwaa-"):
            return self.prices.price(f"{setting.environment_class} worker").usd
        size = ENVIRONMENT_CLASSES[setting.environment_class].worker
        units = task_units(size.cpu, size.memory, self.architecture, spot=False, public_ip=False)
        return worker_hour(self.prices, units)

    def total_usd(self, outcome: Outcome) -> float:
        """Return the cost of a month with the wait: a task-second counts as some seconds of a worker of mw1.small."""
        return outcome.usd_month + outcome.wait_hours_month * WAIT_WORTH * self._usd_hour(
            Setting(OURS[0], "mw1.small", 0, 1)
        )

    def recommended(self, outcomes: Sequence[Outcome]) -> Outcome:
        """Return the setting of ours with the least cost of workers and wait, of those whose memory suffices.

        Raises:
            OpenmwaaError: there is none.
        """
        ours = [each for each in outcomes if each.setting.policy in OURS and each.fits]
        if not ours:
            raise OpenmwaaError(
                f"No setting of {' or '.join(OURS)} has enough memory: use --class for a class with more of it a slot."
            )
        return min(ours, key=lambda each: (self.total_usd(each), each.setting.maximum))


def reason(best: Outcome, others: Sequence[Outcome]) -> list[str]:
    """Return why, in sentences, and the same workers under each other policy."""
    share = best.memory_share
    memory = "not measured" if share is None else f"about {share:.0%} of the fullest worker"
    setting = best.setting
    same = [other for other in others if other is not best and replace(other.setting, policy=setting.policy) == setting]
    return [
        f"Recommended: {setting}: {_measured(best)}.",
        f"It has the least sum of workers and wait: a task-second of wait counts as {WAIT_WORTH:g} worker-seconds.",
        f"Memory: {memory}.",
        *(f"{other.setting.policy} with the same workers: {_measured(other)}." for other in same),
    ]


def _measured(outcome: Outcome) -> str:
    return f"{outcome.usd_month:.2f} USD a month, {outcome.result.mean_wait_s:.1f} s mean wait"


def as_data(outcome: Outcome) -> Mapping[str, Any]:
    """Return the row for JSON, unrounded."""
    return {
        **asdict(outcome.setting),
        "usd_month": outcome.usd_month,
        "wait_hours_month": outcome.wait_hours_month,
        "memory_share": outcome.memory_share,
        **asdict(outcome.result),
    }
