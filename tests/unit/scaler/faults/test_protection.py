# SPDX-License-Identifier: Apache-2.0
"""Faults of protection: refused, expired, answered with a failure, and a maximum that was lowered below it."""

from dataclasses import replace

import pytest

from scaler.core.model import Overrides
from simulation.fault_injection import FaultRates
from tests.support.fault_scenario import CONFIG, PROFILE, FaultScenario, run_scenario

SHORT = replace(CONFIG, profile=replace(PROFILE, protection_minutes=4))
"""Protection that ends while a task of some minutes runs."""


@pytest.mark.fault(
    "protection refused",
    "The worker does not consume and reports the refusal. The scaler raises the count, if necessary above the "
    "maximum, and then the worker consumes",
)
def test_protection_refused() -> None:
    """A rolling update starts new tasks beside old ones that are all protected: ECS refuses the new ones."""

    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(6, work_s=300.0)
        scenario.kill_scaler(again_after_s=60.0)
        scenario.fake_ecs.disturbed_until = scenario.loop.time() + 120.0
        scenario.fake_ecs.roll_out(scenario.topology)
        await scenario.ticks(8)
        refused = [worker for worker in scenario.workers() if worker.agent_state().phase == "refused"]
        assert refused, "ECS was to refuse protection above the desired count"
        assert all("DEPLOYMENT_BLOCKED" in (worker.agent_state().refusal or "") for worker in refused)
        assert not any(worker.consuming or worker.holds for worker in refused), "a refused worker consumed"
        scenario.send([30.0] * 4)
        await scenario.becomes(lambda: scenario.total > 6, 30.0, "the refused ones were to be given room")
        await scenario.becomes(
            lambda: any(w.arn in {r.arn for r in refused} for w in scenario.busy), 60.0, "then they work"
        )
        await scenario.rests()

    run_scenario(steps, generations=1)


@pytest.mark.fault(
    "protection expires while busy",
    "The gate closes before the protection ends, and the task continues. The count is not lowered while an "
    "unprotected worker may be busy, so ECS stops no worker. Protected again, the worker consumes again",
)
def test_protection_expires_while_busy() -> None:
    async def steps(scenario: FaultScenario) -> None:
        numbers = scenario.send([600.0, 600.0, 600.0, 600.0])
        await scenario.becomes(lambda: len(scenario.busy) >= 2, 60.0, "two were to work")
        scenario.faults.rates["protection"] = FaultRates(fails=1.0)
        await scenario.ticks(60)
        unprotected = [worker for worker in scenario.busy if not scenario.fake_ecs.protected(worker.arn)]
        assert unprotected, "protection was to expire"
        assert not any(worker.consuming for worker in unprotected), "the gate was to be shut"
        scenario.send([20.0] * 2)
        await scenario.ticks(6)
        assert not any(set(worker.running) - set(numbers) for worker in unprotected), "it took a task unprotected"
        scenario.faults.clear("protection")
        await scenario.becomes(
            lambda: all(scenario.fake_ecs.protected(worker.arn) for worker in scenario.busy), 60.0, "protected again"
        )
        await scenario.rests()
        assert set(numbers) <= scenario.ledger.done

    run_scenario(steps, config=SHORT)


@pytest.mark.fault(
    "protection answered 200 with a failure",
    "A `failure` with HTTP 200 is a refusal, never protection. A refused renewal does not end the current "
    "protection, and the scaler raises the count before that ends",
)
def test_protection_answered_200_with_a_failure() -> None:
    async def steps(scenario: FaultScenario) -> None:
        numbers = scenario.send([500.0] * 6)
        await scenario.becomes(lambda: len(scenario.busy) >= 3, 60.0, "three were to work")
        scenario.kill_scaler(again_after_s=150.0)
        scenario.fake_ecs.write_by_hand(scenario.service, 0, repair_s=165.0)
        refusals = scenario.ledger.counts["refusals"]
        await scenario.ticks(28)
        assert scenario.ledger.counts["refusals"] > refusals, "ECS was to refuse to renew"
        assert len(scenario.busy) == 3
        assert all(worker.state.refusal for worker in scenario.busy)
        await scenario.becomes(lambda: scenario.total >= 3, 40.0, "the scaler was to raise the count")
        await scenario.becomes(
            lambda: not any(worker.state.refusal for worker in scenario.busy), 60.0, "renewals were to be granted again"
        )
        await scenario.rests()
        assert set(numbers) <= scenario.ledger.done

    run_scenario(steps, config=SHORT)


@pytest.mark.fault(
    "max lowered below what is protected",
    "Protection takes precedence over the maximum, and the explanation shows it: workers above the maximum "
    "drain and finish their tasks, and only then is the count lowered",
)
def test_max_lowered_below_what_is_protected() -> None:
    async def steps(scenario: FaultScenario) -> None:
        numbers = await scenario.works(4, work_s=500.0)
        scenario.override("default", Overrides(maximum=1, by="an operator"))
        await scenario.stays(
            lambda: scenario.total >= 4 and len(scenario.busy) == 4, 300.0, "protected workers were to stay"
        )
        assert scenario.decision.maximum == 1
        assert "4 protected" in scenario.why
        assert "maximum 1" in scenario.why
        await scenario.becomes(lambda: scenario.total == 1, 600.0, "then the maximum was to be reached")
        assert set(numbers) <= scenario.ledger.done
        await scenario.rests()

    run_scenario(steps, config=SHORT)
