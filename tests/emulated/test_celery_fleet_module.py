# SPDX-License-Identifier: Apache-2.0
"""The HCL module for Celery workers on emulated AWS and a local ECS: applied, at work, planned again, and destroyed."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from openmwaa.local.services.secrets import EmulatedSecrets
from scaler.adapters.worker_agent import public_key
from tests.support.celery_fleet import CeleryFleet, assert_nothing_was_hurt
from tests.support.emulator import find_emulator, running_emulator
from tests.support.local_fleet import CLUSTER, A, LocalFleetSettings
from tests.support.terraform import emulator_environment
from tests.support.worker import REPOSITORY

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("default::DeprecationWarning"),
]

ACCOUNT: Any = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
RULES = {"aws_vpc_security_group_egress_rule", "aws_vpc_security_group_ingress_rule"}
SKIPPED = ("credentials_validation", "requesting_account_id", "region_validation", "metadata_api_check")


def settings_of(world: CeleryFleet) -> str:
    fleet = {"name": "jobs", "services": [A], "queues": {world.queue.name: world.queue.url}, "slots": 3}
    document = {"version": 2, "environment": "fleet", "region": "us-east-1", "cluster": CLUSTER, "interval_s": 1}
    return json.dumps(document | {"scale_in_window_s": 3, "fleets": [fleet | {"min": 0, "max": 4}]})


class Module:
    """Terraform in a folder that calls the module."""

    def __init__(self, folder: Path, emulator: str, world: CeleryFleet, settings: str) -> None:
        shutil.copytree(
            REPOSITORY / "terraform" / "celery-fleet", folder / "module", ignore=shutil.ignore_patterns(".terraform*")
        )
        provider = {"region": "us-east-1", "access_key": "test", "secret_key": "test"}
        ec2: Any = boto3.client("ec2", endpoint_url=emulator, **ACCOUNT)
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        group = ec2.create_security_group(GroupName=f"workers-{os.getpid()}", Description="workers", VpcId=vpc)
        given = {
            "settings": settings,
            "scaler_image": "scaler",
            "vpc_id": vpc,
            "subnet_ids": ["subnet-1"],
            "workers_security_group_id": group["GroupId"],
        }
        document = {
            "provider": {"aws": provider | dict.fromkeys((f"skip_{word}" for word in SKIPPED), True)},
            "module": {"scaler": {"source": "./module"} | given},
            "output": {"command": {"value": "${module.scaler.public_key_command}"}},
        }
        (folder / "main.tf.json").write_text(json.dumps(document))
        self._folder = folder
        endpoints = {"AWS_ENDPOINT_URL": emulator, "AWS_ENDPOINT_URL_ECS": world.ecs.endpoint}
        self._environment = emulator_environment(folder, endpoints)

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [str(shutil.which("terraform")), *words, "-no-color"],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"terraform {words[0]}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def everything() -> Iterator[str]:
    """Run the emulator with all services; yield its URL."""
    if shutil.which("terraform") is None:
        pytest.skip("there is no terraform on PATH")
    with running_emulator(find_emulator(), services="") as url:
        yield url


def test_the_scaler_of_the_module_scales_a_fleet_from_zero_to_zero(everything: str, tmp_path: Path) -> None:
    (folder := tmp_path / "terraform").mkdir()
    chosen = LocalFleetSettings(services=(A,), minimum=0, secrets=EmulatedSecrets(everything))
    world = CeleryFleet(everything, tmp_path, chosen)
    try:
        world.client.create_cluster(clusterName=CLUSTER)
        module = Module(folder, everything, world, settings_of(world))
        module("init", "-input=false")
        module("apply", "-input=false", "-auto-approve")
        command = json.loads(module("output", "-json"))["command"]["value"]
        secrets = boto3.client("secretsmanager", endpoint_url=everything, **ACCOUNT)
        seed = secrets.get_secret_value(SecretId=command.split("--secret-id ")[1].split()[0])["SecretString"]
        assert seed not in (folder / "terraform.tfstate").read_text()
        world.client.create_service(
            cluster=CLUSTER,
            serviceName=A,
            taskDefinition=world.register_worker(WORKER_AGENT_PUBLIC_KEY=public_key(seed)),
            desiredCount=0,
            launchType="FARGATE",
            deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 100},
        )
        tasks = world.burst(30, 0.5)
        world.until("growth", lambda: world.desired() == 4)
        world.until_finished(tasks)
        world.until_fleet_is(0)
        assert_nothing_was_hurt(world)
        # ministack returns rules for addresses without their description, and groups with the account.
        changed = re.findall(r"# (\S+) will be", module("plan", "-input=false"))
        assert {address.split(".")[2] for address in changed} <= RULES
        module("destroy", "-input=false", "-auto-approve")
    finally:
        world.close()
