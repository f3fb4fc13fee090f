# SPDX-License-Identifier: Apache-2.0
"""`openmwaa scale` as a process against an emulated SSM, and the scaler's own adapter reading what it wrote."""

from __future__ import annotations

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
from scaler.adapters.aws import clients
from scaler.adapters.override_store import SsmControls
from scaler.core.model import Controls
from scaler.errors import BadAnswerError
from tests.support.emulator import child_environment

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


class Shell:
    """Runs the command for one environment."""

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
        program = [sys.executable, "-c", "from openmwaa.cli import main; main()", "scale", *arguments]
        return subprocess.run(
            program, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )

    def done(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return {fleet["fleet"]: fleet for fleet in answer["fleets"]}


@pytest.fixture
def shell(emulator: str, tmp_path: Path) -> Shell:
    return Shell(emulator, tmp_path)


@pytest.fixture
async def scaler_reads(
    emulator: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[], Any]]:
    for name, value in child_environment(AWS_ENDPOINT_URL=emulator).items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name == "AWS_PROFILE"]:
        monkeypatch.delenv(name)
    async with clients("us-east-1", "ssm") as (client,):
        source = SsmControls(client, shell.prefix, deadline_s=20.0)
        yield lambda: source.read(["default", "spare"])


async def test_an_order_is_what_the_scaler_reads(shell: Shell, scaler_reads: Callable[[], Any]) -> None:
    assert await scaler_reads() == {"default": Controls(), "spare": Controls()}
    shown = shell.done("--fleet", "spare", "--max", "3", "--pause", "in", "--for", "2h", "--why", "a migration")
    assert shown["spare"]["in_force"] == {"min": 2, "max": 3}
    found = await scaler_reads()
    order = found["spare"]
    assert (order.maximum, order.pause, order.why, order.fixed) == (3, "in", "a migration", None)
    assert order.by.startswith("arn:aws:"), f"by {order.by!r}, not the caller's ARN"
    assert order.until == shown["spare"]["controls"]["until"]
    assert found["default"] == Controls(), "another fleet's order"


async def test_orders_add_up_until_they_are_cleared(shell: Shell, scaler_reads: Callable[[], Any]) -> None:
    shell.done("--fleet", "default", "--max", "6")
    shell.done("--fleet", "default", "--pause", "out", "--dry-run")
    order = (await scaler_reads())["default"]
    assert (order.maximum, order.pause, order.dry_run) == (6, "out", True)
    shell.done("--fleet", "default", "--fixed", "4", "--pause", "none", "--no-dry-run")
    order = (await scaler_reads())["default"]
    assert (order.maximum, order.fixed, order.pause, order.dry_run) == (None, 4, "none", False)
    assert shell.done("--all", "--clear")["default"]["controls_state"] == "none"
    order = (await scaler_reads())["default"]
    assert (order.fixed, order.pause) == (None, "none")


def test_history_tells_who_ordered_what_newest_first_also_after_it_was_cleared(shell: Shell) -> None:
    for words in (("--max", "6", "--why", "one"), ("--max", "7", "--why", "two"), ("--clear",)):
        shell.done("--fleet", "default", *words)
    shown = shell.done("--fleet", "default", "--history")["default"]["history"]
    assert [(each["version"], each["controls"]["max"], each["controls"]["why"]) for each in shown] == [
        (3, None, ""),
        (2, 7, "two"),
        (1, 6, "one"),
    ]
    assert all(each["who"].startswith("arn:aws:iam::") for each in shown), shown
    told = shell.run("--fleet", "default", "--history")
    assert told.returncode == 0, told.stderr
    assert "at most 7" in told.stdout
    assert "arn:aws:iam::" in told.stdout


def test_nothing_ordered_shows_the_file_and_what_the_next_apply_does(shell: Shell) -> None:
    told = shell.run()
    assert told.returncode == 0, told.stderr
    rows = [line.split() for line in told.stdout.splitlines()]
    assert ["spare", "2", "to", "4", "-", "nothing", "2", "to", "4"] in rows, told.stdout
    assert "leaves every order as it is" in told.stdout


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
async def test_nonsense_written_by_hand(shell: Shell, scaler_reads: Callable[[], Any], text: str, words: str) -> None:
    shell.done("--fleet", "spare", "--max", "3")
    shell.ssm.put_parameter(Name=f"{shell.prefix}default", Value=text, Type="String")
    found = await scaler_reads()
    assert isinstance(found["default"], BadAnswerError), "the scaler must not guess"
    assert words in str(found["default"])
    assert found["spare"].maximum == 3, "nonsense for one fleet must not hide another's order"

    shown = shell.done()["default"]
    assert (shown["controls_state"], shown["in_force"]) == ("unreadable", {"min": 1, "max": 10})
    refused = shell.run("--fleet", "default", "--max", "5")
    assert refused.returncode == 1
    assert "--clear" in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr
    shell.done("--fleet", "default", "--clear", "--max", "5")
    assert (await scaler_reads())["default"].maximum == 5


def test_on_this_machine_orders_outlive_a_stop_of_the_environment(shell: Shell, tmp_path: Path) -> None:
    not_up = shell.run("--local")
    assert (not_up.returncode, "openmwaa local up" in not_up.stderr) == (1, True), not_up.stderr
    paths = LocalPaths.of(tmp_path / "environment.yaml", shell.name)
    python = Path(sys.executable)
    options = DaemonOptions("us-east-1", python, python, venvs.ensure(venvs.emulator_venv(), say=print))
    try:
        daemon_client.ensure_running(paths, options)
        shell.done("--local", "--fleet", "default", "--fixed", "3")
        daemon_client.stop(paths)
        daemon_client.ensure_running(paths, options)
        shown = shell.done("--local", "--history")["default"]
    finally:
        down(paths, delete_data=True, say=print)
    assert (shown["in_force"], shown["version"], len(shown["history"])) == ({"min": 3, "max": 3}, 1, 1)
    assert "@" in shown["controls"]["by"], "who it was on this machine"


def test_every_command_of_the_page_does_what_it_says(shell: Shell) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "scale-by-hand.md").read_text(encoding="utf-8")
    documented = [shlex.split(line) for line in re.findall(r"^openmwaa scale (.*)$", page, re.MULTILINE)]
    assert len(documented) > 8
    for words in documented:
        done = shell.run(*[word for word in words if word != "--local"])
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--max", "3"), "Which fleet?"),
        (("--fleet", "spar", "--max", "3"), "There is no fleet spar"),
        (("--fleet", "spare", "--fixed", "3", "--max", "3"), "--fixed leaves no room"),
        (("--fleet", "spare", "--min", "4", "--max", "3"), "must not be above"),
        (("--fleet", "spare", "--min", "5"), "Give --max 5 too"),
        (("--fleet", "spare", "--min", "-1"), "no number of workers"),
        (("--fleet", "spare", "--max", "3", "--for", "soon"), "no duration"),
        (("--fleet", "spare", "--for", "2h"), "belong to an order"),
        (("--all", "--fleet", "spare", "--max", "3"), "not both"),
        (("--all", "--min", "5"), "Give --max 5 too"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(shell: Shell, words: tuple[str, ...], told: str) -> None:
    done = shell.run(*words)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert (
        shell.ssm.get_parameters(Names=[f"{shell.prefix}{each}" for each in ("default", "spare")])["Parameters"] == []
    )
