# SPDX-License-Identifier: Apache-2.0
"""Services, tasks and containers, and that the runtime and the scaler accept their settings."""

import copy
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from cdktf_app.base.log_groups import LogGroup
from cdktf_app.compute.container_definition import ContainerSpec
from cdktf_app.compute.images import Image
from openmwaa.config.environment_classes import FARGATE_MEMORY
from openmwaa.config.images import SCALER_VERSION
from openmwaa_runtime.settings.container_env import REQUIRED
from openmwaa_runtime.settings.defaults import heartbeat_interval
from openmwaa_runtime.sync_dags.folder import VersionedFolder
from scaler.config.settings import parse_settings
from tests.support.stack import Stack, environment_of, secrets_of
from tests.synth.cdktf_app.conftest import stack_of

COMPONENTS = ["scheduler", "dag-processor", "triggerer", "execution-api", "web-server"]
WORKERS = ["worker-default-a", "worker-default-b", "worker-graphics-a", "worker-graphics-b"]


def test_there_is_a_service_for_each_component_and_fleet(quickstart: Stack, byo_resources: Stack) -> None:
    assert set(quickstart.services) == {*COMPONENTS, "worker-default-a", "worker-default-b", "scaler"}
    assert set(byo_resources.services) == {*COMPONENTS, *WORKERS, "scaler"}


def test_counts(quickstart: Stack, byo_resources: Stack) -> None:
    assert {name: service["desired_count"] for name, service in quickstart.services.items()} == {
        "scheduler": 1,
        "dag-processor": 1,
        "triggerer": 1,
        "execution-api": 2,
        "web-server": 2,
        "worker-default-a": "${local.fleets_default_newest % 2 == 1 ? 1 : 0}",
        "worker-default-b": "${local.fleets_default_newest % 2 == 0 ? 1 : 0}",
        "scaler": 1,
    }
    assert byo_resources.services["scheduler"]["desired_count"] == 2
    assert (
        byo_resources.services["worker-graphics-a"]["desired_count"]
        == "${local.fleets_graphics_newest % 2 == 1 ? 0 : 0}"
    )


def test_terraform_ignores_the_desired_count_of_workers(byo_resources: Stack) -> None:
    left = {
        name: service.get("lifecycle", {}).get("ignore_changes", []) for name, service in byo_resources.services.items()
    }
    assert {name for name, ignored in left.items() if ignored == ["desired_count"]} == set(WORKERS)
    assert not any(ignored for name, ignored in left.items() if not name.startswith("worker-"))


def test_ecs_does_not_stop_workers_on_its_own(byo_resources: Stack) -> None:
    for name in WORKERS:
        service = byo_resources.services[name]
        assert service["availability_zone_rebalancing"] == "DISABLED", name
        percentages = (service["deployment_minimum_healthy_percent"], service["deployment_maximum_percent"])
        assert percentages == (0, 100), f"{name}: a rollout would start unprotected workers"
        assert service["deployment_circuit_breaker"] == {"enable": False, "rollback": False}, name
    for name in ("worker-default", "worker-graphics"):
        worker = byo_resources.containers[f"{name}/worker"]
        assert "healthCheck" not in worker, f"{name}: a busy worker could fail it"
        assert worker["stopTimeout"] == 120, f"{name}: Fargate gives 120 s"
        assert worker["essential"] is True
        assert byo_resources.containers[f"{name}/dag-syncer"]["essential"] is False, (
            f"{name}: a sidecar's end ends the task"
        )


def test_there_are_never_two_scalers(quickstart: Stack) -> None:
    service = quickstart.services["scaler"]
    assert (service["deployment_minimum_healthy_percent"], service["deployment_maximum_percent"]) == (0, 100)


def test_a_failed_deployment_is_rolled_back(quickstart: Stack) -> None:
    for name, service in quickstart.services.items():
        if not name.startswith("worker-"):  # there the scaler leaves the work to the older generation
            assert service["deployment_circuit_breaker"] == {"enable": True, "rollback": True}, name


def test_services_depend_on_all_required_resources(quickstart: Stack) -> None:
    for name, service in quickstart.services.items():
        needed = " ".join(service["depends_on"])
        for kind in (
            "aws_ecs_cluster_capacity_providers",
            "aws_db_instance.metadata_database",
            "aws_route.network_private_2_out",
        ):
            assert kind in needed, f"{name} could start before {kind}"
        assert needed.count("aws_secretsmanager_secret_version.") == 8, f"{name} could start before its secrets"
        own = f"aws_iam_role_policy.roles_{re.sub('-default-[ab]$', '', name).replace('-', '_')}_execution"
        assert own in service["depends_on"], f"{name} could start before {own}"
    assert "aws_lb_listener_rule.internal_load_balancer_execution" in quickstart.services["execution-api"]["depends_on"]
    assert "aws_lb_listener.internal_load_balancer_web" in quickstart.services["web-server"]["depends_on"]


@pytest.mark.parametrize(("service", "port"), [("web-server", 8080), ("execution-api", 8081), ("scaler", 8082)])
def test_services_with_a_load_balancer_register_their_container(quickstart: Stack, service: str, port: int) -> None:
    (target,) = quickstart.services[service]["load_balancer"]
    assert (target["container_name"], target["container_port"]) == (service, port)
    assert quickstart.containers[f"{service}/{service}"]["portMappings"][0]["containerPort"] == port


def test_the_database_is_prepared_before_the_scheduler(quickstart: Stack) -> None:
    prepare, scheduler = quickstart.tasks["scheduler"]
    assert (prepare["name"], prepare["essential"], prepare["command"]) == (
        "prepare-database",
        False,
        ["prepare-database"],
    )
    assert scheduler["dependsOn"] == [{"containerName": "prepare-database", "condition": "SUCCESS"}]


@pytest.mark.parametrize("service", ["dag-processor", "triggerer", "worker-default"])
def test_containers_with_dags_wait_for_the_first_sync(quickstart: Stack, service: str) -> None:
    syncer, reader = quickstart.tasks[service]
    assert (syncer["name"], syncer["command"], syncer["essential"]) == ("dag-syncer", ["sync-dags"], False)
    assert reader["dependsOn"] == [{"containerName": "dag-syncer", "condition": "HEALTHY"}]
    mounts = [
        (mount["sourceVolume"], mount["containerPath"], mount["readOnly"])
        for container in (syncer, reader)
        for mount in container["mountPoints"]
        if mount["sourceVolume"] == "dags"
    ]
    assert mounts == [("dags", "/opt/openmwaa/dags", False), ("dags", "/opt/openmwaa/dags", True)]


@pytest.mark.parametrize("service", ["dag-processor", "triggerer", "worker-default"])
def test_a_syncer_that_exits_is_restarted(quickstart: Stack, service: str) -> None:
    """ECS never restarts another container that is not essential, and its task would keep old DAGs."""
    syncer, reader = quickstart.tasks[service]
    assert syncer["restartPolicy"] == {"enabled": True, "restartAttemptPeriod": 60}
    assert "restartPolicy" not in reader, "the exit of an essential container ends its task"


@pytest.mark.parametrize(
    ("age_s", "is_healthy"),
    [
        pytest.param(None, False, id="no sync yet"),
        pytest.param(0, True, id="a sync just now"),
        pytest.param(200, True, id="a sync three minutes ago"),
        pytest.param(400, False, id="no sync for six minutes"),
    ],
)
def test_a_syncer_is_healthy_after_a_recent_sync(
    quickstart: Stack, tmp_path: Path, age_s: float | None, is_healthy: bool
) -> None:
    folder = VersionedFolder(tmp_path / "with blanks")
    folder.recover()
    if age_s is not None:
        folder.record({}, now=time.time() - age_s)
    kind, command = quickstart.containers["worker-default/dag-syncer"]["healthCheck"]["command"]
    assert (kind, "python" in command) == ("CMD-SHELL", False), "a Python every 5 s takes 4 % of a vCPU"
    environment = {"PATH": os.environ["PATH"], "OPENMWAA_DAG_FOLDER": str(folder.root)}
    done = subprocess.run(["/bin/sh", "-c", command], env=environment, check=False, capture_output=True, timeout=60)
    assert (done.returncode == 0) == is_healthy


@pytest.mark.parametrize(("login", "unused"), [("IAM", {"OPENMWAA_ADMIN_PASSWORD"}), ("PASSWORD", set[str]())])
def test_the_runtime_gets_all_required_variables(login: str, unused: set[str]) -> None:
    for name, container in stack_of(web_access={"allow_http": True, "login": login}).containers.items():
        if name == "scaler/scaler":
            continue
        (word,) = container["command"]
        missing = set(REQUIRED[word]) - {*environment_of(container), *secrets_of(container)}
        assert missing == (unused if word == "web-server" else set()), f"{name} lacks {missing}"


def scaler_config(stack: Stack) -> Any:
    """The scaler's settings, with values that exist only after an apply: the URLs of queues and the mode of TLS."""
    config = copy.deepcopy(stack.local(environment_of(stack.containers["scaler/scaler"])["SCALER_CONFIG"]))
    assert config["database"]["sslmode"] == "${local.metadata_database_sslmode}"
    config["database"]["sslmode"] = "require"
    assert (config["web_url"], config["log_url"]) == ("${local.web_url}", "${local.scaler_log_url}")
    config |= {"web_url": "https://airflow.example.com", "log_url": stack.document["locals"]["scaler_log_url"]}
    for fleet in config["fleets"]:
        assert all(url.startswith("${aws_sqs_queue.") for url in fleet["queues"].values())
        fleet["queues"] = {queue: f"https://sqs.us-east-1.amazonaws.com/1/{queue}" for queue in fleet["queues"]}
    return config


def test_the_scaler_accepts_its_settings(byo_resources: Stack) -> None:
    settings = parse_settings(json.dumps(scaler_config(byo_resources)))
    assert (settings.cluster, settings.agent_port, settings.http_port) == ("openmwaa-example", 8790, 8082)
    fleets = {fleet.services: (fleet.slots, fleet.min, fleet.max, tuple(fleet.queues)) for fleet in settings.fleets}
    assert fleets == {
        ("worker-default-a", "worker-default-b"): (3, 2, 4, ("default", "high")),
        ("worker-graphics-a", "worker-graphics-b"): (2, 0, 7, ("heavy",)),
    }
    assert (settings.overrides_prefix, settings.metrics_namespace) == ("/openmwaa/example/scaler/", "openmwaa")
    default, heavy = settings.fleets
    assert (default.schedule, default.fallback.mode, default.desired_count_drift) == ((), "hold", "correct")
    (mornings,) = heavy.schedule
    assert (mornings.cron, mornings.minutes, mornings.min, mornings.timezone) == ("0 6 * * 1-5", 90, 3, "Europe/Zurich")
    assert (heavy.fallback.mode, heavy.fallback.count, heavy.fallback.after_s) == ("hold-if-higher", 2, 300)
    assert heavy.desired_count_drift == "adopt"
    container = byo_resources.containers["scaler/scaler"]
    assert container["portMappings"][0]["containerPort"] == 8082
    assert "command" not in container


def test_the_scaler_gets_the_demand_metric_of_a_fleet(no_internet: Stack) -> None:
    (fleet,) = parse_settings(json.dumps(scaler_config(no_internet))).fleets
    assert fleet.demand_metric is not None
    found = fleet.demand_metric.model_dump()
    # Terraform reads `$${` and `%%{` as the text `${` and `%{`.
    assert (found["namespace"], found["metric_name"]) == ("Acme/$${video}", "Frames")
    assert found["dimensions"] == {"%%{a}": "b"}
    assert (found["statistic"], found["slots_per_unit"], found["period_s"]) == ("Maximum", 0.5, 60)


def test_workers_get_the_settings_of_their_fleet(byo_resources: Stack) -> None:
    values = environment_of(byo_resources.containers["worker-default/worker"])
    assert (values["OPENMWAA_WORKER_QUEUES"], values["OPENMWAA_WORKER_SLOTS"]) == ("default,high", "3")
    scheduler = environment_of(byo_resources.containers["scheduler/scheduler"])
    assert scheduler["OPENMWAA_TOTAL_SLOTS"] == str(4 * 3 + 7 * 2)
    assert byo_resources.containers["worker-default/worker"]["portMappings"][0]["containerPort"] == 8790


def test_containers_get_the_urls_of_queues(byo_resources: Stack) -> None:
    values = environment_of(byo_resources.containers["scheduler/scheduler"])["OPENMWAA_QUEUES"]
    for queue in ("default", "high", "heavy"):
        assert f'"{queue}" = aws_sqs_queue.broker_queue_{queue}.url' in values


def test_a_fleet_does_not_depend_on_other_fleets(byo_resources: Stack) -> None:
    """A new, removed or changed fleet must not create a new revision of the others, whose workers are busy."""
    for fleet, own, others in (
        ("default", ("default", "high"), ("heavy",)),
        ("graphics", ("heavy",), ("default", "high")),
    ):
        text = json.dumps(byo_resources.tasks[f"worker-{fleet}"])
        assert all(f"broker_queue_{queue}.url" in text for queue in own), fleet
        assert not any(f"broker_queue_{queue}.url" in text for queue in others), fleet


def test_the_users_options_override_defaults_and_are_escaped(byo_resources: Stack) -> None:
    for name in (*(f"{component}/{component}" for component in COMPONENTS), "worker-graphics/worker"):
        values = environment_of(byo_resources.containers[name])
        assert values["AIRFLOW__CORE__PARALLELISM"] == "7", name
        assert values["AIRFLOW__SMTP__SMTP_MAIL_FROM"] == "$${injected} %%{if}", "Terraform would read it as a template"
    assert not [
        key for key in environment_of(byo_resources.containers["triggerer/dag-syncer"]) if key.startswith("AIRFLOW__")
    ]


def test_log_levels_follow_the_modules(byo_resources: Stack) -> None:
    worker = environment_of(byo_resources.containers["worker-default/worker"])
    assert worker["AIRFLOW__LOGGING__LOGGING_LEVEL"] == "DEBUG"
    assert worker["AIRFLOW__LOGGING__CELERY_LOGGING_LEVEL"] == "WARNING", "a module that is off still warns"
    assert environment_of(byo_resources.containers["scheduler/scheduler"])["AIRFLOW__LOGGING__LOGGING_LEVEL"] == "INFO"


def test_components_use_mwaas_log_groups(quickstart: Stack) -> None:
    groups = {
        name: container["logConfiguration"]["options"]["awslogs-group"]
        for name, container in quickstart.containers.items()
    }
    named = {
        name: quickstart.resources("aws_cloudwatch_log_group")[reference.split(".")[1]]["name"]
        for name, reference in groups.items()
    }
    assert named == {
        "scheduler/prepare-database": "airflow-quickstart-Scheduler",
        "scheduler/scheduler": "airflow-quickstart-Scheduler",
        "dag-processor/dag-syncer": "airflow-quickstart-DAGProcessing",
        "dag-processor/dag-processor": "airflow-quickstart-DAGProcessing",
        "triggerer/dag-syncer": "airflow-quickstart-Scheduler",
        "triggerer/triggerer": "airflow-quickstart-Scheduler",
        "execution-api/execution-api": "airflow-quickstart-WebServer",
        "web-server/web-server": "airflow-quickstart-WebServer",
        "worker-default/dag-syncer": "airflow-quickstart-Worker",
        "worker-default/worker": "airflow-quickstart-Worker",
        "scaler/scaler": "airflow-quickstart-Scaler",
    }


def test_containers_have_a_label_with_their_image(quickstart: Stack) -> None:
    for name, container in quickstart.containers.items():
        kind, tag = ("scaler", SCALER_VERSION) if name == "scaler/scaler" else ("airflow", "3.3.2")
        assert container["dockerLabels"]["openmwaa.image"] == kind, name
        assert container["image"] == f"${{aws_ecr_repository.images_{kind}.repository_url}}:{tag}", name


def test_tasks_have_sizes_of_fargate(quickstart: Stack, byo_resources: Stack) -> None:
    for stack in (quickstart, byo_resources):
        for task in stack.resources("aws_ecs_task_definition").values():
            assert int(task["memory"]) in FARGATE_MEMORY[int(task["cpu"])], task["family"]
    sizes = {
        task["family"]: (task["cpu"], task["memory"])
        for task in byo_resources.resources("aws_ecs_task_definition").values()
    }
    assert sizes["openmwaa-example-worker-graphics"] == ("4096", "16384")
    assert sizes["openmwaa-example-worker-default"] == ("1024", "3072")


def test_a_fleet_has_two_services_of_one_family(byo_resources: Stack) -> None:
    local = byo_resources.document["locals"]
    for fleet, capacity in (("default", "FARGATE"), ("graphics", "FARGATE_SPOT")):
        definition = byo_resources.resources("aws_ecs_task_definition")[f"fleets_{fleet}"]
        assert definition["family"] == f"openmwaa-example-worker-{fleet}"
        assert definition["skip_destroy"] is True, f"{fleet}: the older generation's revision would be deregistered"
        newest = f"local.fleets_{fleet}_newest"
        assert local[f"fleets_{fleet}_newest"] == f"${{aws_ecs_task_definition.fleets_{fleet}.revision}}"
        for generation, parity in (("a", 1), ("b", 0)):
            service = byo_resources.services[f"worker-{fleet}-{generation}"]
            revision = f"local.fleets_{fleet}_{generation}_revision"
            arn = f"${{aws_ecs_task_definition.fleets_{fleet}.arn_without_revision}}"
            assert service["task_definition"] == f"{arn}:${{{revision}}}"
            assert local[revision.removeprefix("local.")] == (
                f"${{{newest} % 2 == {parity} ? {newest} : max({newest} - 1, 1)}}"
            )
            assert service["capacity_provider_strategy"] == [{"capacity_provider": capacity, "weight": 1}]
            assert service["force_new_deployment"] is True, "without it a change of capacity replaces busy services"
        labels = byo_resources.containers[f"worker-{fleet}/worker"]["dockerLabels"]
        assert labels["openmwaa.capacity"] == capacity, f"{fleet}: a change of capacity must be a new revision"


def test_the_scaler_is_created_after_its_fleets_and_destroyed_before_them(byo_resources: Stack) -> None:
    needed = byo_resources.services["scaler"]["depends_on"]
    assert {f"aws_ecs_service.fleets_{fleet}_{suffix}" for fleet in ("default", "graphics") for suffix in "ab"} <= set(
        needed
    ), "destroy would leave a scaler that raises again what it has set to zero"


@pytest.mark.parametrize(("most", "values"), [(1, "100"), (19, "100"), (21, "200"), (90, "500"), (900, "500")])
def test_a_small_change_of_the_maximum_creates_no_new_revision(most: int, values: str) -> None:
    stack = stack_of(max_workers=most, environment_class="mw1.small")
    worker = environment_of(stack.containers["worker-default/worker"])
    exactly = int(environment_of(stack.containers["scheduler/scheduler"])["OPENMWAA_TOTAL_SLOTS"])
    assert (worker["OPENMWAA_TOTAL_SLOTS"], exactly) == (values, most * 5)
    assert heartbeat_interval(int(values)) == heartbeat_interval(exactly), "heartbeats are not what they would be"


def test_ecs_accepts_every_container_definition(quickstart: Stack, byo_resources: Stack) -> None:
    model = botocore.session.get_session().get_service_model("ecs")
    shape = model.shape_for("ContainerDefinitions")
    for stack in (quickstart, byo_resources):
        for family, containers in stack.tasks.items():
            report = ParamValidator().validate(_resolved(containers), shape)
            assert not report.has_errors(), f"{family}: {report.generate_report()}"


def _resolved(value: Any) -> Any:
    """The definition as Terraform sends it, with texts for references."""
    return json.loads(re.sub(r"\$\{[^}]*\}", "x", json.dumps(value)))


def test_a_variable_cannot_be_both_plain_and_secret() -> None:
    container = ContainerSpec(
        name="both",
        image=Image("airflow", "image", None),
        log_group=LogGroup("group", "arn"),
        region="us-east-1",
        environment={"NAME": "1"},
        secrets={"NAME": "arn"},
    )
    with pytest.raises(ValueError, match="NAME is set in `environment` and in `secrets`"):
        container.definition()
