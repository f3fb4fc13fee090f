# SPDX-License-Identifier: Apache-2.0
"""The bootstrap stack on emulated APIs, and a state that is kept and locked in its bucket.

An apply of the stack takes a minute of the provider's own waits, so what needs one is `slow`.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.aws_actions import requests_of, state_requests
from tests.support.emulator import find_emulator, running_emulator
from tests.support.terraform import emulator_environment
from tools.verify.aws_calls import read_calls

pytestmark = [pytest.mark.emulated, pytest.mark.timeout(600)]
slow = pytest.mark.slow

BOOTSTRAP = Path(__file__).parents[2] / "terraform" / "bootstrap"
REGION = "eu-central-1"
BUCKET = f"openmwaa-state-123456789012-{REGION}"
GIVEN = ("-var", f"region={REGION}", "-var", "github_repository=example/data-platform")


class Terraform:
    """Terraform in a folder, against the emulator."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    def __call__(self, *words: str, fine: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        program = shutil.which("terraform")
        assert program is not None
        done = subprocess.run(
            [program, *words, "-no-color"],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode in fine, f"terraform {words[0]}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if shutil.which("terraform") is None:
        pytest.skip("there is no terraform on PATH")
    with running_emulator(find_emulator(), services="") as url:
        yield url


@pytest.fixture(scope="module")
def variables(url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return emulator_environment(tmp_path_factory.mktemp("provider"), {"AWS_ENDPOINT_URL": url})


@pytest.fixture(scope="module")
def applied(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    folder = tmp_path_factory.mktemp("bootstrap")
    for file in BOOTSTRAP.glob("*.tf"):
        shutil.copy(file, folder)
    provider = {
        "access_key": "test",
        "secret_key": "test",
        "skip_credentials_validation": True,
        "s3_use_path_style": True,
    }
    (folder / "local_override.tf.json").write_text(json.dumps({"provider": {"aws": [provider]}}))
    terraform = Terraform(folder, variables)
    terraform("init", "-input=false")
    terraform("apply", "-input=false", "-auto-approve", *GIVEN)
    return terraform


@pytest.fixture
def s3(url: str) -> Any:
    client: Any = boto3.client  # the stubs know no client by a name that is not literal
    return client("s3", endpoint_url=url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")


@slow
def test_a_second_plan_changes_nothing(applied: Terraform) -> None:
    applied("plan", "-input=false", "-detailed-exitcode", *GIVEN)


@slow
def test_outputs_have_what_the_environments_and_the_pipeline_need(applied: Terraform) -> None:
    outputs = {name: output["value"] for name, output in json.loads(applied("output", "-json").stdout).items()}
    assert outputs["state_bucket"] == BUCKET
    assert outputs["plan_role_arn"].endswith(":role/github-plans-openmwaa")
    assert outputs["deploy_role_arn"].endswith(":role/github-deploys-openmwaa")
    assert outputs["main_role_arn"].endswith(":role/github-builds-openmwaa")
    assert set(outputs["repositories"]) == {"airflow", "scaler"}


@slow
@pytest.mark.usefixtures("applied")
def test_the_bucket_is_versioned_private_and_refuses_plain_http(s3: Any) -> None:
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@slow
def test_the_bucket_refuses_to_be_destroyed(applied: Terraform) -> None:
    refused = applied("plan", "-destroy", "-input=false", *GIVEN, fine=(1,))
    assert "lifecycle.prevent_destroy" in refused.stderr


@slow
def test_without_a_repository_there_is_no_role_for_one(applied: Terraform) -> None:
    planned = applied("plan", "-input=false", "-var", f"region={REGION}").stdout
    assert "aws_iam_role.deploy[0] will be destroyed" in planned
    assert "aws_s3_bucket.state must be" not in planned


def test_a_state_is_kept_in_the_bucket_and_locked_by_an_object_beside_it(
    s3: Any, url: str, variables: dict[str, str], tmp_path: Path
) -> None:
    """With the backend that an environment's JSON has: Terraform's own resource stands for a stack."""
    key, bucket = "openmwaa/example.tfstate", "a-state-bucket"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    backend = {"bucket": bucket, "key": key, "region": REGION, "encrypt": True, "use_lockfile": True}
    here = {
        "endpoints": {"s3": url, "sts": url, "iam": url},
        "use_path_style": True,
        "skip_credentials_validation": True,
    }
    document = {
        "terraform": {"backend": {"s3": backend | here}},
        "resource": {"terraform_data": {"one": {"input": "1"}}},
    }
    (tmp_path / "main.tf.json").write_text(json.dumps(document))
    log = tmp_path / "terraform.log"
    logging = {"TF_LOG": "JSON", "TF_LOG_CORE": "DEBUG", "TF_LOG_PROVIDER": "OFF", "TF_LOG_PATH": str(log)}
    terraform = Terraform(tmp_path, variables | logging)
    terraform("init", "-input=false")
    terraform("apply", "-input=false", "-auto-approve")
    made = {request.action for request in state_requests("openmwaa", write=True)}
    called = {request.action for request in requests_of(read_calls(log).values())}
    assert called == {action for action in made if action.startswith("s3:")}, "the roles need the backend's calls"
    assert json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())["resources"][0]["name"] == "one"
    assert not (tmp_path / "terraform.tfstate").exists()
    s3.put_object(Bucket=bucket, Key=f"{key}.tflock", Body=b'{"ID": "1", "Who": "another user"}')
    refused = terraform("plan", "-input=false", "-lock-timeout=0s", fine=(1,))
    assert "Error acquiring the state lock" in refused.stderr
    assert "another user" in refused.stderr
