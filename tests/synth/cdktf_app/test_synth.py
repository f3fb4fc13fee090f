# SPDX-License-Identifier: Apache-2.0
"""Synthesis writes one reproducible file that Terraform accepts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cdktf_app import main
from cdktf_app.errors import CdkMissingError, NodeMissingError
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from tests.support.environments import LEAST
from tests.support.stack import Stack, walk
from tests.support.synthesis import stack_document
from tests.support.terraform import terraform_environment

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "examples/quickstart/environment.yaml"
PROGRAM = """
import sys
from collections.abc import Mapping
from pathlib import Path
from cdktf_app.main import synth
from openmwaa.config.environment_file import load
print(synth(load(Path(sys.argv[1])), Path(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack written by another process, with another hash seed, from another folder."""
    out = tmp_path_factory.mktemp("a folder")
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(QUICKSTART), "terraform"],
        cwd=out,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "terraform/quickstart/cdk.tf.json"
    assert not answer.stderr, f"the CDK is not quiet: {answer.stderr}"
    return out / answer.stdout.strip()


def test_the_same_environment_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    again = main.synth(load(QUICKSTART), tmp_path)
    assert again == tmp_path / "quickstart/cdk.tf.json"
    assert again.read_bytes() == written.read_bytes()
    assert json.loads(again.read_text()) == stack_document(load(QUICKSTART))


def test_one_file_is_written_and_nothing_else(written: Path) -> None:
    root = written.parents[2]
    assert [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()] == [
        "terraform/quickstart/cdk.tf.json"
    ]


def test_the_output_contains_no_local_path(written: Path, quickstart: Stack) -> None:
    text = written.read_text()
    words = {str(written.parents[2]), str(ROOT), str(Path.home()), os.uname().nodename, "/tmp/"}
    for word in words - {"/", "localhost"}:  # the home of a user without one, a machine without a name
        assert word not in text, f"{word} is in the JSON"
    assert "backend" not in quickstart.document["terraform"], "a pipeline configures the state"
    assert not [path for path, value in walk(quickstart.document) if path[-1:] == ("//",) and len(path) > 1]


def test_versions_are_ranges_of_what_was_applied(quickstart: Stack) -> None:
    assert quickstart.document["terraform"] == {
        "required_providers": {"aws": {"source": "hashicorp/aws", "version": ">= 5.100, < 7"}},
        "required_version": ">= 1.11",
    }


def test_addresses_are_readable(quickstart: Stack) -> None:
    expected = {
        "aws_vpc": "network",
        "aws_lb": "internal_load_balancer",
        "aws_db_instance": "metadata_database",
        "aws_ecs_service": "airflow_scheduler",
        "aws_sqs_queue": "broker_queue_default",
        "aws_secretsmanager_secret": "secrets_fernet_key",
        "aws_iam_role": "roles_worker",
    }
    missing = [f"{kind}.{name}" for kind, name in expected.items() if name not in quickstart.resources(kind)]
    assert not missing, "addresses are what people import, override and target: they must not change by accident"


def test_outputs_have_the_urls(quickstart: Stack) -> None:
    outputs: dict[str, Any] = quickstart.document["output"]
    assert {"web_url", "source_bucket", "cluster_name", "log_groups"} <= set(outputs)
    assert all(output["description"] for output in outputs.values())


def test_with_a_password_the_outputs_have_its_secret_too(quickstart: Stack, password_login: Stack) -> None:
    outputs, more = quickstart.document["output"], password_login.document["output"]
    assert set(more) - set(outputs) == {"admin_password_secret_arn"}
    assert more["admin_password_secret_arn"]["description"]


def test_a_missing_node_has_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NodeMissingError, match=r"Node\.js is missing"):
        main.synth(Environment.model_validate(LEAST), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_cdk_has_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CdkMissingError, match="extra `infra`"):
        main.synth(Environment.model_validate(LEAST), tmp_path)


def test_the_users_environment_variables_stay_as_they_are(
    quickstart: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quickstart.document
    monkeypatch.setenv("NODE_OPTIONS", "--no-warnings")
    before = dict(os.environ)
    main.synth(Environment.model_validate(LEAST), tmp_path)
    assert dict(os.environ) == before


@pytest.mark.timeout(900)
def test_terraform_accepts_it(byo_resources: Stack, written: Path, tmp_path: Path) -> None:
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("there is no terraform on PATH")
    environment = terraform_environment(tmp_path)
    file = tmp_path / "cdk.tf.json"
    file.write_bytes(written.read_bytes())
    init = ("init", "-input=false", "-backend=false")
    assert not _complaint(terraform, *init, folder=tmp_path, environment=environment)
    assert not _complaint(terraform, "validate", folder=tmp_path, environment=environment)
    file.write_text(json.dumps(byo_resources.document))
    assert not _complaint(terraform, "validate", folder=tmp_path, environment=environment)


def _complaint(program: str, *words: str, folder: Path, environment: Mapping[str, str]) -> str:
    """The errors of `terraform validate`."""
    answer = subprocess.run(
        [program, *words, "-no-color"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,  # the provider is 150 MB where it comes from the registry
        check=False,
    )
    return f"terraform {words[0]} ended with {answer.returncode}: {answer.stderr}" if answer.returncode else ""
