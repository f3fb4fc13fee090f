# SPDX-License-Identifier: Apache-2.0
"""Roles: path, names, boundary, and the requirements of an existing role."""

import pytest
from pydantic import ValidationError

from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tests.support.stack import Stack

# IAM takes 64 characters.
LONGEST_NAME = 64
BOUNDARY = "arn:aws:iam::123456789012:policy/boundaries/data"


def test_every_role_has_path_prefix_and_boundary(longest_names: Stack) -> None:
    for name, role in longest_names.resources("aws_iam_role").items():
        assert role["path"] == "/data-platform/airflow/", name
        assert role["name"].startswith("company-data-airflow"), name
        assert role["permissions_boundary"] == BOUNDARY, name


def test_role_names_are_short_enough_and_unique(variants: dict[str, Stack]) -> None:
    for variant, stack in variants.items():
        names = [role["name"] for role in stack.resources("aws_iam_role").values()]
        assert max(map(len, names)) <= LONGEST_NAME, variant
        assert len(set(names)) == len(names), variant


def test_only_workers_have_the_policies_of_the_file(longest_names: Stack) -> None:
    attached = longest_names.resources("aws_iam_role_policy_attachment").values()
    assert {attachment["role"] for attachment in attached} == {"${aws_iam_role.roles_worker.name}"}
    assert {attachment["policy_arn"] for attachment in attached} == {
        "arn:aws:iam::123456789012:policy/lake/read",
        "arn:aws:iam::123456789012:policy/warehouse/read",
    }


def test_workers_depend_on_all_policies_of_their_role(longest_names: Stack) -> None:
    (policy,) = [one for name, one in longest_names.resources("aws_iam_role_policy").items() if name == "roles_worker"]
    attached = {
        f"aws_iam_role_policy_attachment.{name}" for name in longest_names.resources("aws_iam_role_policy_attachment")
    }
    assert set(policy["depends_on"]) == attached
    for service in longest_names.resources("aws_ecs_service").values():
        if service["name"].startswith("worker-"):
            assert "aws_iam_role_policy.roles_worker" in service["depends_on"], service["name"]


def test_workers_use_an_existing_role_and_an_output_has_its_required_policy(
    byo_resources: Stack, quickstart: Stack
) -> None:
    workers = [
        task["task_role_arn"]
        for task in byo_resources.resources("aws_ecs_task_definition").values()
        if "-worker-" in task["family"]
    ]
    assert set(workers) == {"arn:aws:iam::123456789012:role/given"}
    assert "roles_worker" not in byo_resources.resources("aws_iam_role")
    needed = byo_resources.document["output"]["execution_role"]["value"]
    policy = byo_resources.local(needed["policy"])["Statement"]
    own = quickstart.role_policy("roles_worker")
    assert [statement["Sid"] for statement in policy] == [statement["Sid"] for statement in own]
    (trust,) = byo_resources.local(needed["trust"])["Statement"]
    assert trust["Principal"] == {"Service": ["ecs-tasks.amazonaws.com"]}
    assert "execution_role" not in quickstart.document["output"]


def test_policies_for_an_existing_role_are_rejected() -> None:
    fields = {
        "execution_role_arn": "arn:aws:iam::123456789012:role/given",
        "identity": {"worker_policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]},
    }
    with pytest.raises(ValidationError, match="attach them to the role of `execution_role_arn` yourself"):
        Environment.model_validate({**LEAST, **fields})


@pytest.mark.parametrize(
    "identity",
    [
        {"path": "no-slashes"},
        {"role_name_prefix": "ümlaut"},
        {"role_name_prefix": "x" * 21},
        {"permissions_boundary_arn": "arn:aws:iam::123456789012:role/no-policy"},
        {"worker_policy_arns": ["arn:aws:iam::aws:policy/A"] * 11},
    ],
    ids=["path", "letters", "length", "boundary", "quota"],
)
def test_values_that_iam_would_reject_are_rejected(identity: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Environment.model_validate({**LEAST, "identity": identity})


def test_ecs_exec_is_allowed_only_if_configured_and_not_for_workers(longest_names: Stack, quickstart: Stack) -> None:
    def may(stack: Stack) -> set[str]:
        return {
            name
            for name, policy in stack.policies.items()
            if any(a.startswith("ssmmessages:") for statement in policy["Statement"] for a in statement["Action"])
        }

    control_plane = ("scheduler", "dag_processor", "triggerer", "execution_api", "web_server")
    assert may(quickstart) == set()
    assert may(longest_names) == {f"roles_{component}_policy" for component in control_plane}
