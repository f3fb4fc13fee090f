# SPDX-License-Identifier: Apache-2.0
"""DAGs from git: only the syncer's container has the secret, by the execution roles of tasks that read DAGs."""

import json
from typing import Any

import pytest

from tests.support.every_field import GIT
from tests.support.stack import Stack, environment_of, secrets_of
from tests.synth.cdktf_app.conftest import stack_of

SECRET = "${local.dags_secret_arn}"


@pytest.fixture(scope="module", params=["COMPACT", "SEPARATE"])
def stack(request: pytest.FixtureRequest) -> Stack:
    return stack_of(dags=GIT, control_plane=request.param)


def _syncers(stack: Stack) -> dict[str, Any]:
    return {name: found for name, found in stack.containers.items() if name.endswith("/dag-syncer")}


def test_the_syncer_has_the_repository_and_no_other_container_has_the_secret(stack: Stack) -> None:
    assert stack.document["locals"]["dags_secret_arn"] == GIT["secret_arn"]
    assert _syncers(stack)
    for name, container in stack.containers.items():
        assert (SECRET in secrets_of(container).values()) == name.endswith("/dag-syncer"), name
    for container in _syncers(stack).values():
        assert secrets_of(container) == {"OPENMWAA_DAG_GIT_SECRET": SECRET}
        found = environment_of(container)
        assert {name: value for name, value in found.items() if "_GIT_" in name} == {
            "OPENMWAA_DAG_GIT_URL": "ssh://git@git.example.com/org/dags",
            "OPENMWAA_DAG_GIT_REF": "main",
            "OPENMWAA_DAG_GIT_FOLDER": "dags",
            "OPENMWAA_DAG_GIT_KNOWN_HOSTS": GIT["known_hosts"],
            "OPENMWAA_DAG_GIT_SECRET_VERSION": "1",
        }


def test_execution_roles_may_read_that_secret_and_task_roles_may_not(stack: Stack) -> None:
    with_dags = {f"roles_{name.partition('/')[0].replace('-', '_')}_execution" for name in _syncers(stack)}
    with_dags = {role.replace("worker_default", "worker") for role in with_dags}
    for role in stack.resources("aws_iam_role_policy"):
        statements = {statement["Sid"]: statement for statement in stack.role_policy(role)}
        if role in with_dags:
            assert SECRET in statements["ReadSecrets"]["Resource"]
            assert GIT["secret_kms_key"] in statements["DecryptSecrets"]["Resource"]
        else:
            assert SECRET not in json.dumps(list(statements.values())), role


def test_a_new_version_of_the_secret_rolls_out() -> None:
    changed = stack_of(dags=GIT, rotation={"dags_secret": 2})
    assert {environment_of(found)["OPENMWAA_DAG_GIT_SECRET_VERSION"] for found in _syncers(changed).values()} == {"2"}


def test_a_public_repository_needs_no_secret() -> None:
    stack = stack_of(dags="git+https://github.com/org/dags@main")
    assert "dags_secret_arn" not in stack.document["locals"]
    assert [secrets_of(found) for found in _syncers(stack).values()] == [{}] * len(_syncers(stack))
