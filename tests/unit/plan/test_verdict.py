# SPDX-License-Identifier: Apache-2.0
"""Refused and accepted plans, with recordings of a real Terraform."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.cost.stack import Resource
from openmwaa.errors import PlanUnreadableError
from openmwaa.plan import changes, verdict
from openmwaa.plan.changes import TerraformPlan, read
from openmwaa.plan.immutable_fields import IMMUTABLE_FIELDS
from openmwaa.plan.verdict import EXIT_CODES, PROTECTED, judge, judge_failure
from tests.support.environments import LEAST
from tests.support.recorded_plan import CHANGES, FLEETS, environment, recorded
from tests.unit.plan.conftest import plan_of, verdict_of

PAGE = Path(__file__).parents[3] / "docs/how-to/plan.md"
REFUSED = {
    "renamed": "name",
    "key": "kms_key",
    "broker": "broker.kind",
    "bucket": "source_bucket",
    "zones": "network.zones",
    "db": "metadata_database.kind",
}


def environment_with(**fields: Any) -> Environment:
    return Environment.model_validate({**LEAST, "fleets": FLEETS, **fields})


def only(kind: str, name: str, *actions: str, paths: list[list[str | int]] | None = None) -> TerraformPlan:
    """A plan with one change, with the resources of the recordings."""
    base = recorded("none")
    change = {"actions": list(actions), "replace_paths": paths or [], "before": {"name": "a"}, "after": {"name": "b"}}
    resource = {"address": f"{kind}.{name}", "mode": "managed", "type": kind, "name": name, "change": change}
    return read({**base, "resource_changes": [resource]})


def test_no_changes_are_unchanged() -> None:
    verdict = verdict_of("none")
    assert (verdict.outcome, verdict.exit_code, verdict.refusals, verdict.notes) == ("unchanged", 0, (), ())


def test_a_new_revision_of_workers_is_accepted_with_a_note() -> None:
    verdict = verdict_of("capacity")
    assert (verdict.outcome, verdict.exit_code) == ("changed", 2)
    (rollout, orders) = verdict.notes
    assert rollout.startswith("New revision of the workers of default, etl")
    assert "openmwaa scale" in orders
    services = {change.name: change.action for change in verdict.plan.changes if change.type == "aws_ecs_service"}
    assert {action for name, action in services.items() if name.startswith("fleets_")} == {"change"}


def test_a_fleet_removed_from_the_file_can_be_deleted() -> None:
    verdict = verdict_of("removed")
    assert verdict.outcome == "changed"
    gone = [note for note in verdict.notes if "no longer in the file" in note]
    assert len(gone) == 1
    assert "openmwaa scale --fleet etl --fixed 0" in gone[0]
    assert [note for note in verdict.notes if "aws_sqs_queue.broker_queue_etl" in note]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(
            (Resource("terraform_data", "airflow_services", {}),), "are deleted when the new", id="order known"
        ),
        pytest.param((), "apply with `control_plane: SEPARATE` first", id="state of an older version"),
    ],
)
def test_a_new_form_of_the_control_plane_is_accepted_with_a_note(state: tuple[Resource, ...], expected: str) -> None:
    plan = only("aws_ecs_service", "airflow_scheduler", "delete")
    verdict = judge(dataclasses.replace(plan, before=(*plan.before, *state)), environment_with(control_plane="COMPACT"))
    assert verdict.outcome == "changed"
    (note,) = verdict.notes
    assert note.startswith("The control plane becomes COMPACT")
    assert expected in note


def test_a_fleet_in_the_file_cannot_be_deleted() -> None:
    verdict = judge(plan_of("removed"), environment("none"))
    assert verdict.outcome == "refused"
    assert {refusal.address for refusal in verdict.refusals} == {
        "aws_ecs_service.fleets_etl_a",
        "aws_ecs_service.fleets_etl_b",
        "aws_sqs_queue.broker_queue_etl",
    }


@pytest.mark.parametrize(("name", "field"), REFUSED.items())
def test_a_changed_immutable_field_is_refused(name: str, field: str) -> None:
    verdict = verdict_of(name)
    assert (verdict.outcome, verdict.exit_code) == ("refused", 4)
    assert [refusal.field for refusal in verdict.refusals] == [field]
    (refusal,) = verdict.refusals
    assert str(refusal).startswith(f"`{field}`: ")
    assert refusal.instead
    assert verdict.notes == (), "what an apply would do is of no interest"


@pytest.mark.parametrize(("action", "is_removed"), [("delete", True), ("update", False), ("create", False)])
def test_a_plan_that_removes_the_egress_of_running_tasks_has_a_note(action: str, *, is_removed: bool) -> None:
    verdict = judge(only("aws_route", "network_private_1_out", action), environment_with())
    assert verdict.outcome == "changed"
    notes = [note for note in verdict.notes if note.startswith("A route to the internet is removed")]
    assert bool(notes) == is_removed
    assert all("openmwaa scale --all --fixed 0" in note for note in notes)


@pytest.mark.parametrize("name", CHANGES)
def test_a_requested_destroy_is_accepted(name: str) -> None:
    verdict = judge(plan_of(name), environment(name), destroying=True)
    assert verdict.outcome == ("unchanged" if name == "none" else "changed")


def test_the_first_plan_is_only_additions() -> None:
    base = recorded("capacity")
    for resource in base["resource_changes"]:
        resource["change"] = {"actions": ["create"]}
    verdict = judge(
        read({**base, "prior_state": {}}), environment_with(name="anything", kms_key=CHANGES["key"]["kms_key"])
    )
    assert (verdict.outcome, {change.action for change in verdict.plan.changes}) == ("changed", {"add"})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("aws_ecs_service", "fleets_default_b"),
        ("aws_rds_cluster", "metadata_database"),
        ("aws_db_instance", "metadata_database"),
        ("aws_sqs_queue", "broker_queue_etl"),
        ("aws_sqs_queue", "broker_dead_letters"),
        ("aws_elasticache_replication_group", "broker"),
        ("aws_s3_bucket", "storage"),
        ("aws_kms_key", "keys"),
        ("aws_secretsmanager_secret", "secrets_fernet_key"),
        ("aws_iam_role", "roles_worker"),
        ("aws_iam_role", "roles_worker_execution"),
        ("aws_security_group", "security_groups_workers"),
        ("aws_vpc", "network"),
        ("aws_subnet", "network_private_2"),
    ],
)
@pytest.mark.parametrize("actions", [("delete",), ("delete", "create"), ("create", "delete")], ids="-".join)
def test_protected_resources_cannot_be_deleted_or_replaced(kind: str, name: str, actions: tuple[str, ...]) -> None:
    paths: list[list[str | int]] = [["name"]] if len(actions) > 1 else []
    verdict = judge(only(kind, name, *actions, paths=paths), environment_with())
    (refusal,) = verdict.refusals
    assert refusal.address == f"{kind}.{name}"
    assert ("name cannot change in place (a to b)" in refusal.because) == bool(paths)
    assert judge(only(kind, name, "update"), environment_with()).outcome == "changed"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("aws_ecs_service", "airflow_web_server"),
        ("aws_ecs_task_definition", "fleets_default"),
        ("aws_rds_cluster_instance", "metadata_database_instance_2"),
        ("aws_s3_bucket", "access_logs"),
        ("aws_iam_role", "roles_triggerer"),
        ("aws_subnet", "network_public_1"),
    ],
)
def test_other_resources_can_be_deleted(kind: str, name: str) -> None:
    assert judge(only(kind, name, "delete", "create"), environment_with()).outcome == "changed"


def test_a_replaced_load_balancer_has_a_note() -> None:
    (note,) = judge(only("aws_lb", "internal_load_balancer", "delete", "create"), environment_with()).notes
    assert "host name" in note


def test_a_moved_execution_api_has_a_note() -> None:
    moved = read({**recorded("none"), "output_changes": {"execution_api_url": {"actions": ["update"]}}})
    verdict = judge(moved, environment_with())
    assert verdict.outcome == "changed"
    assert [note for note in verdict.notes if "running tasks lose it" in note]
    new = read({**recorded("none"), "output_changes": {"execution_api_url": {"actions": ["create"]}}})
    assert judge(new, environment_with()).notes == (), "a new output is not a move"


@pytest.mark.parametrize(
    ("identity", "field"),
    [({"path": "/data/"}, "identity.path"), ({"role_name_prefix": "data-"}, "identity.role_name_prefix")],
)
def test_other_role_names_are_refused(identity: dict[str, str], field: str) -> None:
    base = recorded("capacity")
    role = {"name": "openmwaa-example-us-east-1-scheduler", "path": "/"}
    existing = base["prior_state"]["values"]["root_module"]["resources"]
    existing.append({"mode": "managed", "type": "aws_iam_role", "name": "roles_scaler", "address": "r", "values": role})
    assert judge(read(base), environment_with()).outcome == "changed"
    assert [refusal.field for refusal in judge(read(base), environment_with(identity=identity)).refusals] == [field]


def test_another_region_is_refused_from_the_drift() -> None:
    """Terraform finds no resources in the other Region, and would create all of them there."""
    base = recorded("capacity")
    existing = base.pop("prior_state")["values"]["root_module"]["resources"]
    drift = [{**resource, "change": {"actions": ["delete"], "before": resource["values"]}} for resource in existing]
    verdict = judge(read({**base, "resource_drift": drift}), environment_with(region="eu-central-1"))
    assert [refusal.field for refusal in verdict.refusals] == ["region"]


def test_a_failed_plan_is_explained_by_an_immutable_field() -> None:
    state = changes.read_state(recorded("none")["prior_state"])
    failed = judge_failure(state, environment_with(region="eu-central-1"))
    assert failed is not None
    assert [refusal.field for refusal in failed.refusals] == ["region"]
    assert judge_failure(state, environment_with()) is None


def test_another_vpc_is_one_refusal_and_not_three() -> None:
    network = {"vpc_id": "vpc-0123456789abcdef0", "private_subnet_ids": ["subnet-01234567", "subnet-89abcdef"]}
    verdict = judge(plan_of("capacity"), environment_with(network=network))
    assert [refusal.field for refusal in verdict.refusals] == ["network.vpc_id"]


def test_sensitive_values_are_not_read() -> None:
    base = recorded("none")
    change = {
        "actions": ["delete", "create"],
        "replace_paths": [["password"]],
        "before": {"password": "old"},
        "after": {"password": "new"},
        "before_sensitive": {"password": True},
        "after_sensitive": {"password": True},
    }
    resource = {"address": "aws_x.y", "mode": "managed", "type": "aws_x", "name": "y", "change": change}
    for sensitive in ({"password": True}, True):
        resource["change"] = {**change, "before_sensitive": sensitive, "after_sensitive": sensitive}
        plan = read({**copy.deepcopy(base), "resource_changes": [resource]})
        assert "old" not in repr(plan)
        assert "new" not in repr(plan)


@pytest.mark.parametrize("text", [{}, {"format_version": "2.0"}], ids=["no plan", "of the future"])
def test_an_unknown_format_is_an_error(text: dict[str, Any]) -> None:
    with pytest.raises(PlanUnreadableError, match="format"):
        read(text)


def test_exit_codes_are_terraforms_and_one_more() -> None:
    assert EXIT_CODES == {"unchanged": 0, "changed": 2, "refused": 4}


@pytest.mark.parametrize(
    ("secret", "version", "refused"),
    [
        pytest.param("secrets_worker_database_password", "2.11.2", False, id="2 stays"),
        pytest.param("secrets_worker_database_password", "3.3.2", True, id="2 to 3"),
        pytest.param("secrets_jwt_secret", "2.11.2", True, id="3 to 2"),
    ],
)
def test_another_major_version_of_airflow_is_refused(secret: str, version: str, *, refused: bool) -> None:
    change = dataclasses.replace(plan_of("capacity"), before=(Resource("aws_secretsmanager_secret", secret, {}),))
    refusals = judge(change, environment_with(airflow_version=version)).refusals
    assert ("airflow_version" in {refusal.field for refusal in refusals}) is refused


def test_the_page_lists_the_immutable_fields() -> None:
    page = PAGE.read_text(encoding="utf-8").split("## Fields that cannot change")[1]
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{field.name}` | {field.because} | {field.instead} |" for field in IMMUTABLE_FIELDS]


def test_reasons_have_no_final_period() -> None:
    for field in IMMUTABLE_FIELDS:
        assert not field.because.endswith("."), field.name
        assert not field.instead.endswith("."), field.name
    assert not [lost for lost in (*PROTECTED.values(), verdict._TASKS_LOST) if lost.endswith(".")]


@pytest.mark.parametrize(
    ("before", "number", "refused"),
    [(1, 1, False), (1, 2, False), (2, 1, False), (1, 3, True), (4, 2, True)],
    ids=["unchanged", "one-more", "one-less", "two-more", "two-less"],
)
def test_a_new_password_for_the_login_in_use_is_refused(before: int, number: int, refused: bool) -> None:
    secret = Resource(
        "aws_secretsmanager_secret_version", "secrets_celery_database_password", {"secret_string_wo_version": before}
    )
    change = dataclasses.replace(plan_of("capacity"), before=(secret,))
    fields = [
        refusal.field for refusal in judge(change, environment_with(rotation={"database_passwords": number})).refusals
    ]
    assert ("rotation.database_passwords" in fields) is refused
