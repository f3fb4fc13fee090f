# SPDX-License-Identifier: Apache-2.0
"""A service that ECS reports as MISSING: absent at once if it was never seen, else only after several answers."""

from collections.abc import Sequence
from typing import Any

import pytest

from scaler.core.model import FleetPolicy, Known, Service, Task, Unknown
from scaler.errors import AbsentError, SourceError
from scaler.runtime.observe import ABSENT_AFTER, Observer, Ports
from tests.support.fake_environment import FakeEnvironment

FLEET = FleetPolicy("default", ("default",), 5, 1, 5)
EXISTS, MISSING, DOWN = "exists", "missing", "down"


class Cluster:
    """Two services; the answers for `b` are set by a test."""

    def __init__(self) -> None:
        self.answer, self.tasks_of_b = EXISTS, MISSING

    async def service(self, name: str) -> Service:
        if name == "b" and self.answer != EXISTS:
            raise (AbsentError if self.answer == MISSING else SourceError)("ecs", self.answer)
        return Service(1, 1, 0)

    async def tasks(self, service: str) -> tuple[Task, ...]:
        if service == "b" and self.tasks_of_b != EXISTS:
            raise SourceError("ecs", "no list")
        return (Task(f"task/{service}", "RUNNING"),)

    async def protected(self, arns: Sequence[str], *, for_s: float = 0.0) -> frozenset[str]:
        return frozenset(arns)


def observer(cluster: Cluster) -> Observer:
    environment = FakeEnvironment(1)
    ports: Any = Ports(environment, cluster, environment.agents, environment, None)  # type: ignore[arg-type]
    return Observer(FLEET, ["a", "b"], {"default": "url"}, ports)


async def absent_after(watched: Observer, cluster: Cluster, answers: Sequence[str]) -> list[bool]:
    """Return for each answer about `b` whether it is absent, and check that it is unknown otherwise."""
    found = []
    for cluster.answer in answers:
        seen, _ = await watched.observe(3.0, 15.0)
        found.append(seen.absent == ("b",))
        assert ("b" in seen.services) is not found[-1]
        if not found[-1]:
            assert isinstance(seen.services["b"].service, Known if cluster.answer == EXISTS else Unknown)
    return found


@pytest.mark.parametrize(
    ("answers", "absent"),
    [
        pytest.param([MISSING], [True], id="never seen"),
        pytest.param([DOWN, MISSING, DOWN], [False, True, True], id="never seen and not read"),
        pytest.param([EXISTS, MISSING, EXISTS], [False] * 3, id="one wrong answer"),
        pytest.param([EXISTS, *[MISSING] * ABSENT_AFTER], [False] * ABSENT_AFTER + [True], id="deleted"),
        pytest.param(
            [EXISTS, *[MISSING] * (ABSENT_AFTER - 1), DOWN, MISSING, DOWN],
            [False] * (ABSENT_AFTER + 1) + [True] * 2,
            id="a failed call between changes nothing",
        ),
        pytest.param([EXISTS, *[MISSING, EXISTS] * 9], [False] * 19, id="answers that alternate"),
        pytest.param([MISSING, EXISTS, MISSING], [True, False, False], id="created later"),
    ],
)
async def test_a_service_is_absent(answers: list[str], absent: list[bool]) -> None:
    cluster = Cluster()
    assert await absent_after(observer(cluster), cluster, answers) == absent


async def test_a_service_with_known_tasks_is_never_absent() -> None:
    cluster = Cluster()
    cluster.tasks_of_b = EXISTS
    assert await absent_after(observer(cluster), cluster, [MISSING] * 20) == [False] * 20


async def test_changed_settings_forget_no_service_that_was_seen() -> None:
    cluster = Cluster()
    before, after = observer(cluster), observer(cluster)
    await absent_after(before, cluster, [EXISTS])
    after.inherit_state(before)
    assert await absent_after(after, cluster, [MISSING]) == [False]
