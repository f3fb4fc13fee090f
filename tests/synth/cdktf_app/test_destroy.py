# SPDX-License-Identifier: Apache-2.0
"""A destroy retains and lists the configured resources, and the same name can be applied again."""

import re

import pytest

from tests.support.stack import Stack
from tests.synth.cdktf_app.conftest import stack_of
from worker_agent.settings import DEFAULT_PROTECTION_MINUTES

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="session")
def keeping() -> Stack:
    """An environment with a final snapshot."""
    return stack_of(kms_key=KEY, metadata_database={"kind": "AURORA_SERVERLESS_V2", "final_snapshot": True})


def test_a_destroy_frees_the_names_of_secrets(quickstart: Stack, keeping: Stack) -> None:
    for stack in (quickstart, keeping):
        for name, secret in stack.resources("aws_secretsmanager_secret").items():
            is_new_each_time = "name_prefix" in secret
            at_once = secret["recovery_window_in_days"] == 0
            assert is_new_each_time or at_once, f"{name}: the next apply meets a secret that is scheduled for deletion"


def test_a_final_snapshot_has_a_new_name_in_each_creation(keeping: Stack) -> None:
    name = keeping.only("aws_rds_cluster")["final_snapshot_identifier"]
    assert re.search(r"\$\{lower\(substr\(aws_secretsmanager_secret_version\.\w+\.arn, -6, -1\)\)\}$", name), name


def test_only_configured_resources_have_deletion_protection(quickstart: Stack) -> None:
    assert {repository["force_delete"] for repository in quickstart.resources("aws_ecr_repository").values()} == {True}
    protected = {
        f"{kind}.{name}"
        for kind, named in quickstart.document["resource"].items()
        for name, resource in named.items()
        if resource.get("deletion_protection") or resource.get("enable_deletion_protection")
    }
    assert not protected, f"the quickstart's destroy would stop at {protected}"


@pytest.mark.parametrize("force", [False, True])
def test_a_bucket_is_emptied_only_if_configured(force: bool) -> None:
    bucket = stack_of(source_bucket_force_destroy=force).resources("aws_s3_bucket")["storage"]
    assert bucket["force_destroy"] is force


def test_retained_resources_are_listed_by_name(quickstart: Stack, keeping: Stack) -> None:
    retained = quickstart.document["output"]["retained_resources"]["value"]
    assert retained == [
        "openmwaa-quickstart-worker-default",
        "/openmwaa/quickstart/scaler/default",
        "/openmwaa/quickstart/sleep",
        "/openmwaa/quickstart/sleep-memory",
        "${aws_kms_key.keys.arn}",
    ]
    retained = keeping.document["output"]["retained_resources"]["value"]
    assert KEY not in retained, "an existing key is not part of this stack"
    assert keeping.only("aws_rds_cluster")["final_snapshot_identifier"] in retained
    assert any("fernet_key" in name for name in retained), "the connections in the snapshot would be unreadable"


def test_an_existing_server_is_a_retained_resource() -> None:
    database = {
        "kind": "EXISTING",
        "host": "db.example.com",
        "master_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:master-AbCdEf",
        "security_group_id": "sg-12345678",
    }
    retained = stack_of(metadata_database=database).document["output"]["retained_resources"]["value"]
    assert retained[-1] == "${local.metadata_database_host}"


def test_a_destroy_waits_for_the_end_of_protection(quickstart: Stack) -> None:
    """A desired count of 0 stops no protected worker; ECS refuses renewals then, so that the protection ends."""
    for name, service in quickstart.services.items():
        if not name.startswith("worker-"):
            continue
        assert "force_delete" not in service, "it would skip the desired count of 0"
        minutes = int(service["timeouts"]["delete"].removesuffix("m"))
        stop_minutes = quickstart.containers["worker-default/worker"]["stopTimeout"] / 60
        assert minutes > DEFAULT_PROTECTION_MINUTES + stop_minutes


def test_only_revisions_of_workers_remain_after_a_destroy(quickstart: Stack) -> None:
    kept = {
        task["family"] for task in quickstart.resources("aws_ecs_task_definition").values() if task.get("skip_destroy")
    }
    assert kept == {"openmwaa-quickstart-worker-default"}
