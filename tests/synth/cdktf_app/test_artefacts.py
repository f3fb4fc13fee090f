# SPDX-License-Identifier: Apache-2.0
"""Artefacts of the bucket: their versions are in every container, and only one role writes installed requirements."""

from typing import Any

import pytest

from tests.support.iam import ACCOUNT, ResolvedStack
from tests.support.iam_evaluation import Request, allowed
from tests.support.stack import Stack, environment_of, secrets_of
from tests.synth.cdktf_app.conftest import stack_of

FIELDS: dict[str, Any] = {
    "requirements_s3_path": "requirements.txt",
    "plugins_s3_path": "more/plugins.zip",
    "startup_script_s3_path": "startup.sh",
    "plugins_s3_object_version": "v7",
}
COMPONENTS = ("scheduler", "dag-processor", "triggerer", "execution-api", "web-server", "worker")
BUCKET = f"arn:aws:s3:::openmwaa-example-us-east-1-{ACCOUNT}"
BUILT = f"{BUCKET}/openmwaa/example/requirements/cp312-arm64-0.tar.gz"
STREAM = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:airflow-example-{{}}:log-stream:{{}}"
GROUPS = {"dag_processor": "DAGProcessing", "execution_api": "WebServer", "web_server": "WebServer", "worker": "Worker"}


@pytest.fixture(scope="module")
def stack() -> Stack:
    return stack_of(**FIELDS)


def test_each_plan_reads_the_versions_and_no_content(stack: Stack) -> None:
    found = stack.document["data"]["aws_s3_object"]
    assert {name: (data["key"], data.get("version_id")) for name, data in found.items()} == {
        "artefacts_requirements": ("requirements.txt", None),
        "artefacts_plugins": ("more/plugins.zip", "v7"),
        "artefacts_startup_script": ("startup.sh", None),
    }
    assert {data["range"] for data in found.values()} == {"bytes=0-0"}, "the state would have the content"
    assert all("versioning" in data["lifecycle"]["postcondition"][0]["error_message"] for data in found.values())


def test_applied_versions_of_artefacts_do_not_expire(stack: Stack) -> None:
    _, versions = stack.resources("aws_s3_bucket_lifecycle_configuration")["storage_lifecycle"]["rule"]
    assert versions["filter"] == [{"prefix": "dags/"}]


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_has_the_versions_so_a_new_object_is_a_new_revision(stack: Stack, component: str) -> None:
    service = "worker-default" if component == "worker" else component
    variables = environment_of(stack.containers[f"{service}/{component}"])
    for kind, key in (("REQUIREMENTS", "requirements.txt"), ("PLUGINS", "more/plugins.zip")):
        assert variables[f"OPENMWAA_{kind}_KEY"] == key
        assert variables[f"OPENMWAA_{kind}_VERSION"] == f"${{data.aws_s3_object.artefacts_{kind.lower()}.version_id}}"
    assert variables["OPENMWAA_LOG_GROUP"].startswith("${aws_cloudwatch_log_group.logs_")


@pytest.mark.parametrize("control_plane", ["COMPACT", "SEPARATE"])
def test_requirements_are_built_beside_the_scheduler_and_end_no_task(control_plane: str) -> None:
    service = "control-plane" if control_plane == "COMPACT" else "scheduler"
    containers = stack_of(**FIELDS, control_plane=control_plane, broker={"kind": "ELASTICACHE"}).tasks[service]
    assert len(containers) <= 10, "ECS allows 10 containers in a task"
    builder = next(container for container in containers if container["name"] == "prepare-artefacts")
    assert (builder["essential"], builder["dependsOn"]) == (
        False,
        [{"containerName": "prepare-database", "condition": "SUCCESS"}],
    )
    assert builder["logConfiguration"]["options"]["awslogs-stream-prefix"] == "requirements_install"
    assert [*secrets_of(builder)] == ["OPENMWAA_DATABASE_MASTER"]
    assert environment_of(builder)["OPENMWAA_ARCHITECTURES"] == "${local.artefacts_architectures}"
    waiting = {name for c in containers for name in [d["containerName"] for d in c.get("dependsOn", ())]}
    assert "prepare-artefacts" not in waiting, "a dependency ends after three minutes"


def test_without_requirements_nothing_is_built() -> None:
    stack = stack_of(plugins_s3_path="plugins.zip")
    assert "scheduler/prepare-artefacts" not in stack.containers
    assert "s3:PutObject" not in str(stack.role_policy("roles_scheduler"))


def test_every_architecture_of_a_fleet_is_built() -> None:
    fleets = {"default": {"queues": ["default"]}, "big": {"queues": ["big"], "architecture": "X86_64"}}
    assert stack_of(**FIELDS, fleets=fleets).document["locals"]["artefacts_architectures"] == "ARM64,X86_64"


def test_only_the_scheduler_writes_requirements_and_every_component_reads_them(stack: Stack) -> None:
    resolved = ResolvedStack(stack)
    key = {"kms:ViaService": "s3.us-east-1.amazonaws.com"}
    for component in COMPONENTS:
        policy = resolved.policy(f"roles_{component.replace('-', '_')}")
        reads = [f"{BUCKET}/requirements.txt", f"{BUCKET}/more/plugins.zip", f"{BUCKET}/startup.sh", BUILT]
        assert all(allowed(policy, Request("s3:GetObjectVersion", arn)) for arn in reads), component
        assert allowed(policy, Request("kms:Decrypt", resolved.resolved("${aws_kms_key.keys.arn}"), key)), component
        assert allowed(policy, Request("s3:PutObject", BUILT)) == (component == "scheduler"), component
        assert not allowed(policy, Request("s3:PutObject", f"{BUCKET}/requirements.txt")), component
        assert not allowed(policy, Request("s3:PutObject", f"{BUCKET}/openmwaa/other/requirements/x")), component


def test_the_log_of_the_startup_script_is_all_that_a_role_may_write_in_its_group(stack: Stack) -> None:
    resolved = ResolvedStack(stack)
    for role, group in (dict.fromkeys(("scheduler", "triggerer"), "Scheduler") | GROUPS).items():
        policy = resolved.policy(f"roles_{role}")
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            own = STREAM.format(group, f"startup_script_execution/{role}/1")
            assert allowed(policy, Request(action, own)), role
            assert not allowed(policy, Request(action, STREAM.format(group, f"{role}/{role}/1"))), role
