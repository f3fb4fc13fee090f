# SPDX-License-Identifier: Apache-2.0
"""AWS throttles without an end: a fleet still grows and shrinks."""

import pytest

from simulation.fault_injection import FaultRates
from tests.support.fault_scenario import FLEET, FaultScenario, run_scenario


@pytest.mark.parametrize(
    "shares",
    [{"ecs": 0.3}, {"broker": 0.3}, {"overrides": 0.9}, {"ecs": 0.3, "broker": 0.3, "overrides": 0.3}],
    ids=["ECS", "the broker", "overrides", "all of them"],
)
@pytest.mark.fault(
    "API throttled",
    "While AWS throttles 30 % of the calls without an end, a fleet grows within a minute and reaches its minimum "
    "after its window; only the throttled source is read less often",
)
def test_a_throttled_fleet_grows_and_shrinks(shares: dict[str, float]) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.ticks(3)
        for source, share in shares.items():
            scenario.faults.rates[source] = FaultRates(fails=share, throttled=True)
        before = scenario.reports.ticks
        scenario.send([25.0] * 8)
        await scenario.becomes(lambda: scenario.total >= 4, 60.0, "a throttled fleet was to grow")
        await scenario.becomes(lambda: scenario.ledger.sent == scenario.ledger.done, 200.0, "all was to be done")
        await scenario.becomes(lambda: scenario.total == 1, FLEET.scale_in_window_s + 180.0, "it was to shrink")
        if "ecs" not in shares:
            seconds = scenario.loop.time() - 3 * FLEET.interval_s
            assert scenario.reports.ticks - before >= seconds / FLEET.interval_s - 1, "every source slowed"
        scenario.clean()
        await scenario.rests()

    run_scenario(steps)
