# SPDX-License-Identifier: Apache-2.0
"""A field that is not supported on this machine is refused, with the alternative."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS, DEFAULT_VERSION
from openmwaa.config.environment import Environment
from openmwaa.local.errors import UnsupportedError
from openmwaa.local.install import supported
from tests.support.environments import LEAST

EXISTING = {
    "kind": "EXISTING",
    "host": "db.example.com",
    "master_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:master-AbCdEf",
    "security_group_id": "sg-12345678",
}
VPC = {"vpc_id": "vpc-12345678", "private_subnet_ids": ["subnet-12345678", "subnet-87654321"]}


def environment(**fields: Any) -> Environment:
    return Environment.model_validate({**LEAST, **fields})


@pytest.mark.parametrize("fields", [{}, {"metadata_database": {"kind": "RDS_POSTGRESQL"}}], ids=["least", "rds"])
def test_a_supported_environment_is_accepted(fields: dict[str, Any]) -> None:
    supported.check(environment(**fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"broker": {"kind": "ELASTICACHE"}}, r"`broker.kind: ELASTICACHE`.*Use `SQS` here"),
        ({"metadata_database": EXISTING}, r"`metadata_database.kind: EXISTING`.*Use `AURORA_SERVERLESS_V2` here"),
        ({"network": VPC}, r"`network.vpc_id`.*Leave out `network` here"),
        ({"source_bucket": "given-bucket"}, r"`source_bucket`.*Leave it out here"),
    ],
    ids=["broker", "database", "vpc", "bucket"],
)
def test_an_unsupported_field_is_named_with_its_alternative(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        supported.check(environment(**fields))


def test_a_python_that_airflow_does_not_run_with_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(AIRFLOW_VERSIONS[DEFAULT_VERSION], pythons=("3.8", "3.9"))
    monkeypatch.setattr(supported, "AIRFLOW_VERSIONS", {DEFAULT_VERSION: row})
    with pytest.raises(
        UnsupportedError, match=r"`airflow_version: .*it runs with Python 3\.8, 3\.9, and this is Python 3"
    ):
        supported.check(environment())


def test_all_unsupported_fields_are_named_at_once() -> None:
    with pytest.raises(UnsupportedError) as caught:
        supported.check(environment(broker={"kind": "ELASTICACHE"}, source_bucket="given-bucket"))
    assert "`broker.kind: ELASTICACHE`" in str(caught.value)
    assert "`source_bucket`" in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "version", "applied"),
    [
        pytest.param("secrets_jwt_secret", "3.3.2", None, id="3 stays"),
        pytest.param("secrets_jwt_secret", "2.11.2", 3, id="3 to 2"),
        pytest.param("secrets_worker_database_password", "3.3.2", 2, id="2 to 3"),
        pytest.param("secrets_fernet_key", "2.11.2", None, id="interrupted first apply"),
    ],
)
def test_data_of_another_major_version_is_refused(
    tmp_path: Path, secret: str, version: str, applied: int | None
) -> None:
    state, file = tmp_path / "terraform.tfstate", tmp_path / "environment.yaml"
    supported.check_applied(environment(airflow_version=version), state, file)  # no state yet
    state.write_text(json.dumps({"resources": [{"type": "aws_secretsmanager_secret", "name": secret}]}))
    refused = pytest.raises(UnsupportedError, match=f"Airflow {applied}.*down --delete-data {file}")
    with refused if applied else nullcontext():
        supported.check_applied(environment(airflow_version=version), state, file)
