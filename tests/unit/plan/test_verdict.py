# SPDX-License-Identifier: Apache-2.0
"""What is refused, by which field, and what is let through: on plans of a real Terraform."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.plan import changes
from openmwaa.plan.changes import Resource, TerraformPlan, read
from openmwaa.plan.errors import PlanUnreadableError
from openmwaa.plan.immutable_fields import IMMUTABLE_FIELDS
from openmwaa.plan.verdict import EXIT_CODES, PROTECTED, judge, judge_failure
from tests.support.environments import LEAST
from tests.unit.plan.conftest import CHANGES, FLEETS, document, environment, plan_of, verdict_of

PAGE = Path(__file__).parents[3] / "docs/how-to/plan.md"
REFUSED = {
    "renamed": "name",
    "key": "kms_key",
    "broker": "broker.kind",
    "bucket": "source_bucket",
    "zones": "network.zones",
    "db": "metadata_database.kind",
}


def said(**fields: Any) -> Environment:
    return Environment.model_validate({**LEAST, "fleets": FLEETS, **fields})


def only(kind: str, name: str, *actions: str, paths: list[list[str | int]] | None = None) -> TerraformPlan:
    """A plan with one change, over what the recordings say exists."""
    base = document("none")
    change = {"actions": list(actions), "replace_paths": paths or [], "before": {"name": "a"}, "after": {"name": "b"}}
    one = {"address": f"{kind}.{name}", "mode": "managed", "type": kind, "name": name, "change": change}
    return read({**base, "resource_changes": [one]})


def test_nothing_to_do_is_0() -> None:
    verdict = verdict_of("none")
    assert (verdict.word, verdict.exit_code, verdict.refusals, verdict.notes) == ("unchanged", 0, (), ())


def test_new_workers_are_let_through_and_told_of() -> None:
    verdict = verdict_of("capacity")
    assert (verdict.word, verdict.exit_code) == ("changed", 2)
    (rollout, orders) = verdict.notes
    assert rollout.startswith("New revision of the workers of default, etl")
    assert "openmwaa scale" in orders
    services = {change.name: change.action for change in verdict.plan.changes if change.type == "aws_ecs_service"}
    assert {action for name, action in services.items() if name.startswith("fleets_")} == {"change"}


def test_a_fleet_that_left_the_file_may_go_with_its_queue() -> None:
    verdict = verdict_of("removed")
    assert verdict.word == "changed"
    gone = [note for note in verdict.notes if "no longer in the file" in note]
    assert len(gone) == 1
    assert "openmwaa scale --fleet etl --fixed 0" in gone[0]
    assert [note for note in verdict.notes if "aws_sqs_queue.broker_queue_etl" in note]


def test_a_fleet_that_is_in_the_file_may_not() -> None:
    verdict = judge(plan_of("removed"), environment("none"))
    assert verdict.word == "refused"
    assert {refusal.address for refusal in verdict.refusals} == {
        "aws_ecs_service.fleets_etl_a",
        "aws_ecs_service.fleets_etl_b",
        "aws_sqs_queue.broker_queue_etl",
    }


@pytest.mark.parametrize(("name", "field"), REFUSED.items())
def test_what_must_not_change_is_refused_by_its_field(name: str, field: str) -> None:
    verdict = verdict_of(name)
    assert (verdict.word, verdict.exit_code) == ("refused", 4)
    assert [refusal.field for refusal in verdict.refusals] == [field]
    (refusal,) = verdict.refusals
    assert str(refusal).startswith(f"`{field}`: ")
    assert refusal.instead
    assert verdict.notes == (), "what an apply would do is of no interest"


@pytest.mark.parametrize("name", CHANGES)
def test_a_destroy_that_was_asked_for_is_none_of_our_business(name: str) -> None:
    verdict = judge(plan_of(name), environment(name), destroying=True)
    assert verdict.word == ("unchanged" if name == "none" else "changed")


def test_the_first_plan_is_only_additions() -> None:
    base = document("capacity")
    for one in base["resource_changes"]:
        one["change"] = {"actions": ["create"]}
    verdict = judge(read({**base, "prior_state": {}}), said(name="anything", kms_key=CHANGES["key"]["kms_key"]))
    assert (verdict.word, {change.action for change in verdict.plan.changes}) == ("changed", {"add"})


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
def test_what_is_protected_may_neither_go_nor_be_replaced(kind: str, name: str, actions: tuple[str, ...]) -> None:
    paths: list[list[str | int]] = [["name"]] if len(actions) > 1 else []
    verdict = judge(only(kind, name, *actions, paths=paths), said())
    (refusal,) = verdict.refusals
    assert refusal.address == f"{kind}.{name}"
    assert ("name cannot change in place (a to b)" in refusal.because) == bool(paths)
    assert judge(only(kind, name, "update"), said()).word == "changed"


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
def test_the_rest_may(kind: str, name: str) -> None:
    assert judge(only(kind, name, "delete", "create"), said()).word == "changed"


def test_another_load_balancer_is_told_of() -> None:
    (note,) = judge(only("aws_lb", "internal_load_balancer", "delete", "create"), said()).notes
    assert "host name" in note


def test_an_execution_api_that_moves_is_told_of() -> None:
    moved = read({**document("none"), "output_changes": {"execution_api_url": {"actions": ["update"]}}})
    verdict = judge(moved, said())
    assert verdict.word == "changed"
    assert [note for note in verdict.notes if "tasks that run now lose it" in note]
    new = read({**document("none"), "output_changes": {"execution_api_url": {"actions": ["create"]}}})
    assert judge(new, said()).notes == (), "an output that is new moves nothing"


@pytest.mark.parametrize(
    ("identity", "field"),
    [({"path": "/data/"}, "identity.path"), ({"role_name_prefix": "data-"}, "identity.role_name_prefix")],
)
def test_other_names_of_roles_are_refused(identity: dict[str, str], field: str) -> None:
    base = document("capacity")
    role = {"name": "openmwaa-example-us-east-1-scheduler", "path": "/"}
    existing = base["prior_state"]["values"]["root_module"]["resources"]
    existing.append(
        {"mode": "managed", "type": "aws_iam_role", "name": "roles_scheduler", "address": "r", "values": role}
    )
    assert judge(read(base), said()).word == "changed"
    assert [refusal.field for refusal in judge(read(base), said(identity=identity)).refusals] == [field]


def test_a_region_is_refused_by_what_aws_no_longer_shows() -> None:
    """Terraform finds nothing in the other Region, and would make everything anew there."""
    base = document("capacity")
    existing = base.pop("prior_state")["values"]["root_module"]["resources"]
    drift = [{**one, "change": {"actions": ["delete"], "before": one["values"]}} for one in existing]
    verdict = judge(read({**base, "resource_drift": drift}), said(region="eu-central-1"))
    assert [refusal.field for refusal in verdict.refusals] == ["region"]


def test_a_plan_that_failed_is_explained_where_a_field_is_to_blame() -> None:
    state = changes.read_state(document("none")["prior_state"])
    failed = judge_failure(state, said(region="eu-central-1"))
    assert failed is not None
    assert [refusal.field for refusal in failed.refusals] == ["region"]
    assert judge_failure(state, said()) is None


def test_another_vpc_is_one_refusal_and_not_three() -> None:
    network = {"vpc_id": "vpc-0123456789abcdef0", "private_subnet_ids": ["subnet-01234567", "subnet-89abcdef"]}
    verdict = judge(plan_of("capacity"), said(network=network))
    assert [refusal.field for refusal in verdict.refusals] == ["network.vpc_id"]


def test_sensitive_values_are_not_read() -> None:
    base = document("none")
    change = {
        "actions": ["delete", "create"],
        "replace_paths": [["password"]],
        "before": {"password": "old"},
        "after": {"password": "new"},
        "before_sensitive": {"password": True},
        "after_sensitive": {"password": True},
    }
    one = {"address": "aws_x.y", "mode": "managed", "type": "aws_x", "name": "y", "change": change}
    for sensitive in ({"password": True}, True):
        one["change"] = {**change, "before_sensitive": sensitive, "after_sensitive": sensitive}
        plan = read({**copy.deepcopy(base), "resource_changes": [one]})
        assert "old" not in repr(plan)
        assert "new" not in repr(plan)


@pytest.mark.parametrize("text", [{}, {"format_version": "2.0"}], ids=["no plan", "of the future"])
def test_what_is_no_plan_is_said_so(text: dict[str, Any]) -> None:
    with pytest.raises(PlanUnreadableError, match="format"):
        read(text)


def test_exit_codes_are_terraforms_and_one_more() -> None:
    assert EXIT_CODES == {"unchanged": 0, "changed": 2, "refused": 4}


def test_the_page_has_the_fields_that_cannot_change() -> None:
    page = PAGE.read_text(encoding="utf-8").split("## Fields that cannot change")[1]
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{field.name}` | {field.because} | {field.instead} |" for field in IMMUTABLE_FIELDS]


def test_every_reason_ends_a_sentence() -> None:
    for field in IMMUTABLE_FIELDS:
        assert not field.because.endswith("."), field.name
        assert not field.instead.endswith("."), field.name
    assert not [protected.lost for protected in PROTECTED if protected.lost.endswith(".")]


@pytest.mark.parametrize(
    ("before", "number", "refused"),
    [(1, 1, False), (1, 2, False), (2, 1, False), (1, 3, True), (4, 2, True)],
    ids=["unchanged", "one-more", "one-less", "two-more", "two-less"],
)
def test_new_passwords_for_the_role_that_is_in_use_are_refused(before: int, number: int, refused: bool) -> None:
    secret = Resource(
        "aws_secretsmanager_secret_version", "secrets_celery_database_password", {"secret_string_wo_version": before}
    )
    change = dataclasses.replace(plan_of("capacity"), before=(secret,))
    fields = [one.field for one in judge(change, said(rotation={"database_passwords": number})).refusals]
    assert ("rotation.database_passwords" in fields) is refused
