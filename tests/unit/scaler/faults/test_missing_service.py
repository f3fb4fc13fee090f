# SPDX-License-Identifier: Apache-2.0
"""ECS reports a service as MISSING that has workers."""

import pytest

from scaler.core.model import Service, Task
from scaler.errors import AbsentError, SourceError
from tests.support.fault_scenario import TICK_S, FaultScenario, run_scenario


@pytest.mark.parametrize("ticks", [1, 5])
@pytest.mark.fault(
    "service deleted", "One wrong answer starts no worker a second time: a known service is absent after six answers"
)
def test_a_working_service_is_reported_missing_with_its_tasks(ticks: int) -> None:
    async def steps(scenario: FaultScenario) -> None:
        await scenario.works(4, work_s=120.0)
        real = scenario.cluster._service, scenario.cluster._tasks
        hidden = scenario.service

        def service(name: str) -> Service:
            if name == hidden:
                raise AbsentError("ecs", "MISSING")
            return real[0](name)

        def tasks(name: str) -> tuple[Task, ...]:
            if name == hidden:
                raise SourceError("ecs", "ServiceNotFoundException")
            return real[1](name)

        scenario.cluster._service = service  # type: ignore[method-assign]
        scenario.cluster._tasks = tasks  # type: ignore[method-assign, assignment]
        await scenario.stays(lambda: scenario.total == 4, ticks * TICK_S, "no worker may start beside them")
        scenario.cluster._service, scenario.cluster._tasks = real  # type: ignore[method-assign]
        await scenario.stays(lambda: len(scenario.busy) == 4 == scenario.total, 60.0, "all were to work on")
        await scenario.rests()

    run_scenario(steps)
