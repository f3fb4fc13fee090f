# SPDX-License-Identifier: Apache-2.0
"""Faults of protection: refused, expired, answered with a failure, and a maximum that was lowered below it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.core.model import Overrides
from simulation.fault_injection import FaultRates
from tests.support.fault_scenario import CONFIG, PROFILE, FaultScenario, stage

SHORT = replace(CONFIG, profile=replace(PROFILE, protection_minutes=4))
"""Protection that ends while a task of some minutes runs."""


@pytest.mark.fault(
    "protection refused",
    "The worker does not consume and says why; the scaler raises the count, above the maximum too, and then it does",
)
def test_protection_refused() -> None:
    """A rolling update starts new tasks beside old ones that are all protected: ECS refuses the new ones."""

    async def play(scene: FaultScenario) -> None:
        await scene.works(6, work_s=300.0)
        scene.kill_scaler(again_after_s=60.0)
        scene.fake_ecs.disturbed_until = scene.loop.time() + 120.0
        scene.fake_ecs.roll_out(scene.topology)
        await scene.ticks(8)
        refused = [worker for worker in scene.workers() if worker.says().phase == "refused"]
        assert refused, "ECS was to refuse protection above the desired count"
        assert all("DEPLOYMENT_BLOCKED" in (worker.says().refusal or "") for worker in refused)
        assert not any(worker.consuming or worker.holds for worker in refused), "a refused worker consumed"
        scene.send([30.0] * 4)
        await scene.becomes(lambda: scene.total > 6, 30.0, "the refused ones were to be given room")
        await scene.becomes(lambda: any(w.arn in {r.arn for r in refused} for w in scene.busy), 60.0, "then they work")
        await scene.rests()

    stage(play, generations=1)


@pytest.mark.fault(
    "protection expires while busy",
    "The gate shuts before the end, the task runs on, and the count is not lowered while an unprotected worker may be "
    "busy, so ECS takes nobody; protected again, it consumes again",
)
def test_protection_expires_while_busy() -> None:
    async def play(scene: FaultScenario) -> None:
        numbers = scene.send([600.0, 600.0, 600.0, 600.0])
        await scene.becomes(lambda: len(scene.busy) >= 2, 60.0, "two were to work")
        scene.faults.rates["protection"] = FaultRates(fails=1.0)
        await scene.ticks(60)
        unprotected = [worker for worker in scene.busy if not scene.fake_ecs.protected(worker.arn)]
        assert unprotected, "protection was to expire"
        assert not any(worker.consuming for worker in unprotected), "the gate was to be shut"
        scene.send([20.0] * 2)
        await scene.ticks(6)
        assert not any(set(worker.running) - set(numbers) for worker in unprotected), "it took a task unprotected"
        scene.faults.clear("protection")
        await scene.becomes(
            lambda: all(scene.fake_ecs.protected(worker.arn) for worker in scene.busy), 60.0, "protected again"
        )
        await scene.rests()
        assert set(numbers) <= scene.ledger.done

    stage(play, config=SHORT)


@pytest.mark.fault(
    "protection answered 200 with a failure",
    "A `failure` with HTTP 200 is a refusal, never protection: a renewal so answered leaves what is held, "
    "and the scaler has raised the count long before",
)
def test_protection_answered_200_with_a_failure() -> None:
    async def play(scene: FaultScenario) -> None:
        numbers = scene.send([500.0] * 6)
        await scene.becomes(lambda: len(scene.busy) >= 3, 60.0, "three were to work")
        scene.kill_scaler(again_after_s=150.0)
        scene.fake_ecs.write_by_hand(scene.service, 0, repair_s=165.0)
        refusals = scene.ledger.counts["refusals"]
        await scene.ticks(28)
        assert scene.ledger.counts["refusals"] > refusals, "ECS was to refuse to renew"
        assert len(scene.busy) == 3
        assert all(worker.state.refusal for worker in scene.busy)
        await scene.becomes(lambda: scene.total >= 3, 40.0, "the scaler was to raise the count")
        await scene.becomes(
            lambda: not any(worker.state.refusal for worker in scene.busy), 60.0, "renewals were to be granted again"
        )
        await scene.rests()
        assert set(numbers) <= scene.ledger.done

    stage(play, config=SHORT)


@pytest.mark.fault(
    "max lowered below what is protected",
    "Protection wins over the maximum and the decision says so: workers above it are drained, finish their tasks, and "
    "only then is the count lowered",
)
def test_max_lowered_below_what_is_protected() -> None:
    async def play(scene: FaultScenario) -> None:
        numbers = await scene.works(4, work_s=500.0)
        scene.order("default", Overrides(maximum=1, by="somebody"))
        await scene.stays(lambda: scene.total >= 4 and len(scene.busy) == 4, 300.0, "protected workers were to stay")
        assert scene.decision.maximum == 1
        assert "4 protected" in scene.why
        assert "maximum 1" in scene.why
        await scene.becomes(lambda: scene.total == 1, 600.0, "then the maximum was to be reached")
        assert set(numbers) <= scene.ledger.done
        await scene.rests()

    stage(play, config=SHORT)
