# SPDX-License-Identifier: Apache-2.0
"""`openmwaa synth` prints the commands of a first apply: a service with an empty repository would never start."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cdktf_app import main
from openmwaa.cli import app
from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tests.support.synthesis import stack_text

DIGEST = f"@sha256:{'0' * 64}"
FLEETS = {"fleets": {"default": {"queues": ["default"]}, "intel": {"queues": ["x86"], "architecture": "X86_64"}}}


@pytest.fixture(autouse=True)
def synthesised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def synth(environment: Environment, out: Path) -> Path:
        file = out / environment.name / "cdk.tf.json"
        file.parent.mkdir(parents=True)
        file.write_text(stack_text(environment))
        return file

    monkeypatch.setattr(main, "synth", synth)


def printed(folder: Path, **fields: Any) -> list[str]:
    (folder / "environment.yaml").write_text(json.dumps({**LEAST, **fields}))
    words = ["synth", str(folder / "environment.yaml"), "--out", str(folder / "terraform")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return [line.strip() for line in result.stdout.splitlines()[1:]]


def test_repositories_of_the_stack_are_created_before_its_services(tmp_path: Path) -> None:
    targets = "-target=aws_ecr_repository.images_airflow -target=aws_ecr_repository.images_scaler"
    assert printed(tmp_path) == [
        f"cd {tmp_path / 'terraform' / 'example'}",
        "terraform init",
        f"terraform apply {targets}",
        "# build for ARM64 and push openmwaa-example/airflow:3.3.2: docs/how-to/build-images.md",
        "# build for ARM64 and push openmwaa-example/scaler:0.1.0: docs/how-to/build-images.md",
        "terraform apply",
    ]
    stack = json.loads((tmp_path / "terraform" / "example" / "cdk.tf.json").read_text())
    assert set(stack["resource"]["aws_ecr_repository"]) == {"images_airflow", "images_scaler"}


def test_only_the_missing_repository_is_created_first(tmp_path: Path) -> None:
    commands = printed(tmp_path, images={"scaler": f"example.com/scaler{DIGEST}", "airflow_tag": "3.3.2-7"}, **FLEETS)
    assert commands[2:] == [
        "terraform apply -target=aws_ecr_repository.images_airflow",
        "# build for ARM64 and X86_64 and push openmwaa-example/airflow:3.3.2-7: docs/how-to/build-images.md",
        "terraform apply",
    ]


def test_with_images_of_another_registry_one_apply_is_enough(tmp_path: Path) -> None:
    images = {image: f"example.com/{image}{DIGEST}" for image in ("airflow", "scaler")}
    assert printed(tmp_path, images=images)[1:] == ["terraform init", "terraform apply"]
