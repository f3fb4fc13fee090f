# SPDX-License-Identifier: Apache-2.0
"""Storage: encryption, access, retention; and existing resources."""

import json

import pytest

from cdktf_app.broker.sqs import VISIBILITY_TIMEOUT_S
from openmwaa.config.broker import Sqs
from openmwaa.config.images import Images
from openmwaa_runtime.settings.connections import VISIBILITY_TIMEOUT_S as CELERY_VISIBILITY_TIMEOUT_S
from tests.support.stack import Stack, environment_of
from tests.synth.cdktf_app.conftest import stack_of

KEY = "${aws_kms_key.keys.arn}"


def test_everything_at_rest_is_encrypted_with_the_environments_key(quickstart: Stack) -> None:
    assert {group["kms_key_id"] for group in quickstart.resources("aws_cloudwatch_log_group").values()} == {KEY}
    assert {queue["kms_master_key_id"] for queue in quickstart.resources("aws_sqs_queue").values()} == {KEY}
    database = quickstart.only("aws_db_instance")
    assert (database["storage_encrypted"], database["kms_key_id"]) == (True, KEY)
    (rule,) = quickstart.only("aws_s3_bucket_server_side_encryption_configuration")["rule"]
    assert rule["apply_server_side_encryption_by_default"] == {"sse_algorithm": "aws:kms", "kms_master_key_id": KEY}
    for repository in quickstart.resources("aws_ecr_repository").values():
        assert repository["encryption_configuration"] == [{"encryption_type": "KMS", "kms_key": KEY}]
    assert quickstart.only("aws_kms_key")["enable_key_rotation"] is True


def test_the_bucket_is_private_and_versioned(quickstart: Stack) -> None:
    block = quickstart.only("aws_s3_bucket_public_access_block")
    switches = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    assert all(block[switch] is True for switch in switches)
    assert quickstart.only("aws_s3_bucket_versioning")["versioning_configuration"] == {"status": "Enabled"}
    assert quickstart.only("aws_s3_bucket")["force_destroy"] is False


def test_old_versions_and_abandoned_uploads_of_the_bucket_expire() -> None:
    stack = stack_of(noncurrent_version_expiration_days=30)
    uploads, versions = stack.resources("aws_s3_bucket_lifecycle_configuration")["storage_lifecycle"]["rule"]
    assert uploads["abort_incomplete_multipart_upload"] == [{"days_after_initiation": 7}]
    assert versions["noncurrent_version_expiration"] == [{"noncurrent_days": 30}]
    assert versions["expiration"] == [{"expired_object_delete_marker": True}], "deleted objects leave a marker for ever"
    assert {rule["status"] for rule in (uploads, versions)} == {"Enabled"}


def test_repositories_scan_images_and_expire_untagged_ones(quickstart: Stack) -> None:
    repositories = quickstart.resources("aws_ecr_repository")
    assert set(repositories) == {"images_airflow", "images_scaler"}
    for name, repository in repositories.items():
        assert repository["image_tag_mutability"] == "IMMUTABLE", name
        assert repository["image_scanning_configuration"] == {"scan_on_push": True}, name
    for policy in quickstart.resources("aws_ecr_lifecycle_policy").values():
        (rule,) = json.loads(policy["policy"])["rules"]
        assert rule["selection"]["tagStatus"] == "untagged", "an old revision could not start a task any more"
    assert len(quickstart.resources("aws_ecr_lifecycle_policy")) == 2


@pytest.mark.parametrize(
    ("images", "airflow", "scaler"),
    [({}, "3.3.2", "0.1.0"), ({"airflow_tag": "3.3.2-7", "scaler_tag": "abc"}, "3.3.2-7", "abc")],
    ids=["left out", "given"],
)
def test_each_image_has_its_own_tag(images: dict[str, str], airflow: str, scaler: str) -> None:
    urls = stack_of(images=images).document["output"]["images"]["value"]
    assert urls["airflow"] == f"${{aws_ecr_repository.images_airflow.repository_url}}:{airflow}"
    assert urls["scaler"] == f"${{aws_ecr_repository.images_scaler.repository_url}}:{scaler}"


def test_a_tag_with_an_image_reference_is_rejected() -> None:
    with pytest.raises(ValueError, match="put the tag into `airflow`"):
        Images.model_validate({"airflow": "example.com/airflow:1", "airflow_tag": "2"})
    with pytest.raises(ValueError, match="leave this out, or `airflow`"):
        Images.model_validate({"airflow": "example.com/airflow:1", "airflow_dockerfile": "image/Dockerfile"})


@pytest.mark.parametrize("path", ["Dockerfile", "./Dockerfile", "/image/Dockerfile", "../image/Dockerfile"])
def test_a_dockerfile_without_a_folder_below_the_file_is_rejected(path: str) -> None:
    with pytest.raises(ValueError, match="its folder is the build context"):
        Images.model_validate({"airflow_dockerfile": path})


def test_each_worker_queue_has_a_queue_and_all_share_the_dead_letter_queue(byo_resources: Stack) -> None:
    queues = byo_resources.resources("aws_sqs_queue")
    assert {queue["name"] for queue in queues.values()} == {
        "airflow-celery-example-default",
        "airflow-celery-example-high",
        "airflow-celery-example-heavy",
        "airflow-celery-example-dead-letters",
    }
    for name, queue in queues.items():
        if name == "broker_dead_letters":
            continue
        redrive = json.loads(queue["redrive_policy"])
        assert redrive == {
            "deadLetterTargetArn": "${aws_sqs_queue.broker_dead_letters.arn}",
            "maxReceiveCount": 100,
        }
        assert queue["visibility_timeout_seconds"] == VISIBILITY_TIMEOUT_S == CELERY_VISIBILITY_TIMEOUT_S
    allowed = json.loads(queues["broker_dead_letters"]["redrive_allow_policy"])
    assert len(allowed["sourceQueueArns"]) == 3


def test_returns_of_draining_workers_do_not_make_dead_letters() -> None:
    assert Sqs().max_receive_count >= 100, "every message that a draining worker gives back is received once more"


def test_more_than_ten_queues_share_the_dead_letter_queue_without_names() -> None:
    fleets = {"default": {"queues": ["default", *(f"q{number}" for number in range(11))]}}
    queue = stack_of(fleets=fleets).resources("aws_sqs_queue")["broker_dead_letters"]
    assert json.loads(queue["redrive_allow_policy"]) == {"redrivePermission": "allowAll"}


def test_queues_that_differ_in_a_hyphen_have_different_names() -> None:
    stack = stack_of(fleets={"default": {"queues": ["default", "a-b", "a_b"]}})
    assert {"broker_queue_a-b", "broker_queue_a_b"} <= set(stack.resources("aws_sqs_queue"))


def test_the_database_requires_tls_and_has_backups(quickstart: Stack) -> None:
    assert quickstart.only("aws_db_parameter_group")["parameter"] == [{"name": "rds.force_ssl", "value": "1"}]
    assert quickstart.only("aws_db_instance")["backup_retention_period"] == 7
    variables = environment_of(quickstart.containers["worker-default/worker"])
    assert variables["OPENMWAA_DATABASE_SSLMODE"] == "${local.metadata_database_sslmode}"
    assert quickstart.document["locals"]["metadata_database_sslmode"] == "require"


def test_existing_resources_are_used_and_not_created(byo_resources: Stack) -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    for kind in ("aws_kms_key", "aws_kms_alias", "aws_s3_bucket", "aws_s3_bucket_policy", "aws_ecr_repository"):
        assert not byo_resources.resources(kind), f"{kind} is made beside the one that is given"
    assert "roles_worker" not in byo_resources.resources("aws_iam_role")
    assert {queue["kms_master_key_id"] for queue in byo_resources.resources("aws_sqs_queue").values()} == {key}
    tasks = byo_resources.resources("aws_ecs_task_definition")
    assert tasks["fleets_default"]["task_role_arn"] == "arn:aws:iam::123456789012:role/given"
    assert tasks["fleets_default"]["execution_role_arn"] == "${aws_iam_role.roles_worker_execution.arn}"
    assert environment_of(byo_resources.containers["triggerer/dag-syncer"])["OPENMWAA_DAG_BUCKET"] == "given-bucket"


def test_an_existing_image_is_pulled_from_its_repository_only(byo_resources: Stack) -> None:
    (pull,) = [entry for entry in byo_resources.role_policy("roles_worker_execution") if entry["Sid"] == "PullImages"]
    assert pull["Resource"] == [
        "arn:${data.aws_partition.place.partition}:ecr:us-east-1:123456789012:repository/teams/airflow"
    ]
    scaler = {statement["Sid"] for statement in byo_resources.role_policy("roles_scaler_execution")}
    assert "PullImages" not in scaler, "an image outside ECR needs no right in ECR"


def test_all_resources_have_the_users_tags(byo_resources: Stack) -> None:
    (provider,) = byo_resources.document["provider"]["aws"]
    assert provider["default_tags"] == [{"tags": {"cost": "a", "openmwaa:environment": "example", "team": "data"}}]


@pytest.fixture(scope="module")
def logs_in_s3() -> Stack:
    return stack_of(logging_configuration={"task_logs": {"destination": "S3"}, "retention_days": 7})


def test_task_logs_in_s3_have_a_bucket_of_their_own_with_the_retention_of_the_groups(logs_in_s3: Stack) -> None:
    assert logs_in_s3.resources("aws_s3_bucket")["task_logs"]["force_destroy"] is True
    (rule,) = logs_in_s3.resources("aws_s3_bucket_lifecycle_configuration")["task_logs_lifecycle"]["rule"]
    assert rule["expiration"] == [{"days": 7}]
    assert rule["noncurrent_version_expiration"] == [{"noncurrent_days": 1}]
    (encrypted,) = logs_in_s3.resources("aws_s3_bucket_server_side_encryption_configuration")["task_logs_encryption"][
        "rule"
    ]
    assert encrypted["apply_server_side_encryption_by_default"]["kms_master_key_id"] == KEY


def test_writers_and_reader_of_task_logs_have_the_bucket_only_if_the_logs_are_in_it(
    logs_in_s3: Stack, quickstart: Stack
) -> None:
    def with_bucket(stack: Stack) -> set[str]:
        found = stack.containers.items()
        return {
            name.split("/")[-1] for name, container in found if "OPENMWAA_TASK_LOG_BUCKET" in environment_of(container)
        }

    assert {"worker", "triggerer", "web-server", "dag-processor"} <= with_bucket(logs_in_s3)
    assert with_bucket(quickstart) == set()
