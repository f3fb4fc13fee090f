# SPDX-License-Identifier: Apache-2.0
"""A destroy leaves what the file asks to keep, says what that is, and the same name can be applied again."""

import re

import pytest

from tests.support.stack import Stack
from tests.unit.cdktf_app.conftest import stack_of

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="session")
def keeping() -> Stack:
    """An environment that keeps a last snapshot."""
    return stack_of(kms_key=KEY, metadata_database={"kind": "AURORA_SERVERLESS_V2", "final_snapshot": True})


def test_no_secret_keeps_its_name_after_a_destroy(quickstart: Stack, keeping: Stack) -> None:
    for stack in (quickstart, keeping):
        for name, secret in stack.resources("aws_secretsmanager_secret").items():
            is_new_each_time = "name_prefix" in secret
            at_once = secret["recovery_window_in_days"] == 0
            assert is_new_each_time or at_once, f"{name}: the next apply meets a secret that is scheduled for deletion"


def test_a_last_snapshot_is_named_anew_in_each_creation(keeping: Stack) -> None:
    name = keeping.one("aws_rds_cluster")["final_snapshot_identifier"]
    assert re.search(r"\$\{lower\(substr\(aws_secretsmanager_secret_version\.\w+\.arn, -6, -1\)\)\}$", name), name


def test_nothing_is_protected_but_what_the_file_protects(quickstart: Stack) -> None:
    assert {each["force_delete"] for each in quickstart.resources("aws_ecr_repository").values()} == {True}
    protected = {
        f"{kind}.{name}"
        for kind, named in quickstart.document["resource"].items()
        for name, resource in named.items()
        if resource.get("deletion_protection") or resource.get("enable_deletion_protection")
    }
    assert not protected, f"the quickstart's destroy would stop at {protected}"


@pytest.mark.parametrize("force", [False, True])
def test_a_bucket_with_something_in_it_is_emptied_only_where_the_file_says_so(force: bool) -> None:
    bucket = stack_of(source_bucket_force_destroy=force).resources("aws_s3_bucket")["storage"]
    assert bucket["force_destroy"] is force


def test_what_is_kept_is_said_by_name(quickstart: Stack, keeping: Stack) -> None:
    said = quickstart.document["output"]["retained_resources"]["value"]
    assert said == [
        "openmwaa-quickstart-worker-default",
        "/openmwaa/quickstart/scaler/default",
        "${aws_kms_key.keys.arn}",
    ]
    said = keeping.document["output"]["retained_resources"]["value"]
    assert KEY not in said, "a key that is given is not ours to speak of"
    assert keeping.one("aws_rds_cluster")["final_snapshot_identifier"] in said
    assert any("fernet_key" in each for each in said), "nobody could read the connections in the snapshot"


def test_a_server_that_exists_is_among_what_stays() -> None:
    database = {
        "kind": "EXISTING",
        "host": "db.example.com",
        "master_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:master-AbCdEf",
        "security_group_id": "sg-12345678",
    }
    said = stack_of(metadata_database=database).document["output"]["retained_resources"]["value"]
    assert said[-1] == "${local.metadata_database_host}"


def test_workers_revisions_outlive_a_destroy_and_no_others_do(quickstart: Stack) -> None:
    kept = {
        task["family"] for task in quickstart.resources("aws_ecs_task_definition").values() if task.get("skip_destroy")
    }
    assert kept == {"openmwaa-quickstart-worker-default"}
