# SPDX-License-Identifier: Apache-2.0
"""`openmwaa scale` with an emulated SSM; the scaler's own adapter reads the result."""

import json
import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from openmwaa.local.daemon import daemon_client
from openmwaa.local.daemon.daemon_client import DaemonOptions
from openmwaa.local.down import down
from openmwaa.local.install import venvs
from openmwaa.local.paths import LocalPaths
from scaler.adapters.aws import open_client
from scaler.adapters.override_store import SsmOverrides
from scaler.core.model import Overrides
from scaler.errors import BadAnswerError
from tests.support.command_line import openmwaa
from tests.support.emulator import child_environment
from tests.support.localstack import on_localstack_too

pytestmark = pytest.mark.emulated

FILE = """
name: {name}
web_access: {{allow_http: true}}
min_workers: 1
max_workers: 10
fleets:
  default: {{queues: [default]}}
  spare: {{queues: [spare], min: 2, max: 4}}
"""


class ScaleCommand:
    """Runs `openmwaa scale` for one environment."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.name = f"scale-{uuid.uuid4().hex[:8]}"
        self.prefix = f"/openmwaa/{self.name}/scaler/"
        self._folder = folder
        self._environment = child_environment(AWS_ENDPOINT_URL=endpoint, AWS_CONFIG_FILE=os.devnull, COLUMNS="200")
        (folder / "environment.yaml").write_text(FILE.format(name=self.name))
        self.ssm = boto3.client(
            "ssm",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return openmwaa("scale", *arguments, folder=self._folder, environment=self._environment)

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return {fleet["fleet"]: fleet for fleet in answer["fleets"]}


@pytest.fixture
def scale(emulator: str, tmp_path: Path) -> ScaleCommand:
    return ScaleCommand(emulator, tmp_path)


@pytest.fixture
async def scaler_reads(
    emulator: str, scale: ScaleCommand, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[], Any]]:
    for name, value in child_environment(AWS_ENDPOINT_URL=emulator).items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name == "AWS_PROFILE"]:
        monkeypatch.delenv(name)
    async with open_client("us-east-1", "ssm") as client:
        source = SsmOverrides(client, scale.prefix, deadline_s=20.0)
        yield lambda: source.read(["default", "spare"])


@on_localstack_too(pytest.mark.slow)
async def test_the_scaler_reads_the_override(scale: ScaleCommand, scaler_reads: Callable[[], Any]) -> None:
    assert await scaler_reads() == {"default": Overrides(), "spare": Overrides()}
    shown = scale.json("--fleet", "spare", "--max", "3", "--pause", "in", "--duration", "2h", "--reason", "a migration")
    assert shown["spare"]["active"] == {"min": 2, "max": 3}
    found = await scaler_reads()
    override = found["spare"]
    assert (override.maximum, override.pause, override.reason, override.fixed) == (3, "in", "a migration", None)
    assert override.by.startswith("arn:aws:"), f"by {override.by!r}, not the caller's ARN"
    assert override.until == shown["spare"]["override"]["until"]
    assert found["default"] == Overrides(), "the override of another fleet"


@on_localstack_too(pytest.mark.slow)
async def test_overrides_are_combined_until_they_are_cleared(
    scale: ScaleCommand, scaler_reads: Callable[[], Any]
) -> None:
    scale.json("--fleet", "default", "--max", "6")
    scale.json("--fleet", "default", "--pause", "out", "--dry-run")
    override = (await scaler_reads())["default"]
    assert (override.maximum, override.pause, override.dry_run) == (6, "out", True)
    scale.json("--fleet", "default", "--fixed", "4", "--pause", "none", "--no-dry-run")
    override = (await scaler_reads())["default"]
    assert (override.maximum, override.fixed, override.pause, override.dry_run) == (None, 4, "none", False)
    assert scale.json("--all", "--clear")["default"]["override_state"] == "none"
    override = (await scaler_reads())["default"]
    assert (override.fixed, override.pause) == (None, "none")


def test_the_history_has_users_and_overrides_newest_first_even_after_a_clear(scale: ScaleCommand) -> None:
    for words in (("--max", "6", "--reason", "one"), ("--max", "7", "--reason", "two"), ("--clear",)):
        scale.json("--fleet", "default", *words)
    shown = scale.json("--fleet", "default", "--history")["default"]["history"]
    assert [(entry["version"], entry["override"]["max"], entry["override"]["reason"]) for entry in shown] == [
        (3, None, ""),
        (2, 7, "two"),
        (1, 6, "one"),
    ]
    assert all(entry["user"].startswith("arn:aws:iam::") for entry in shown), shown
    done = scale.run("--fleet", "default", "--history")
    assert done.returncode == 0, done.stderr
    assert "at most 7" in done.stdout
    assert "arn:aws:iam::" in done.stdout


def test_without_an_override_the_file_and_the_next_apply_are_shown(scale: ScaleCommand) -> None:
    done = scale.run()
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["spare", "2", "to", "4", "-", "none", "2", "to", "4"] in rows, done.stdout
    assert "keeps every override" in done.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("pause everything!", "is not JSON", id="words"),
        pytest.param('{"version":1,"max":-1}', "max", id="negative"),
        pytest.param('{"version":1,"max":"3"}', "max", id="text for a number"),
        pytest.param('{"version":1,"maximum":3}', "maximum", id="unknown field"),
        pytest.param('{"version":1,"until":"tomorrow"}', "until", id="no time"),
        pytest.param('{"version":1,"max":3,"max":4}', "twice", id="a field twice"),
    ],
)
@on_localstack_too(pytest.mark.slow)
async def test_an_invalid_override_written_by_hand(
    scale: ScaleCommand, scaler_reads: Callable[[], Any], text: str, words: str
) -> None:
    scale.json("--fleet", "spare", "--max", "3")
    scale.ssm.put_parameter(Name=f"{scale.prefix}default", Value=text, Type="String")
    found = await scaler_reads()
    assert isinstance(found["default"], BadAnswerError), "the scaler must not guess"
    assert words in str(found["default"])
    assert found["spare"].maximum == 3, "an invalid override of one fleet must not hide another's"

    shown = scale.json()["default"]
    assert (shown["override_state"], shown["active"]) == ("invalid", {"min": 1, "max": 10})
    refused = scale.run("--fleet", "default", "--max", "5")
    assert refused.returncode == 1
    assert "--clear" in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr
    scale.json("--fleet", "default", "--clear", "--max", "5")
    assert (await scaler_reads())["default"].maximum == 5


def test_on_this_machine_overrides_are_kept_when_the_environment_stops(scale: ScaleCommand, tmp_path: Path) -> None:
    not_up = scale.run("--local")
    assert (not_up.returncode, "openmwaa local up" in not_up.stderr) == (1, True), not_up.stderr
    paths = LocalPaths.of(tmp_path / "environment.yaml", scale.name)
    python = Path(sys.executable)
    options = DaemonOptions("us-east-1", python, python, venvs.ensure(venvs.venv_of("emulator"), progress=print))
    try:
        daemon_client.ensure_running(paths, options)
        scale.json("--local", "--fleet", "default", "--fixed", "3")
        daemon_client.stop(paths)
        daemon_client.ensure_running(paths, options)
        shown = scale.json("--local", "--history")["default"]
    finally:
        down(paths, delete_data=True, progress=print)
    assert (shown["active"], shown["version"], len(shown["history"])) == ({"min": 3, "max": 3}, 1, 1)
    assert "@" in shown["override"]["by"], "the user on this machine"


def test_every_documented_command_works(scale: ScaleCommand) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "scale-by-hand.md").read_text(encoding="utf-8")
    documented = [shlex.split(line) for line in re.findall(r"^openmwaa scale (.*)$", page, re.MULTILINE)]
    assert len(documented) > 8
    for words in documented:
        done = scale.run(*[word for word in words if word != "--local"])
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--max", "3"), "Which fleet?"),
        (("--fleet", "spar", "--max", "3"), "There is no fleet spar"),
        (("--fleet", "spare", "--fixed", "3", "--max", "3"), "--fixed cannot be combined"),
        (("--fleet", "spare", "--min", "4", "--max", "3"), "must not be above"),
        (("--fleet", "spare", "--min", "5"), "Add --max 5"),
        (("--fleet", "spare", "--min", "-1"), "neither a number of workers"),
        (("--fleet", "spare", "--max", "3", "--duration", "soon"), "neither a duration"),
        (("--fleet", "spare", "--duration", "2h"), "need an override"),
        (("--all", "--fleet", "spare", "--max", "3"), "not both"),
        (("--all", "--min", "5"), "Add --max 5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_invalid_override_is_refused_and_not_written(
    scale: ScaleCommand, arguments: tuple[str, ...], message: str
) -> None:
    done = scale.run(*arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert (
        scale.ssm.get_parameters(Names=[f"{scale.prefix}{fleet}" for fleet in ("default", "spare")])["Parameters"] == []
    )
