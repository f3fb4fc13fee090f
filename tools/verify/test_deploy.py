# SPDX-License-Identifier: Apache-2.0
"""`openmwaa deploy` and `destroy` with the quickstart, the real Terraform and emulators.

From nothing to `wait`, with Ctrl-C in the middle of the apply, and back. The images are given by digest: the local ECS
reports each task as running and healthy, and runs no container.
"""

import gzip
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cdktf_app.main import document
from openmwaa.config.environment_file import load
from openmwaa.local.terraform.terraform_override import FILE as OVERRIDE_FILE
from openmwaa.plan.verdict import PROTECTED
from tests.support.command_line import openmwaa
from tools.verify.example import EXAMPLES, Settings
from tools.verify.leftovers import split_kept
from tools.verify.report import ROOT
from tools.verify.targets import Target, target
from tools.verify.terraform import Workspace

pytestmark = pytest.mark.timeout(1800)

IMAGES = "images:\n" + "".join(
    f"  {image}: 123456789012.dkr.ecr.us-east-1.amazonaws.com/openmwaa/{image}@sha256:{'0' * 64}\n"
    for image in ("airflow", "scaler")
)
INTERRUPTED = 130
EARLIER = ROOT / "tools" / "verify" / "earlier"
"""The stacks of `environment_text` as earlier versions wrote them."""
HOLDS = {address.partition(".")[0] for address in PROTECTED} | {"aws_ecs_service", "aws_sqs_queue", "aws_subnet"}
"""Types of resources that hold data or tasks."""
OVERRIDE = "/openmwaa/quickstart/scaler/default"
STEPS = ["prerequisites", "repositories", "images", "plan", "apply", "wait"]


def environment_text() -> str:
    """Return the quickstart's file with given images."""
    return (EXAMPLES / "quickstart" / "environment.yaml").read_text(encoding="utf-8") + IMAGES


@dataclass(frozen=True)
class Place:
    """A folder with an environment's file, and the emulators that it is deployed to."""

    folder: Path
    target: Target
    variables: Mapping[str, str]

    @property
    def stack(self) -> Path:
        """The folder of the environment's Terraform."""
        return self.folder / "terraform" / "quickstart"

    def override(self, stack: Any) -> None:
        """Send a stack to the emulators."""
        override = self.target.override(stack, self.stack / "terraform.tfstate")
        (self.stack / OVERRIDE_FILE).write_text(json.dumps(override))

    def run(self, *words: str, code: int = 0) -> Any:
        """Run a command with `--json` and return its document."""
        done = openmwaa(
            words[0], "environment.yaml", "--json", *words[1:], folder=self.folder, environment=self.variables
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def interrupted(self, *words: str, at: str) -> str:
        """Start a command, send Ctrl-C at the first line that `at` matches, and return the output."""
        program = [sys.executable, "-c", "from openmwaa.cli import main; main()", *words]
        variables = {**self.variables, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        lines: list[str] = []
        with subprocess.Popen(
            program, cwd=self.folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                lines.append(line)
                if re.search(at, line) and not process.poll():
                    process.send_signal(signal.SIGINT)
                    at = "^$never"
        assert process.returncode == INTERRUPTED, "".join(lines)
        return "".join(lines)


@pytest.fixture(scope="module")
def place(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if settings.kind == "real":
        pytest.skip("`make verify AWS=real` applies the examples by Terraform alone")
    folder = tmp_path_factory.mktemp("a folder with blanks")
    file = folder / "environment.yaml"
    file.write_text(environment_text())
    environment = load(file)
    with target("emulators", environment, settings.endpoint) as emulators:
        made = Place(folder, emulators, emulators.variables(folder))
        made.stack.mkdir(parents=True)
        made.override(document(environment))
        yield made


def test_an_environment_is_deployed_with_an_interruption_and_destroyed(place: Place) -> None:
    before = place.target.resources("quickstart")
    output = place.interrupted("deploy", "environment.yaml", "--yes", at=r"[1-9]\d* of \d+ resources, ")
    (total,) = {int(number) for number in re.findall(r" of (\d+) resources, ", output)}
    assert "Interrupted: Terraform ends its running calls" in output
    assert output.endswith("deploy environment.yaml --yes\n"), "the last line is the command that continues"
    assert "Interrupted at: apply. To continue: cd " in output
    assert not list(place.folder.glob("terraform/*/.terraform.tfstate.lock.info")), "the state is not locked"

    done = place.run("deploy", "--yes")
    assert [(step["name"], step["outcome"]) for step in done["steps"]] == [(name, "done") for name in STEPS]
    assert done["web_url"].startswith("http://")
    assert all(component["healthy"] for component in done["wait"]["control_plane"])
    assert 0 < done["plan"]["counts"]["add"] < total, "what was made before the interruption stays"
    assert place.run("deploy", "--plan-only")["plan"]["verdict"] == "unchanged"

    destroyed = place.run("destroy", "--yes", "--now")
    assert destroyed["outcome"] == "done"
    left, _kept = split_kept(place.target.resources("quickstart") - before, destroyed["retained"])
    assert left == []
    assert place.run("destroy", "--yes")["resources"] == 0, "nothing is left to destroy"


@pytest.mark.parametrize(
    "earlier", sorted(EARLIER.glob("quickstart-*.json.gz")), ids=lambda file: file.name.partition(".")[0]
)
def test_an_upgrade_replaces_nothing_that_holds_data_or_tasks(place: Place, earlier: Path) -> None:
    stack = gzip.decompress(earlier.read_bytes())
    (place.stack / "cdk.tf.json").write_bytes(stack)
    place.override(json.loads(stack))
    workspace = Workspace(str(shutil.which("terraform")), place.stack, place.variables, print)
    workspace.init()
    workspace.apply()
    value = json.dumps({"version": 1, "max": 2, "by": "a user of the earlier version"})
    place.target.client("ssm").put_parameter(Name=OVERRIDE, Value=value, Type="String")

    place.override(document(load(place.folder / "environment.yaml")))
    plan = place.run("deploy", "--plan-only", code=2)["plan"]
    ends = [change for change in plan["changes"] if change["action"] in ("replace", "delete")]
    assert not [change for change in ends if change["address"].partition(".")[0] in HOLDS], ends
    assert place.run("deploy", "--yes")["outcome"] == "done"
    assert place.run("deploy", "--plan-only")["plan"]["verdict"] == "unchanged"
    assert place.target.client("ssm").get_parameter(Name=OVERRIDE)["Parameter"]["Value"] == value
    assert place.run("destroy", "--yes", "--now")["outcome"] == "done"
