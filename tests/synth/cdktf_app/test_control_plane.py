# SPDX-License-Identifier: Apache-2.0
"""Settings of the control plane: architecture, sizes, counts, ECS Exec, hardening."""

import re
from pathlib import Path

import pytest

from cdktf_app.compute.container_definition import AIRFLOW_USER, SCALER_USER
from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES
from tests.support.stack import Stack
from tests.synth.cdktf_app.conftest import stack_of
from tests.synth.cdktf_app.test_services import COMPONENTS, WORKERS

DOCKERFILES = Path(__file__).parents[3] / "images"
SIZES = {
    "scheduler": ("1024", "4096"),
    "dag-processor": ("512", "2048"),
    "triggerer": ("256", "1024"),
    "web-server": ("2048", "4096"),
    "execution-api": ("512", "1024"),
}


@pytest.fixture(scope="module")
def configured() -> Stack:
    """An environment with all control plane settings."""
    return stack_of(
        architecture="X86_64",
        schedulers=3,
        min_webservers=2,
        max_webservers=4,
        enable_execute_command=True,
        sizes={
            ("webserver" if name == "web-server" else name.replace("-", "_")): {
                "cpu": int(cpu),
                "memory": int(memory),
            }
            for name, (cpu, memory) in SIZES.items()
        },
        fleets={
            "default": {"queues": ["default"], "capacity": "FARGATE_SPOT"},
            "graphics": {"queues": ["heavy"], "architecture": "ARM64"},
        },
    )


def platforms(stack: Stack) -> dict[str, str]:
    return {
        name.removeprefix("airflow_").removeprefix("fleets_"): task["runtime_platform"]["cpu_architecture"]
        for name, task in stack.resources("aws_ecs_task_definition").items()
    }


def test_the_processor_is_the_environments_and_a_fleets_own(configured: Stack, byo_resources: Stack) -> None:
    assert set(platforms(byo_resources).values()) == {"ARM64"}, "Spot too: Fargate has it on Graviton since 2024"
    assert platforms(configured).pop("graphics") == "ARM64"
    assert {name for name, kind in platforms(configured).items() if kind == "X86_64"} == {
        *(component.replace("-", "_") for component in COMPONENTS),
        "default",
        "scaler",
    }


def test_sizes_come_from_the_file_or_the_class(configured: Stack, byo_resources: Stack) -> None:
    def sizes(stack: Stack) -> dict[str, tuple[str, str]]:
        tasks = stack.resources("aws_ecs_task_definition")
        return {
            name: (
                tasks[f"airflow_{name.replace('-', '_')}"]["cpu"],
                tasks[f"airflow_{name.replace('-', '_')}"]["memory"],
            )
            for name in COMPONENTS
        }

    assert sizes(configured) == SIZES
    of_class = ENVIRONMENT_CLASSES["mw1.small"]
    for name, size in sizes(byo_resources).items():
        expected = of_class.webserver if name in ("web-server", "execution-api") else of_class.scheduler
        assert size == (str(expected.cpu), str(expected.memory)), name


def test_numbers(configured: Stack) -> None:
    assert [configured.services[name]["desired_count"] for name in COMPONENTS] == [3, 1, 1, 2, 2]
    zones = {name: service["availability_zone_rebalancing"] for name, service in configured.services.items()}
    assert {name for name, value in zones.items() if value == "ENABLED"} == {"web-server", "execution-api"}


def test_web_servers_follow_cpu_and_requests(configured: Stack) -> None:
    target = configured.only("aws_appautoscaling_target")
    assert (target["min_capacity"], target["max_capacity"]) == (2, 4)
    assert target["resource_id"] == "service/openmwaa-example/${aws_ecs_service.airflow_web_server.name}"
    followed = {
        name.removeprefix("airflow_web_autoscaling_"): policy["target_tracking_scaling_policy_configuration"]
        for name, policy in configured.resources("aws_appautoscaling_policy").items()
    }
    assert {name: policy["target_value"] for name, policy in followed.items()} == {"cpu": 70, "requests": 900}
    for name, policy in followed.items():
        assert policy["scale_in_cooldown"] > policy["scale_out_cooldown"], f"{name}: in must be slower than out"
    assert configured.services["web-server"]["lifecycle"]["ignore_changes"] == ["desired_count"]


def test_terraform_manages_a_fixed_number_of_web_servers(byo_resources: Stack) -> None:
    assert not byo_resources.resources("aws_appautoscaling_target")
    assert not byo_resources.resources("aws_appautoscaling_policy")
    assert "ignore_changes" not in byo_resources.services["web-server"].get("lifecycle", {})


def test_ecs_exec_is_for_the_control_plane_only(configured: Stack, byo_resources: Stack) -> None:
    def opened(stack: Stack) -> set[str]:
        return {name for name, service in stack.services.items() if service["enable_execute_command"]}

    assert opened(byo_resources) == set()
    assert opened(configured) == set(COMPONENTS)
    for name in COMPONENTS:
        word = name.replace("-", "_")
        sids = [statement["Sid"] for statement in configured.role_policy(f"roles_{word}")]
        assert "ExecuteCommand" in sids, f"{name} could not open a session"
        before = [statement["Sid"] for statement in byo_resources.role_policy(f"roles_{word}")]
        assert "ExecuteCommand" not in before, f"{name} may open sessions that are not enabled"


def test_containers_have_a_read_only_root_filesystem(configured: Stack, byo_resources: Stack) -> None:
    for name, container in byo_resources.containers.items():
        assert container["readonlyRootFilesystem"] is True, name
        assert container["linuxParameters"] == {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}}, name
    opened = {name for name, container in configured.containers.items() if not container["readonlyRootFilesystem"]}
    assert {name.split("/")[0] for name in opened} == set(COMPONENTS), "ECS Exec's agent writes, elsewhere nothing may"


def test_containers_run_as_the_users_of_their_images(byo_resources: Stack) -> None:
    for name, container in byo_resources.containers.items():
        image = "scaler" if name == "scaler/scaler" else "airflow"
        assert container["user"] == (SCALER_USER if image == "scaler" else AIRFLOW_USER), name
        assert container["privileged"] is False, name
        dockerfile = (DOCKERFILES / image / "Dockerfile").read_text(encoding="utf-8")
        assert re.findall(r"(?m)^USER (\S+)$", dockerfile)[-1] == container["user"], image


def test_writable_folders_are_volumes_of_the_image(byo_resources: Stack) -> None:
    (declared,) = re.findall(r"(?m)^VOLUME \[(.+)\]$", (DOCKERFILES / "airflow/Dockerfile").read_text(encoding="utf-8"))
    folders = set(re.findall(r'"([^"]+)"', declared))
    for name, container in byo_resources.containers.items():
        paths = {mount["containerPath"] for mount in container.get("mountPoints", ())}
        assert paths <= folders, f"{name}: a volume of root's, for the image does not declare {paths - folders}"
        if name.split("/")[1] not in ("dag-syncer", "scaler"):
            assert {"/opt/airflow", "/home/airflow", "/tmp"} <= paths, name
    for task in byo_resources.tasks.values():
        writers = [
            mount["sourceVolume"]
            for container in task
            for mount in container.get("mountPoints", ())
            if not mount["readOnly"]
        ]
        assert len(writers) == len(set(writers)), "two containers of a task write to one volume"


def test_every_container_of_the_control_plane_is_checked(byo_resources: Stack) -> None:
    for name in COMPONENTS:
        check = byo_resources.containers[f"{name}/{name}"]["healthCheck"]
        assert check["command"] == ["CMD", "python", "-m", "openmwaa_runtime", "health", name]
        # ECS's own bounds.
        assert 5 <= check["interval"] <= 300
        assert 2 <= check["timeout"] <= 60
        assert 1 <= check["retries"] <= 10
        assert 0 <= check["startPeriod"] <= 300
    assert not [name for name in WORKERS if "healthCheck" in byo_resources.containers[f"{name[:-2]}/worker"]]
