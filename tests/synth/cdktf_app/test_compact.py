# SPDX-License-Identifier: Apache-2.0
"""A COMPACT control plane: one service with all components, with the guarantees of a SEPARATE one; and the change."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cdktf_app.module.main import files
from openmwaa.config.control_plane import COMPONENTS
from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tests.support.stack import Json, Stack, secrets_of
from tests.synth.cdktf_app.test_alarms import alarms
from tests.synth.cdktf_app.test_security_groups import EGRESS, INGRESS, _connections

READERS = {"dag-processor", "triggerer"}


def named(stack: Stack) -> dict[str, Json]:
    """The containers of the task by name."""
    return {container["name"]: container for container in stack.tasks["control-plane"]}


def depends_on(container: Json) -> dict[str, str]:
    return {entry["containerName"]: entry["condition"] for entry in container.get("dependsOn", ())}


def test_there_is_one_service_and_its_count_is_schedulers(compact: Stack, compact_public: Stack) -> None:
    assert set(compact.services) == {"control-plane", "worker-default-a", "worker-default-b", "scaler"}
    assert [stack.services["control-plane"]["desired_count"] for stack in (compact, compact_public)] == [1, 2]
    task = compact.resources("aws_ecs_task_definition")["airflow_control_plane"]
    assert (task["cpu"], task["memory"]) == ("1024", "3072")
    assert not compact.resources("aws_appautoscaling_target")


def test_a_deployment_keeps_all_tasks_until_the_new_ones_are_healthy(compact: Stack) -> None:
    service = compact.services["control-plane"]
    assert (service["deployment_minimum_healthy_percent"], service["deployment_maximum_percent"]) == (100, 200)
    assert service["deployment_circuit_breaker"] == {"enable": True, "rollback": True}
    assert service["availability_zone_rebalancing"] == "ENABLED", "two tasks are in two zones"


def test_the_containers_are_those_of_a_separate_control_plane(compact: Stack, quickstart: Stack) -> None:
    """Only dependencies differ, and one syncer is enough. So no container has a secret that it had not before."""
    separate = {
        container["name"]: container for service in COMPONENTS for container in reversed(quickstart.tasks[service])
    }
    found = named(compact)
    assert set(found) == set(separate)
    for name, container in found.items():
        without = {key: value for key, value in container.items() if key != "dependsOn"}
        assert without == {k: v for k, v in separate[name].items() if k != "dependsOn"} or name == "dag-syncer", name
        assert secrets_of(container) == secrets_of(separate[name]), name


def test_servers_have_their_ports_before_dag_code_runs(compact: Stack, compact_public: Stack) -> None:
    for stack in (compact, compact_public):
        found = {name: depends_on(container) for name, container in named(stack).items()}
        prepared = {"prepare-database": "SUCCESS"}
        for name in COMPONENTS:
            ready = {"dag-syncer": "HEALTHY", "execution-api": "HEALTHY", "web-server": "HEALTHY"}
            assert found[name] == {**prepared, **(ready if name in READERS else {})}, name
    assert depends_on(named(compact_public)["prepare-database"]) == {"prepare-broker": "SUCCESS"}


def test_only_the_dags_are_shared_and_readers_cannot_write_them(compact: Stack) -> None:
    mounts: dict[str, dict[str, bool]] = {}
    for name, container in named(compact).items():
        for mount in container.get("mountPoints", ()):
            mounts.setdefault(mount["sourceVolume"], {})[name] = mount["readOnly"]
    shared = {volume: users for volume, users in mounts.items() if len(users) > 1}
    assert shared == {"dags": {"dag-syncer": False, "dag-processor": True, "triggerer": True}}
    assert all("pidMode" not in task for task in compact.resources("aws_ecs_task_definition").values())


def test_each_port_has_its_container_and_its_target_group(compact: Stack, compact_public: Stack) -> None:
    def targets(stack: Stack) -> set[tuple[str, str, int]]:
        return {
            (entry["target_group_arn"].split(".")[1], entry["container_name"], entry["container_port"])
            for entry in stack.services["control-plane"]["load_balancer"]
        }

    internal = {
        ("internal_load_balancer_execution", "execution-api", 8081),
        ("internal_load_balancer_web", "web-server", 8080),
    }
    assert targets(compact) == internal
    assert targets(compact_public) == internal | {("public_load_balancer_web", "web-server", 8080)}


def test_the_execution_api_is_reached_through_its_own_listener_only(compact_public: Stack) -> None:
    """No listener of users forwards to its target group, and no group of users reaches its port."""
    listeners = compact_public.resources("aws_lb_listener")
    forwarded = {
        name: [action["target_group_arn"] for action in listener["default_action"] if action["type"] == "forward"]
        for name, listener in listeners.items()
    }
    assert forwarded["public_load_balancer_web"] == ["${aws_lb_target_group.public_load_balancer_web.arn}"]
    assert forwarded["internal_load_balancer_web"] == ["${aws_lb_target_group.internal_load_balancer_web.arn}"]
    assert forwarded["internal_load_balancer_execution"] == [], "all but the rule is refused"
    (path,) = compact_public.resources("aws_lb_listener_rule")["internal_load_balancer_execution"]["condition"]
    assert path["path_pattern"]["values"] == ["/execution/*"]
    assert named(compact_public)["web-server"]["command"] == ["web-server"], "which is `--apps core`"


def test_connections_are_as_narrow_as_those_of_a_separate_control_plane(compact_public: Stack) -> None:
    found = _connections(compact_public, EGRESS)
    assert found == _connections(compact_public, INGRESS)
    assert {connection for connection in found if "control_plane" in connection} == {
        ("internal_load_balancer", "control_plane", 8080),
        ("internal_load_balancer", "control_plane", 8081),
        ("public_load_balancer", "control_plane", 8080),
        ("control_plane", "internal_load_balancer", 8081),
        ("control_plane", "internal_load_balancer", 8082),
        ("control_plane", "database", 5432),
        ("control_plane", "broker", 6379),
        ("control_plane", "endpoints", 443),
    }
    assert ("workers", "internal_load_balancer", 8081) in found


def test_the_role_has_the_permissions_of_the_components_and_no_others(compact: Stack, quickstart: Stack) -> None:
    for suffix in ("", "_execution"):
        expected = {
            (statement["Sid"], action, resource)
            for component in COMPONENTS
            for statement in quickstart.role_policy(f"roles_{component.replace('-', '_')}{suffix}")
            for action in statement["Action"]
            for resource in statement["Resource"]
        }
        statements = compact.role_policy(f"roles_control_plane{suffix}")
        found = [
            (s["Sid"], action, resource) for s in statements for action in s["Action"] for resource in s["Resource"]
        ]
        assert set(found) == expected
        assert len(found) == len(expected), "an entry is there twice"


def test_alarms_and_dashboard_have_the_service(compact: Stack) -> None:
    of_service = {
        name.removeprefix("alarms_")
        for name, alarm in alarms(compact).items()
        if alarm["dimensions"].get("ServiceName") == "control-plane"
    }
    assert of_service == {"scheduler_cpu", "scheduler_memory"}
    ids = {name.removeprefix("alarms_") for name in alarms(compact)}
    assert {"execution_api_down", "web_server_down", "scheduler_heartbeat", "scaler_not_running"} <= ids
    assert not {name for name in ids if name.startswith(("triggerer", "dag_processor", "web_server_cpu"))}
    text = json.dumps(compact.document["locals"]["dashboard_body"])
    assert '"ServiceName", "control-plane"' in text
    assert '"ServiceName", "scheduler"' not in text


def test_logs_are_in_the_groups_of_mwaa(compact: Stack) -> None:
    groups = {
        name: container["logConfiguration"]["options"]["awslogs-group"].split(".")[1].removeprefix("logs_")
        for name, container in named(compact).items()
    }
    assert groups == {
        "prepare-database": "scheduler",
        "dag-syncer": "dag_processing",
        "scheduler": "scheduler",
        "dag-processor": "dag_processing",
        "triggerer": "scheduler",
        "execution-api": "webserver",
        "web-server": "webserver",
    }


def test_a_module_has_the_size_of_the_callers_class_and_no_web_servers() -> None:
    made = files(Environment.model_validate({**LEAST, "control_plane": "COMPACT"}))
    known = json.loads(made["variables.tf.json"])["variable"]
    assert not {"min_webservers", "max_webservers"} & set(known)
    document = json.loads(made["main.tf.json"])
    task = document["resource"]["aws_ecs_task_definition"]["airflow_control_plane"]
    assert "local.environment_classes[var.environment_class].control_plane.memory" in task["memory"]
    assert document["resource"]["aws_ecs_service"]["airflow_control_plane"]["desired_count"] == "${var.schedulers}"


# --- the change of form


ORDERED = ("aws_ecs_service", "aws_iam_role_policy", "terraform_data", INGRESS, EGRESS)


def ordered(stack: Stack) -> dict[str, Any]:
    """The stack's resources with their dependencies, each as one that only takes time."""
    resources = {f"{kind}.{name}": value for kind in ORDERED for name, value in stack.resources(kind).items()}
    made: dict[str, Any] = {}
    for address, resource in resources.items():
        references = set(re.findall(r"\b(?:aws|terraform)_\w+\.[\w-]+", json.dumps(resource)))
        made[address.replace(".", "_")] = {
            "input": json.dumps(resource.get("input", "")),
            "depends_on": [f"terraform_data.{r.replace('.', '_')}" for r in sorted(references & set(resources))],
            "lifecycle": {"create_before_destroy": resource.get("lifecycle", {}).get("create_before_destroy", False)},
            "provisioner": {"local-exec": {"command": "sleep 2" if "_service." in address else "true"}},
        }
    return {"resource": {"terraform_data": made}}


@pytest.mark.parametrize("forms", [("quickstart", "compact"), ("compact", "quickstart")], ids=["compact", "separate"])
def test_old_services_and_their_rules_end_after_the_new_services_are_healthy(
    forms: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Otherwise running tasks had no execution API while new tasks start, and none at all if these fail."""
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("there is no terraform on PATH")
    stacks = [request.getfixturevalue(form) for form in forms]
    for stack in stacks:
        (tmp_path / "main.tf.json").write_text(json.dumps(ordered(stack)))
        for words in (["init"], ["apply", "-auto-approve"]):
            command = [program, *words, "-input=false", "-no-color"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
            assert done.returncode == 0, done.stderr
    lines = re.findall(
        r"^terraform_data\.(\S+): (Creation complete|Destroying|Destruction complete)", done.stdout, re.M
    )
    at = {line: index for index, line in enumerate(lines)}
    old, new = (
        [f"aws_ecs_service_{name}" for name in stack.resources("aws_ecs_service") if name.startswith("airflow_")]
        for stack in stacks
    )
    healthy = max(at[name, "Creation complete"] for name in new)
    assert min(at[name, "Destroying"] for name in old) > healthy
    for name in old:
        word = name.removeprefix("aws_ecs_service_airflow_")
        own = [index for (other, _), index in at.items() if f"_{word}_" in f"{other}_" and other != name]
        ended = [index for index in own if lines[index][1] == "Destroying"]
        assert ended, f"{name} has neither rules nor a role"
        assert min(ended) > at[name, "Destruction complete"], f"{name} lost a connection or a permission"
