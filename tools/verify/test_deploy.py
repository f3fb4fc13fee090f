# SPDX-License-Identifier: Apache-2.0
"""`openmwaa deploy` and `destroy` with the quickstart, the real Terraform and emulators.

From nothing to `wait`, with Ctrl-C in the middle of the apply, and back. The images are given by digest: the local ECS
reports each task as running and healthy, and runs no container.
"""

import json
import re
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
from tests.support.command_line import openmwaa
from tools.verify.example import EXAMPLES, Settings
from tools.verify.leftovers import split_kept
from tools.verify.report import ROOT
from tools.verify.targets import Target, target

pytestmark = pytest.mark.timeout(1800)

IMAGES = "images:\n" + "".join(
    f"  {image}: 123456789012.dkr.ecr.us-east-1.amazonaws.com/openmwaa/{image}@sha256:{'0' * 64}\n"
    for image in ("airflow", "scaler")
)
INTERRUPTED = 130
STEPS = ["prerequisites", "repositories", "images", "plan", "apply", "wait"]


@dataclass(frozen=True)
class Place:
    """A folder with an environment's file, and the emulators that it is deployed to."""

    folder: Path
    target: Target
    variables: Mapping[str, str]

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
    file.write_text((EXAMPLES / "quickstart" / "environment.yaml").read_text(encoding="utf-8") + IMAGES)
    environment = load(file)
    with target("emulators", environment, settings.endpoint) as emulators:
        stack = folder / "terraform" / environment.name
        stack.mkdir(parents=True)
        override = emulators.override(document(environment), stack / "terraform.tfstate")
        (stack / OVERRIDE_FILE).write_text(json.dumps(override))
        yield Place(folder, emulators, emulators.variables(folder))


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
