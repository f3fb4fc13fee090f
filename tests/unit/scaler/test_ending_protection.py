# SPDX-License-Identifier: Apache-2.0
"""A protection that ends while a lower count takes effect protects no worker."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.session import get_session

from scaler.adapters.ecs import EcsClusterAdapter
from scaler.runtime.observe import ECS_STOPS_WITHIN_S
from tests.support.fake_environment import FakeEnvironment
from tests.support.scaler_builders import FLEET

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def adapter(**answer: Any) -> EcsClusterAdapter:
    async def get_task_protection(**_: Any) -> Any:
        return {"protectedTasks": [{"taskArn": "one", **answer}]}

    model = get_session().get_service_model("ecs")
    client = SimpleNamespace(get_task_protection=get_task_protection, meta=SimpleNamespace(service_model=model))
    return EcsClusterAdapter(client, "cluster", window_s=0.0, wall=lambda: NOW)


@pytest.mark.parametrize(
    ("left_s", "for_s", "protected"),
    [
        pytest.param(14.0, 15.0, False, id="ends too early"),
        pytest.param(15.0, 15.0, True, id="long enough"),
        pytest.param(-90.0, 0.0, True, id="without a time ECS's answer counts, whatever this clock shows"),
        pytest.param(None, 15.0, True, id="no end"),
    ],
)
async def test_a_protection_must_last_for_the_time(left_s: float | None, for_s: float, protected: bool) -> None:
    end = {} if left_s is None else {"expirationDate": NOW + timedelta(seconds=left_s)}
    found = await adapter(protectionEnabled=True, **end).protected(["one"], for_s=for_s)
    assert found == (frozenset(["one"]) if protected else frozenset())


async def test_a_task_without_protection_is_not_protected() -> None:
    end = NOW + timedelta(hours=1)
    assert await adapter(protectionEnabled=False, expirationDate=end).protected(["one"]) == frozenset()


async def test_a_decision_counts_protection_that_lasts_for_the_tick_and_the_stops_of_ecs() -> None:
    times = []

    class Environment(FakeEnvironment):
        async def protected(self, arns: Any, *, for_s: float = 0.0) -> frozenset[str]:
            times.append(for_s)
            return await super().protected(arns, for_s=for_s)

    environment = Environment(1, desired=1)
    environment.advance(30.0)
    await environment.loop(FLEET).tick()
    assert times == [FLEET.interval_s + ECS_STOPS_WITHIN_S]
