# SPDX-License-Identifier: Apache-2.0
"""The stack of Airflow 2: no execution API, and workers with a role and the key of the database."""

from pathlib import Path

import pytest

from openmwaa.config.environment_file import loads
from openmwaa.errors import EnvironmentFileError
from openmwaa_runtime.release import AIRFLOW_2
from openmwaa_runtime.settings.container_env import REQUIRED
from tests.support.stack import Stack, environment_of, secrets_of
from tests.support.synthesis import stack_document
from tests.synth.cdktf_app.test_security_groups import EGRESS, _connections

TEXT = "name: two\nairflow_version: 2.11.2\nweb_access: {allow_http: true}\n"


@pytest.fixture(scope="module", params=["COMPACT", "SEPARATE"])
def stack(request: pytest.FixtureRequest) -> Stack:
    return Stack(stack_document(loads(f"{TEXT}control_plane: {request.param}", Path("e.yaml"))))


def test_no_part_of_the_stack_is_of_the_execution_api(stack: Stack) -> None:
    text = str(stack.document).lower().replace("execution_role", "")
    assert "execution-api" not in text
    assert "execution_api" not in text
    assert "8081" not in text
    assert "jwt" not in text


def test_the_runtime_gets_all_required_variables(stack: Stack) -> None:
    for name, container in stack.containers.items():
        if name == "scaler/scaler":
            continue
        (word,) = container["command"]
        missing = {*AIRFLOW_2.required(word, REQUIRED[word])} - {*environment_of(container), *secrets_of(container)}
        # IAM login has no password.
        assert missing == ({"OPENMWAA_ADMIN_PASSWORD"} if word == "web-server" else set()), f"{name} lacks {missing}"


def test_a_worker_has_its_own_role_and_the_fernet_key_but_not_the_password_of_the_owner(stack: Stack) -> None:
    secrets = secrets_of(stack.containers["worker-default/worker"])
    assert {"OPENMWAA_WORKER_DATABASE_PASSWORD", "OPENMWAA_FERNET_KEY"} <= secrets.keys()
    assert "OPENMWAA_AIRFLOW_DATABASE_PASSWORD" not in secrets
    holders = {
        name.rpartition("/")[2]
        for name, container in stack.containers.items()
        if "OPENMWAA_WORKER_DATABASE_PASSWORD" in secrets_of(container)
    }
    assert holders == {"worker", "prepare-database"}, "only these need it"


def test_load_balancers_check_the_health_of_this_version(stack: Stack) -> None:
    paths = {group["health_check"]["path"] for group in stack.resources("aws_lb_target_group").values()}
    assert paths == {"/health", "/healthz"}


def test_workers_reach_the_database_and_no_load_balancer(stack: Stack) -> None:
    of_workers = {(listener, port) for caller, listener, port in _connections(stack, EGRESS) if caller == "workers"}
    assert ("database", 5432) in of_workers
    assert not [listener for listener, _ in of_workers if listener == "internal_load_balancer"]


def test_the_size_of_an_execution_api_is_refused() -> None:
    text = f"{TEXT}control_plane: SEPARATE\nsizes: {{execution_api: {{cpu: 256, memory: 512}}}}"
    with pytest.raises(EnvironmentFileError, match="Airflow 2 has no execution API"):
        loads(text, Path("e.yaml"))


def test_the_secrets_of_the_default_version_stay(quickstart: Stack) -> None:
    names = set(quickstart.resources("aws_secretsmanager_secret"))
    assert "secrets_jwt_secret" in names
    assert not [name for name in names if "worker_database" in name]
