# SPDX-License-Identifier: Apache-2.0
"""The description of the environment for MWAA's API: members of botocore's model, in the web server only."""

import json
import re
from typing import Any

import pytest

from openmwaa_runtime.mwaa_api.environment import VARIABLE, EnvironmentDescription
from openmwaa_runtime.mwaa_api.service_model import check, service_model
from tests.support.mwaa_api import PlayedLive
from tests.support.stack import Stack
from tests.synth.cdktf_app.conftest import stack_of

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "all artefacts, options and tags": {
        "requirements_s3_path": "requirements.txt",
        "plugins_s3_path": "plugins.zip",
        "startup_script_s3_path": "start.sh",
        "airflow_configuration_options": {"core.default_task_retries": "2"},
        "tags": {"team": "data"},
        "execution_role_arn": "arn:aws:iam::123456789012:role/airflow",
    },
    "Redis": {"broker": {"kind": "ELASTICACHE"}},
}


def described(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = stack.document["locals"]["mwaa_environment"]
    return found


def resolved(members: dict[str, Any]) -> str:
    """The JSON with a value of the right form for each reference."""
    values = {
        "CreatedAt": "2026-12-01T10:20:30Z",
        "SourceBucketArn": "arn:aws:s3:::bucket",
        "CeleryExecutorQueue": "arn:aws:sqs:us-east-1:123456789012:queue",
        "WebserverUrl": "https://airflow.example.com",
        "KmsKey": "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555",
    }
    text = json.dumps({name: values.get(name, value) for name, value in members.items()})
    text = text.replace("${data.aws_partition.place.partition}", "aws")
    text = re.sub(r"\$\{data\.aws_caller_identity[^}]*\}", "123456789012", text)
    text = re.sub(r"\$\{aws_cloudwatch_log_group[^}]*\}", "arn:aws:logs:us-east-1:123456789012:log-group:a", text)
    text = re.sub(r"\$\{aws_subnet[^}]*\}", "subnet-1", text)
    return re.sub(r"(?<!\$)\$\{aws_security_group[^}]*\}", "sg-1", text)


@pytest.mark.parametrize("fields", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_the_description_is_one_of_botocores_model(fields: dict[str, Any]) -> None:
    variables = {"AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "2"}
    members = EnvironmentDescription(resolved(described(stack_of(**fields))), variables).with_live(PlayedLive())
    # MWAA answers with a host name, though its model has the form of a URL.
    assert members["WebserverUrl"] == "airflow.example.com"
    members["WebserverUrl"] = f"https://{members['WebserverUrl']}"
    # An environment has a subnet in each of three zones; MWAA's have two.
    members["NetworkConfiguration"]["SubnetIds"] = members["NetworkConfiguration"]["SubnetIds"][:2]
    check(service_model().shape_for("Environment"), members, "Environment")
    assert members["MinWorkers"] == 1


def test_artefacts_have_the_versions_of_the_plan() -> None:
    members = described(stack_of(**ENVIRONMENTS["all artefacts, options and tags"]))
    assert members["PluginsS3Path"] == "plugins.zip"
    assert "version_id" in members["RequirementsS3ObjectVersion"]
    assert members["AirflowConfigurationOptions"] == ["core.default_task_retries"]
    assert members["Tags"] == {"team": "data"}
    assert members["ExecutionRoleArn"] == "arn:aws:iam::123456789012:role/airflow"


def test_the_role_of_tasks_is_the_one_that_exists() -> None:
    stack = stack_of(name="Long_Name", identity={"path": "/data/", "role_name_prefix": "p-"})
    role = stack.document["resource"]["aws_iam_role"]["roles_worker"]
    assert described(stack)["ExecutionRoleArn"].endswith(f":role{role['path']}{role['name']}")


def test_only_the_web_server_has_it() -> None:
    holders = {
        container["name"]
        for containers in stack_of().tasks.values()
        for container in containers
        if VARIABLE in json.dumps(container)
    }
    assert holders == {"web-server"}


def test_a_new_minimum_of_workers_is_no_new_revision() -> None:
    assert described(stack_of(min_workers=1)) == described(stack_of(min_workers=2))
