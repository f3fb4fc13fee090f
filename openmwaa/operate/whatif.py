# SPDX-License-Identifier: Apache-2.0
"""What each policy and each setting would have waited and cost on a workload, and the setting to choose."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Final

from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES, Architecture
from openmwaa.cost.price_list import HOURS, PriceList, task_units, worker_hour
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
    mib: int
    """Of one worker."""
    slots: int

    def expected_share(self, environment_class: str) -> float:
        """Return the share of a worker's memory with the slots of another class, if each slot needs the same."""
        then = ENVIRONMENT_CLASSES[environment_class]
        return self.share * self.mib / self.slots * then.slots / then.worker.memory


@dataclass(frozen=True, slots=True)
class SettingOutcome:
    """What a setting would have waited and cost."""

    setting: Setting
    result: FleetResult
    usd_month: float | None
    """Of the workers, at the rate of the measured time; None: MWAA's price is unknown."""
    usd_month_with_wait: float | None
    """Also of the wait of all tasks, at WAIT_WORTH seconds of a worker of mw1.small."""
    memory_share: float | None
    """None: not measured."""


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

    def outcomes(self, asked: Sequence[Setting], ended: Callable[[int], None]) -> list[SettingOutcome]:
        """Simulate the settings; the best one is the first.

        Raises:
            CostError: a price is unknown.
        """
        usd_hours = [self._usd_hour(setting.policy, setting.environment_class) for setting in asked]
        usd_wait_hour = WAIT_WORTH * self._usd_fargate("mw1.small")
        results = simulate_cases([self._case(setting) for setting in asked], ended)
        months = (self.workload.horizon_s - self.workload.measure_from_s) / 3600 / HOURS
        found = []
        for setting, usd_hour, simulated in zip(asked, usd_hours, results, strict=True):
            (result,) = simulated.fleets
            share = None if self.memory is None else self.memory.expected_share(setting.environment_class)
            usd = None if usd_hour is None else result.worker_hours * usd_hour / months
            wait = result.mean_wait_s * result.tasks / 3600 * usd_wait_hour / months
            found.append(SettingOutcome(setting, result, usd, None if usd is None else usd + wait, share))
        return sorted(found, key=lambda each: (each.usd_month_with_wait or math.inf, each.setting.maximum))

    def _case(self, setting: Setting) -> SimulationCase:
        slots = ENVIRONMENT_CLASSES[setting.environment_class].slots
        fleet = EngineFleetSettings(
            slots=slots, minimum=setting.minimum, maximum=setting.maximum, cold_start_s=self.cold_start_s
        )
        return SimulationCase(self.workload, setting.policy, fleet, self.seed)

    def _usd_hour(self, policy: str, environment_class: str) -> float | None:
        """MWAA's rules cost MWAA's price of a worker, all others that of Fargate."""
        if not policy.startswith("mwaa-"):
            return self._usd_fargate(environment_class)
        found = self.prices.find(f"{environment_class} worker")
        return None if found is None else found.usd

    def _usd_fargate(self, environment_class: str) -> float:
        size = ENVIRONMENT_CLASSES[environment_class].worker
        units = task_units(size.cpu, size.memory, self.architecture, spot=False, public_ip=False)
        return worker_hour(self.prices, units)


def recommended(outcomes: Sequence[SettingOutcome]) -> SettingOutcome | None:
    """Return the best setting of ours whose memory suffices, as far as is known."""
    fit = [each for each in outcomes if each.memory_share is None or each.memory_share <= MEMORY_LIMIT]
    return next((each for each in fit if each.setting.policy in OURS), None)


def reason(outcomes: Sequence[SettingOutcome]) -> list[str]:
    """Return what to choose and why, and the same workers under each other policy."""
    best = recommended(outcomes)
    if best is None:
        return [
            f"No setting is recommended: none is of {' or '.join(OURS)}, with at most {MEMORY_LIMIT:.0%} of memory."
        ]
    share = best.memory_share
    memory = "not measured" if share is None else f"about {share:.0%} of the fullest worker"
    setting = best.setting
    same = [
        other for other in outcomes if other is not best and replace(other.setting, policy=setting.policy) == setting
    ]
    return [
        f"Recommended: {setting}: {_measured(best)}.",
        f"It has the least sum of workers and wait: 1 s of wait counts as {WAIT_WORTH:g} s of a worker of mw1.small.",
        f"Memory: {memory}.",
        *(f"{other.setting.policy} with the same workers: {_measured(other)}." for other in same),
    ]


def _measured(outcome: SettingOutcome) -> str:
    usd = "an unknown price" if outcome.usd_month is None else f"{outcome.usd_month:.2f} USD a month"
    return f"{usd}, {outcome.result.mean_wait_s:.1f} s mean wait"


def as_data(outcome: SettingOutcome) -> Mapping[str, Any]:
    """Return the row for JSON, unrounded."""
    return {
        **asdict(outcome.setting),
        "usd_month": outcome.usd_month,
        "usd_month_with_wait": outcome.usd_month_with_wait,
        "memory_share": outcome.memory_share,
        **asdict(outcome.result),
    }
