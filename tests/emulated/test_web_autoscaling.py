# SPDX-License-Identifier: Apache-2.0
"""The web server's service with its autoscaling, by a real Terraform: made, changed, found unchanged, and gone."""

from pathlib import Path

import pytest

from local_ecs.api import LocalEcs, LocalEcsSettings
from local_ecs.model import Service
from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tests.support.fake_task_runner import FakeTaskRunner
from tests.support.fleet_terraform import FleetTerraform

# Four applies of a cluster: a minute.
pytestmark = [pytest.mark.emulated, pytest.mark.slow]


def of(least: int, most: int) -> Environment:
    return Environment.model_validate({**LEAST, "min_webservers": least, "max_webservers": most})


def web(ecs: LocalEcs) -> Service:
    return ecs.model.services.get("web-server", cluster="openmwaa-example")


def bounds(ecs: LocalEcs) -> list[tuple[int, int]]:
    found = ecs.autoscaling.snapshot()["targets"]
    return [(target["MinCapacity"], target["MaxCapacity"]) for target in found]


async def test_web_autoscaling_is_made_changed_and_removed(tmp_path: Path) -> None:
    ecs = LocalEcs(LocalEcsSettings(port=0, provisioning_s=0, pending_s=0), runner=FakeTaskRunner())
    await ecs.start()
    try:
        terraform = FleetTerraform(tmp_path, ecs.endpoint, prefix="airflow_web_")
        await terraform.say(of(1, 4))
        await terraform.apply()
        assert bounds(ecs) == [(1, 4)]
        assert {policy["PolicyName"] for policy in ecs.autoscaling.snapshot()["policies"]} == {
            "openmwaa-example-web-cpu",
            "openmwaa-example-web-requests",
        }
        # As Application Auto Scaling would; Terraform must leave it.
        ecs.driver.act(lambda: ecs.model.services.update("web-server", cluster="openmwaa-example", desired_count=3))
        assert await terraform.plan_is_clean(), "Terraform takes the number of web servers back"
        await terraform.say(of(2, 5))
        await terraform.apply()
        assert (bounds(ecs), web(ecs).desired_count) == ([(2, 5)], 3)
        await terraform.say(of(2, 2))
        await terraform.apply()
        assert (bounds(ecs), web(ecs).desired_count) == ([], 2)
        await terraform.destroy()
    finally:
        await ecs.stop()
