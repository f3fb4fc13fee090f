# SPDX-License-Identifier: Apache-2.0
"""The HCL module of the scaler for Celery workers: planned with a mocked provider, and read as the scaler reads it."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scaler.config.environment import read_settings
from tests.support.module import complaints, planned, terraform_test
from tests.support.terraform import terraform_environment

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "plain-celery.md"
MODULE, EXAMPLE = ROOT / "terraform" / "celery-fleet", ROOT / "examples" / "celery"
ACCOUNT = "arn:aws:ecs:eu-central-1:123456789012"
SEED, URL = (f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}" for name in ("seed", "celery-broker"))
URL_SECRET = f"{URL}:url::"
CLUSTER = {"ArnEquals": {"ecs:cluster": f"{ACCOUNT}:cluster/jobs"}}
MOCKS = {
    "mock_data": {
        "aws_partition": {"defaults": {"partition": "aws"}},
        "aws_caller_identity": {"defaults": {"account_id": "123456789012"}},
    },
    "mock_resource": {
        "aws_iam_role": {"defaults": {"arn": "arn:aws:iam::123456789012:role/some"}},
        "aws_secretsmanager_secret_version": {"defaults": {"arn": SEED}},
    },
}


def plan(folder: Path, settings: dict[str, Any], **variables: Any) -> dict[str, Any]:
    """Plan the module in a copy; return the values of its resources by address."""
    module = folder / "module"
    shutil.copytree(MODULE, module, ignore=shutil.ignore_patterns(".terraform*"))
    text = (module / "main.tf").read_text()
    text = re.sub(r'^ephemeral "aws_sec.*?^}\n', "", text, flags=re.MULTILINE | re.DOTALL)  # it cannot be mocked
    (module / "main.tf").write_text(re.sub(r"= ephemeral\.\S+", '= "a fixed text"', text))
    given = {
        "settings": json.dumps(settings),
        "scaler_image": "registry/scaler@sha256:1",
        "vpc_id": "vpc-1",
        "subnet_ids": ["subnet-1"],
        "workers_security_group_id": "sg-workers",
    }
    runs = {"fleet": {"command": "plan", "variables": given | variables}}
    (module / "run.tftest.json").write_text(
        json.dumps({"mock_provider": {"aws": {"override_during": "plan", **MOCKS}}, "run": runs})
    )
    events = terraform_test(module, terraform_environment(folder))
    assert list(complaints(events)) == []
    return planned(events)


def settings_of(name: str) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((EXAMPLE / f"{name}.json").read_text())
    return settings


def statements(resources: dict[str, Any], role: str) -> dict[str, Any]:
    """Return the statements of a role by their actions."""
    found = json.loads(resources[f'aws_iam_role_policy.scaler["{role}"]']["policy"])["Statement"]
    return {" ".join(one["Action"]): one.get("Condition", one["Resource"]) for one in found}


@pytest.mark.parametrize(
    ("broker", "dry_run"),
    [
        pytest.param("sqs", False, id="-sqs"),
        pytest.param("redis", True, id="dry run-redis"),
        pytest.param("redis", False, id="-redis", marks=pytest.mark.slow),
        pytest.param("sqs", True, id="dry run-sqs", marks=pytest.mark.slow),
    ],
)
def test_the_module_runs_the_scaler_with_the_settings_and_the_rights_that_it_needs(
    broker: str, dry_run: bool, tmp_path: Path
) -> None:
    secret = {"broker_url_secret_arn": URL_SECRET} if broker == "redis" else {}
    resources = plan(tmp_path, settings_of(broker), dry_run=dry_run, **secret)
    (container,) = json.loads(resources["aws_ecs_task_definition.scaler"]["container_definitions"])
    assert container["command"] == (["--dry-run"] if dry_run else [])
    secrets = {entry["name"]: entry["valueFrom"] for entry in container["secrets"]}
    values = {"SCALER_SIGNING_SEED": "seed", "SCALER_BROKER_URL": "redis://:password@redis:6379/0"}
    read, _ = read_settings(
        {entry["name"]: entry["value"] for entry in container["environment"]} | {name: values[name] for name in secrets}
    )
    assert read.fleets[0].services == ("worker-jobs",)
    assert secrets == {"SCALER_SIGNING_SEED": SEED} | ({"SCALER_BROKER_URL": URL_SECRET} if secret else {})
    size = "ecs:DescribeServices" if dry_run else "ecs:DescribeServices ecs:UpdateService"
    queue = {"sqs:GetQueueAttributes": ["arn:aws:sqs:eu-central-1:123456789012:jobs"]}
    assert statements(resources, "task") == {
        size: [f"{ACCOUNT}:service/jobs/worker-jobs"],
        "ecs:DescribeTasks ecs:GetTaskProtection": [f"{ACCOUNT}:task/jobs/*"],
        "ecs:ListTasks": CLUSTER,
        **(queue if broker == "sqs" else {}),
    }
    assert statements(resources, "execution") == {"secretsmanager:GetSecretValue": [URL, SEED] if secret else [SEED]}
    rule = resources["aws_vpc_security_group_ingress_rule.agents"]
    assert (rule["security_group_id"], rule["from_port"], rule["to_port"]) == ("sg-workers", 8790, 8790)
    service = resources["aws_ecs_service.scaler"]
    assert (service["desired_count"], service["deployment_maximum_percent"]) == (1, 100), "two scalers would run"


def test_the_metrics_of_cloudwatch_are_allowed_where_they_are_read(tmp_path: Path) -> None:
    settings = settings_of("redis")
    settings["fleets"][0]["demand_metric"] = {"namespace": "Acme", "metric_name": "Frames"}
    found = statements(plan(tmp_path, settings), "task")
    assert found["cloudwatch:GetMetricData"] == ["*"]
    assert "sqs:GetQueueAttributes" not in found


def test_the_sample_of_the_page_is_valid_with_the_module_as_it_is(tmp_path: Path) -> None:
    """The other tests replace the ephemeral resource, which Terraform 1.11 cannot mock."""
    shutil.copytree(MODULE, tmp_path / "module", ignore=shutil.ignore_patterns(".terraform*"))
    (sample,) = re.findall(r"^```hcl\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "main.tf").write_text(re.sub(r'source( *)= ".*"', r'source\1= "./module"', sample))
    shutil.copy(EXAMPLE / "redis.json", tmp_path / "scaler.json")
    for words in (["init", "-backend=false", "-input=false"], ["validate"], ["fmt", "-check", "-recursive"]):
        done = subprocess.run(
            [str(shutil.which("terraform")), *words],
            cwd=tmp_path,
            env=terraform_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
