# SPDX-License-Identifier: Apache-2.0
"""One environment of the quickstart's kind, an account and a Terraform in memory."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.deploy import builders, steps
from openmwaa.deploy.steps import StepRunner
from openmwaa.subprocesses import Program
from tests.support.environments import LEAST
from tests.support.fake_account import FakeAccount, FakeTerraform
from tests.support.fake_connection import FakeConnection

ROOT = Path(__file__).parents[3]
SERVICES = ("cloudwatch", "ec2", "ecr", "ecs", "iam", "logs", "rds", "s3", "service-quotas", "ssm", "sts")
TYPES = ("db", "default", "ecr", "ecs", "eip", "kms", "lb", "rds", "s3", "sqs", "vpc")
"""The beginnings of the resource types that decide something here; the others only take time."""


def quickstart() -> dict[str, Any]:
    """The committed stack of the quickstart, which has its own repositories."""
    document: dict[str, Any] = json.loads((ROOT / "terraform/quickstart/cdk.tf.json").read_text(encoding="utf-8"))
    kinds = {kind: named for kind, named in document["resource"].items() if kind.split("_")[1] in TYPES}
    return {**document, "resource": kinds}


QUICKSTART = quickstart()


@dataclass
class World:
    """What the steps see: `answers` to their questions, and the lines that they report."""

    folder: Path
    account: FakeAccount
    terraform: FakeTerraform
    programs: list[Program] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    synthesised: list[Environment] = field(default_factory=list)
    answer: bool = True
    builders: tuple[str, ...] = ("podman",)
    """Programs that work."""
    builder_faults: dict[str, BaseException | int] = field(default_factory=dict)
    """By the program's first argument: an exception, or an exit code."""
    fields: dict[str, Any] = field(default_factory=dict)
    sleep: dict[str, str] | None = None
    """The scaler's settings of sleep."""

    def run(self) -> StepRunner:
        """A new call of a command."""
        quickstart = {**LEAST, "name": "quickstart", "metadata_database": {"kind": "RDS_POSTGRESQL"}}
        environment = Environment.model_validate({**quickstart, **self.fields})
        connection = FakeConnection(environment, Path("environment.yaml"), fake=self.account, services=SERVICES)
        return StepRunner(connection, self.folder, self._synthesise, self._confirm, self.lines.append)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def builds(self, word: str) -> list[Program]:
        return [program for program in self.programs if program.argv[1] == word]

    def start(self, program: Program, *, on_line: Callable[[str], None], **_: Any) -> int:
        """`subprocesses.run` for builders."""
        name, word, *arguments = program.argv
        if word == "version":
            return 0 if name in self.builders else 1
        self.programs.append(program)
        fault = self.builder_faults.pop(word, None)
        if isinstance(fault, BaseException):
            raise fault
        on_line(f"{word} on demand")
        if word == "push" and not fault:
            tag = arguments[0].rpartition(":")[2]
            self.account.images[tag] = f"sha256:{tag.encode().hex():0<64.64}"
        return fault or 0

    def _synthesise(self, environment: Environment, folder: Path) -> Path:
        self.synthesised.append(environment)
        document = json.loads(json.dumps(QUICKSTART))
        resources = document["resource"]
        resources["aws_s3_bucket"]["storage"]["force_destroy"] = environment.source_bucket_force_destroy
        database = resources["aws_db_instance"]["metadata_database"]
        database["deletion_protection"] = environment.metadata_database.deletion_protection  # type: ignore[union-attr]
        document["locals"]["scaler_config"]["sleep"] = self.sleep
        for kind in ("airflow", "scaler"):
            if getattr(environment.images, kind) is not None:
                del resources["aws_ecr_repository"][f"images_{kind}"]
                del resources["aws_ecr_lifecycle_policy"][f"images_{kind}_lifecycle"]
        file = folder / environment.name / "cdk.tf.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
        return file

    def _confirm(self, question: str, typed: str | None) -> bool:
        self.questions.append(f"{question} {typed or 'y/n'}")
        return self.answer


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    account = FakeAccount()
    made = World(tmp_path, account, FakeTerraform(tmp_path / "quickstart"))
    monkeypatch.setattr(steps, "PlanRunner", made.terraform)
    monkeypatch.setattr(steps, "problems", list)
    monkeypatch.setattr(builders, "run", made.start)
    monkeypatch.setattr(builders, "shutil", SimpleNamespace(which=lambda name: f"/usr/bin/{name}"))
    return made
