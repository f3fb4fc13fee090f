# SPDX-License-Identifier: Apache-2.0
"""Writes the samples of output in the docs by running the commands.

A sample is the fenced block after `<!-- Output of `COMMAND`, written by `make docs`. -->`. `make docs` runs this
module; a test fails when a sample differs from the output.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

from typer.testing import CliRunner

from cdktf_app.main import document
from openmwaa.cli import app
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.cost.estimate import estimate
from openmwaa.cost.price_list import list_prices
from openmwaa.cost.stack import from_document
from openmwaa.plan.terraform import PLAN_FILE
from openmwaa.terraform import Terraform
from scaler.core.decide import decide
from scaler.core.model import FleetPolicy, Observation
from scaler.core.state import FleetState
from scaler.core.tick import Tick
from scaler.reporting.decision_line import decision_line
from scaler.runtime.tick_result import TickResult
from tests.support.cost_stack import with_charged_state
from tests.support.environments import LEAST
from tests.support.fake_cloudwatch_logs import FakeCloudWatchLogs
from tests.support.fake_connection import FakeConnection
from tests.support.recorded_plan import CHANGES, FLEETS, recorded
from tests.support.recorded_plan import environment as recorded_environment
from tests.support.scaler_builders import observe
from tools.page_blocks import filled, table
from tools.synthesise_examples import examples

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SAMPLE: Final = re.compile(
    r"(?P<before><!-- Output of `(?P<command>[^`]+)`, written by `make docs`\. -->\n+```text\n)"
    r"(?P<output>.*?)(?=^```$)",
    re.MULTILINE | re.DOTALL,
)
NOW: Final = datetime.fromisoformat("2026-03-02T14:03:12").astimezone(UTC)
"""14:03:12 in the time zone of this machine, because `openmwaa explain` prints local times."""
FLEET: Final = FleetPolicy("default", ("default",), slots=5, minimum=1, maximum=20)
OBSERVATIONS: Final[Mapping[int, Observation]] = {
    22: observe(["full"] * 4, running=20),
    12: observe(["full"] * 4, queued=13, running=20),
    1: observe([*["full"] * 4, "idle", "pending", "pending"], queued=13, running=20),
}
"""Seconds before NOW -> what the scaler reads: 13 tasks are queued, the desired count grows, a fifth worker starts."""


def explain_output(command: str) -> str:
    """Run `openmwaa explain` over the decisions that the scaler makes of `OBSERVATIONS`."""
    logs = FakeCloudWatchLogs(list(_decision_lines()))
    environment = Environment.model_validate(LEAST)
    connection = FakeConnection(environment, Path("environment.yaml"), fake=logs, services=("logs",))
    with (
        patch("openmwaa.cli.environment.choose", lambda *_: Path("environment.yaml")),
        patch("openmwaa.cli.explain.connect", lambda _path, *, local: connection),
        patch("openmwaa.cli.explain._now", lambda: NOW),
    ):
        return _run(command, exit_code=0)


def _decision_lines() -> Iterator[dict[str, Any]]:
    state = FleetState()
    for ago_s, observation in OBSERVATIONS.items():
        before, now = state, -float(ago_s)
        decision, state = decide(FLEET, observation, before, now)
        tick = Tick(FLEET, observation, before, now, decision)
        yield decision_line(TickResult(NOW - timedelta(seconds=ago_s), tick, {}, (), 0.1), str(LEAST["name"]))


def plan_output(command: str) -> str:
    """Run `openmwaa plan` over a plan that Terraform made: Fargate Spot for one fleet, larger workers for another."""
    plan = with_charged_state(recorded("capacity"), document(recorded_environment("none")))

    def terraform_output(terraform: Terraform, *arguments: str, accept: tuple[int, ...] = (0,)) -> str:
        if arguments[0] == "plan":
            (terraform.folder / PLAN_FILE).touch()
        return json.dumps(plan) if arguments[0] == "show" else ""

    def synthesise(environment: Environment, out: Path) -> Path:
        file = out / environment.name / "cdk.tf.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(document(environment)), encoding="utf-8")
        return file

    with (
        TemporaryDirectory() as folder,
        chdir(folder),
        patch("cdktf_app.main.synth", synthesise),
        patch("openmwaa.plan.terraform.shutil.which", lambda program: program),
        patch.object(Terraform, "output", terraform_output),
    ):
        fields = {**LEAST, "control_plane": "SEPARATE", "fleets": FLEETS, **CHANGES["capacity"]}
        Path("environment.yaml").write_text(json.dumps(fields), encoding="utf-8")
        return _run(command, exit_code=2).replace(str(Path.cwd()), "/home/user")


def cost_output(command: str) -> str:
    """Run `openmwaa cost` with an example's file."""
    with chdir(ROOT):
        return _run(command, exit_code=0)


def _run(command: str, exit_code: int) -> str:
    env = {"COLUMNS": "120", "FORCE_COLOR": None, "TTY_COMPATIBLE": None}
    result = CliRunner().invoke(app, command.split()[1:], env=env)
    if result.exit_code != exit_code:
        raise RuntimeError(f"`{command}` ended with {result.exit_code}: {result.output}") from result.exception
    return "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines())


COMMANDS: Final[dict[str, Callable[[str], str]]] = {
    "openmwaa explain --fleet default": explain_output,
    "openmwaa plan environment.yaml": plan_output,
    "openmwaa cost examples/quickstart/environment.yaml": cost_output,
    "openmwaa cost examples/minimal/environment.yaml": cost_output,
    "openmwaa cost examples/production/environment.yaml --region us-east-1": cost_output,
}


def with_samples(text: str) -> str:
    """Return a page with the real output in each of its samples, and the table of costs if it has a place for it."""
    text = SAMPLE.sub(lambda sample: sample["before"] + COMMANDS[sample["command"]](sample["command"]), text)
    return filled(text, cost=cost_table()) if "<!-- begin cost -->" in text else text


def cost_table() -> str:
    """Return the cost of every example at us-east-1 prices, beside MWAA's."""
    return table("example", "class", "openmwaa", "MWAA", "share", rows=map(_cost_row, examples().values()))


def _cost_row(file: Path) -> Iterator[str]:
    environment = load(file)
    found = estimate(environment, from_document(document(environment)), list_prices("us-east-1"))
    yield f"[{environment.name}](../examples/{environment.name}/environment.yaml)"
    yield found["mwaa"]["class"]
    month, share = found["mwaa"]["usd_month"], found["share_of_mwaa"]
    yield f"{found['usd_month']:.0f}"
    yield from ("unknown", "unknown") if month is None else (f"{month:.0f}", f"{share:.2f}")


def stale_pages() -> list[str]:
    """Return the pages with a sample that differs from the output."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    return [str(page.relative_to(ROOT)) for page, text in texts.items() if with_samples(text) != text]


def main() -> None:
    """Write the samples of every page."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (written := with_samples(text)) != text:
            page.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
