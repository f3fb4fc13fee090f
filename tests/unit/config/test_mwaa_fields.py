# SPDX-License-Identifier: Apache-2.0
"""Every field of MWAA is a field here, or the error names its counterpart."""

from pathlib import Path

import botocore.session
import pytest

from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import loads
from openmwaa.config.mwaa_fields import COUNTERPARTS, snake_case
from openmwaa.errors import EnvironmentFileError
from tests.support.environments import LEAST_YAML

FILE = Path("environment.yaml")
# Arguments and attributes of Terraform's aws_mwaa_environment, provider 6.
TERRAFORM = {
    *("airflow_configuration_options", "airflow_version", "arn", "created_at", "dag_s3_path", "endpoint_management"),
    *("database_vpc_endpoint_service", "environment_class", "execution_role_arn", "id", "kms_key", "last_updated"),
    *("logging_configuration", "max_webservers", "max_workers", "min_webservers", "min_workers", "name"),
    *("network_configuration", "plugins_s3_object_version", "plugins_s3_path", "region", "schedulers"),
    *("requirements_s3_object_version", "requirements_s3_path", "service_role_arn", "source_bucket_arn", "status"),
    *("startup_script_s3_object_version", "startup_script_s3_path", "tags", "tags_all", "timeouts", "webserver_url"),
    *("webserver_access_mode", "webserver_vpc_endpoint_service", "weekly_maintenance_window_start"),
    "worker_replacement_strategy",
}


def _api() -> set[str]:
    model = botocore.session.get_session().get_service_model("mwaa")
    shapes = ("CreateEnvironmentInput", "UpdateEnvironmentInput", "Environment")
    return {member for shape in shapes for member in getattr(model.shape_for(shape), "members")}  # noqa: B009 - no stub


@pytest.mark.parametrize("name", sorted(TERRAFORM | _api()))
def test_every_field_of_mwaa_is_known(name: str) -> None:
    if name in Environment.model_fields:
        return
    with pytest.raises(EnvironmentFileError) as caught:
        loads(LEAST_YAML + f"{name}: x", FILE)
    message = str(caught.value)
    if snake_case(name) in COUNTERPARTS:
        assert f"environment.yaml:3: {name}: is a field of MWAA; {COUNTERPARTS[snake_case(name)]}" in message
    else:
        assert f"did you mean `{snake_case(name)}`?" in message
        assert snake_case(name) in Environment.model_fields


def test_a_counterpart_is_no_field() -> None:
    assert not set(COUNTERPARTS) & set(Environment.model_fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network: {subnet_ids: [a]}", "network.subnet_ids: is a field of MWAA; write `private_subnet_ids`"),
        ("timeouts: {}", "Terraform's timeouts are set by the stack"),
        ("SourceBucketArn: x", "write `source_bucket`"),
    ],
)
def test_a_counterpart_is_named(text: str, message: str) -> None:
    with pytest.raises(EnvironmentFileError, match=message.replace("(", r"\(")):
        loads(LEAST_YAML + text, FILE)
